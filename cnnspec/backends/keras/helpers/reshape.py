"""Layers that move channels: Keras has none."""

from __future__ import annotations

from typing import Any

import keras
from keras import layers, ops

from cnnspec.backends.keras.helpers.package import PACKAGE


@keras.saving.register_keras_serializable(PACKAGE)
class ChannelShuffle(layers.Layer):
    """Channel i of group j becomes channel i * groups + j."""

    def __init__(self, groups: int, **kwargs: Any):
        super().__init__(**kwargs)
        self.groups = groups

    def call(self, x: Any) -> Any:
        """Split the channels, exchange the parts, join them."""
        shape = tuple(x.shape[1:])
        split = (-1, *shape[:-1], self.groups, shape[-1] // self.groups)
        return ops.reshape(ops.swapaxes(ops.reshape(x, split), -1, -2), (-1, *shape))

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {**super().get_config(), "groups": self.groups}


@keras.saving.register_keras_serializable(PACKAGE)
class PixelShuffle(layers.Layer):
    """Each factor^rank channels become one, with blocks of their elements as its space.

    The channels of a block lie side by side, as torch has them; TensorFlow's lie far apart.
    """

    def __init__(self, factor: int, **kwargs: Any):
        super().__init__(**kwargs)
        self.factor = factor

    def call(self, x: Any) -> Any:
        """Split the channels, move the offsets behind their axes, join."""
        factor, space = self.factor, tuple(x.shape[1:-1])
        rank = len(space)
        channels = x.shape[-1] // factor**rank
        x = ops.reshape(x, (-1, *space, channels, *[factor] * rank))
        order = [axis for i in range(rank) for axis in (1 + i, rank + 2 + i)]
        x = ops.transpose(x, (0, *order, rank + 1))
        return ops.reshape(x, (-1, *(size * factor for size in space), channels))

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {**super().get_config(), "factor": self.factor}


@keras.saving.register_keras_serializable(PACKAGE)
class PixelUnshuffle(layers.Layer):
    """Each block of space becomes factor^rank channels, side by side."""

    def __init__(self, factor: int, **kwargs: Any):
        super().__init__(**kwargs)
        self.factor = factor

    def call(self, x: Any) -> Any:
        """Split the axes of space, move the offsets behind the channels, join."""
        factor, channels = self.factor, x.shape[-1]
        small = [size // factor for size in x.shape[1:-1]]
        rank = len(small)
        x = ops.reshape(x, (-1, *(part for size in small for part in (size, factor)), channels))
        even, odd = range(1, 2 * rank, 2), range(2, 2 * rank + 1, 2)
        x = ops.transpose(x, (0, *even, 2 * rank + 1, *odd))
        return ops.reshape(x, (-1, *small, channels * factor**rank))

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {**super().get_config(), "factor": self.factor}
