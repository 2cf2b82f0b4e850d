"""Convolutions and padding that the native layers cannot express."""

from __future__ import annotations

from typing import Any

import keras
from keras import layers, ops

from cnnspec.backends.keras.helpers.package import PACKAGE


def zero_padding(x: Any, padding: Any, name: str) -> Any:
    """Zeros around height and width, where there are to be any."""
    return layers.ZeroPadding2D(padding, name=name)(x) if padding else x


@keras.saving.register_keras_serializable(PACKAGE)
class TrueConv1D(layers.Conv1D):
    """True convolution: the kernel is flipped each time it is used."""

    def call(self, x: Any) -> Any:
        """Convolve with the flipped kernel."""
        y = self.convolution_op(x, ops.flip(self.kernel, 0))
        return y + self.bias if self.use_bias else y


@keras.saving.register_keras_serializable(PACKAGE)
class TrueConv2D(layers.Conv2D):
    """True convolution: the kernel is flipped each time it is used."""

    def convolution_op(self, inputs: Any, kernel: Any) -> Any:
        """Convolve with the flipped kernel."""
        return super().convolution_op(inputs, ops.flip(kernel, (0, 1)))


@keras.saving.register_keras_serializable(PACKAGE)
class TrueConv3D(layers.Conv3D):
    """True convolution: the kernel is flipped each time it is used."""

    def convolution_op(self, inputs: Any, kernel: Any) -> Any:
        """Convolve with the flipped kernel."""
        return super().convolution_op(inputs, ops.flip(kernel, (0, 1, 2)))


@keras.saving.register_keras_serializable(PACKAGE)
class Pad(layers.Layer):
    """Padding with the input's own values: `reflect`, `replicate` or `circular`."""

    def __init__(self, pads: Any, mode: str, **kwargs: Any):
        super().__init__(**kwargs)
        self.pads, self.mode = pads, mode

    def call(self, x: Any) -> Any:
        """Gather along each axis of space."""
        for axis, (before, after) in enumerate(self.pads, start=1):
            size = x.shape[axis]
            places = list(range(-before, size + after))
            if self.mode == "reflect":
                places = [abs(i) if i < size else 2 * (size - 1) - i for i in places]
            elif self.mode == "replicate":
                places = [min(max(i, 0), size - 1) for i in places]
            else:
                places = [i % size for i in places]
            x = ops.take(x, places, axis)
        return x

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {**super().get_config(), "pads": self.pads, "mode": self.mode}


@keras.saving.register_keras_serializable(PACKAGE)
class Subsample(layers.Layer):
    """Every n-th position: TensorFlow does not convolve with strides and dilation at once."""

    def __init__(self, strides: Any, **kwargs: Any):
        super().__init__(**kwargs)
        self.strides = strides

    def call(self, x: Any) -> Any:
        """Slice each axis of space."""
        return x[(slice(None), *(slice(None, None, stride) for stride in self.strides))]

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {**super().get_config(), "strides": self.strides}
