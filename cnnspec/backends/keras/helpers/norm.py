"""Normalisation that Keras does not have, or rounds to float32."""

from __future__ import annotations

from typing import Any

import keras
from keras import layers, ops

from cnnspec.backends.keras.helpers.package import PACKAGE


@keras.saving.register_keras_serializable(PACKAGE)
class SpaceLayerNorm(layers.LayerNormalization):
    """Layer norm over axes of space only, where Keras on PyTorch takes the last ones.

    Its parameters are called weight and bias.
    """

    def add_weight(self, *args: Any, name: str, **kwargs: Any) -> Any:
        """Rename what the base class makes."""
        name = {"gamma": "weight", "beta": "bias"}[name]
        return super().add_weight(*args, name=name, **kwargs)

    def call(self, x: Any) -> Any:
        """Normalise, then scale and shift."""
        axes = (self.axis,) if isinstance(self.axis, int) else tuple(self.axis)
        mean = ops.mean(x, axes, keepdims=True)
        variance = ops.mean(ops.square(x - mean), axes, keepdims=True)
        y = (x - mean) / ops.sqrt(variance + self.epsilon)
        shape = [size if axis in axes else 1 for axis, size in enumerate(x.shape)]
        if self.scale:
            y = y * ops.reshape(self.gamma, shape)
        return y + ops.reshape(self.beta, shape) if self.center else y


@keras.saving.register_keras_serializable(PACKAGE)
class LocalResponseNorm(layers.Layer):
    """x (k + alpha / size sum of x_j^2)^-beta, the sum over `size` channels around each."""

    def __init__(
        self, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0, **kwargs: Any
    ):
        super().__init__(**kwargs)
        self.size, self.alpha, self.beta, self.k = size, alpha, beta, k

    def call(self, x: Any) -> Any:
        """The channels come last."""
        channels, before = x.shape[-1], self.size // 2
        sides = [(0, 0)] * (len(x.shape) - 1)
        squares = ops.pad(ops.square(x), [*sides, (before, self.size - 1 - before)])
        total = sum(squares[..., i : i + channels] for i in range(self.size))
        return x * (self.k + self.alpha / self.size * total) ** -self.beta

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        config = {"size": self.size, "alpha": self.alpha, "beta": self.beta, "k": self.k}
        return {**super().get_config(), **config}


@keras.saving.register_keras_serializable(PACKAGE)
class Normalize(layers.Layer):
    """(x - mean) / std, with a number for each channel; Keras' own rounds them to float32."""

    def __init__(self, mean: Any, std: Any, **kwargs: Any):
        super().__init__(**kwargs)
        self.mean, self.std = mean, std

    def call(self, x: Any) -> Any:
        """The channels come last."""
        mean, std = (ops.convert_to_tensor(values, x.dtype) for values in (self.mean, self.std))
        return (x - mean) / std

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {**super().get_config(), "mean": self.mean, "std": self.std}


@keras.saving.register_keras_serializable(PACKAGE)
class Mean(layers.Layer):
    """Mean over axes, which stay with size 1."""

    def __init__(self, axes: Any, **kwargs: Any):
        super().__init__(**kwargs)
        self.axes = axes

    def call(self, x: Any) -> Any:
        """Reduce."""
        return ops.mean(x, self.axes, keepdims=True)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {**super().get_config(), "axes": self.axes}
