"""Pooling that the native layers cannot express: other pads, and three axes in float64."""

from __future__ import annotations

import math
from typing import Any

import keras
import numpy as np
from keras import layers, ops

from cnnspec.backends.keras.helpers.package import PACKAGE


def pool_windows(pool: Any, x: Any, kernel: Any, strides: Any) -> Any:
    """Pool, depth after height and width: TensorFlow has no float64 kernel for all three."""
    if len(kernel) < 3:
        return pool(x, kernel, strides)
    depth, height, width, channels = x.shape[1:]
    x = ops.reshape(x, (-1, height, width, channels))
    x = pool(x, kernel[1:], strides[1:])
    height, width = x.shape[1:3]
    x = ops.reshape(x, (-1, depth, height * width, channels))
    x = pool(x, (kernel[0], 1), (strides[0], 1))
    return ops.reshape(x, (-1, x.shape[1], height, width, channels))


def window_taps(x: Any, kernel: Any, strides: Any, dilation: Any) -> Any:
    """For each element of the kernel, row by row, what all windows have there."""
    for tap in np.ndindex(*kernel):
        window = [slice(None)]
        for axis, i in enumerate(tap):
            step = dilation[axis]
            end = x.shape[axis + 1] - (kernel[axis] - 1 - i) * step
            window.append(slice(i * step, end, strides[axis]))
        yield x[tuple(window)]


class PaddedPool(layers.Layer):
    """Pooling over explicit pads, which the subclasses fill."""

    def __init__(self, kernel: Any, strides: Any = None, pads: Any = None, **kwargs: Any):
        super().__init__(**kwargs)
        self.kernel, self.strides = kernel, strides or kernel
        self.pads = pads or [(0, 0)] * len(kernel)

    def pad(self, x: Any, value: float) -> Any:
        """Pad the axes of space."""
        return ops.pad(x, [(0, 0), *self.pads, (0, 0)], constant_values=value)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {
            **super().get_config(),
            "kernel": self.kernel,
            "strides": self.strides,
            "pads": self.pads,
        }


@keras.saving.register_keras_serializable(PACKAGE)
class MaxPool(PaddedPool):
    """Max pooling over explicit pads, which count as minus infinity."""

    def call(self, x: Any) -> Any:
        """Pad, then pool."""
        return pool_windows(ops.max_pool, self.pad(x, -math.inf), self.kernel, self.strides)


@keras.saving.register_keras_serializable(PACKAGE)
class DilatedMaxPool(PaddedPool):
    """Max pooling over taps that are `dilation` apart."""

    def __init__(self, kernel: Any, dilation: Any, **kwargs: Any):
        super().__init__(kernel, **kwargs)
        self.dilation = dilation

    def call(self, x: Any) -> Any:
        """The maximum of the taps, the first one where several are equal."""
        x = self.pad(x, -math.inf)
        best = None
        for value in window_taps(x, self.kernel, self.strides, self.dilation):
            best = value if best is None else ops.where(value > best, value, best)
        return best

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {**super().get_config(), "dilation": self.dilation}


@keras.saving.register_keras_serializable(PACKAGE)
class AvgPool(PaddedPool):
    """Average pooling over explicit pads; `counted` of them count as elements."""

    def __init__(self, kernel: Any, counted: Any = None, **kwargs: Any):
        super().__init__(kernel, **kwargs)
        self.counted = counted or [(0, 0)] * len(kernel)

    def call(self, x: Any) -> Any:
        """The windows' means, made good for the elements that do not count."""
        ones = ops.ones_like(x[:1])
        ones = ops.pad(ones, [(0, 0), *self.counted, (0, 0)], constant_values=1.0)
        rest = [
            (pad[0] - counted[0], pad[1] - counted[1])
            for pad, counted in zip(self.pads, self.counted, strict=True)
        ]
        ones = ops.pad(ones, [(0, 0), *rest, (0, 0)])
        share = pool_windows(ops.average_pool, ones, self.kernel, self.strides)
        x = pool_windows(ops.average_pool, self.pad(x, 0.0), self.kernel, self.strides)
        return x / share

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {**super().get_config(), "counted": self.counted}


@keras.saving.register_keras_serializable(PACKAGE)
class SumPool(PaddedPool):
    """Sum pooling over explicit pads, which count as 0."""

    def call(self, x: Any) -> Any:
        """The windows' means times their size."""
        means = pool_windows(ops.average_pool, self.pad(x, 0.0), self.kernel, self.strides)
        return means * math.prod(self.kernel)


@keras.saving.register_keras_serializable(PACKAGE)
class LpPool(PaddedPool):
    """(sum of |x|^p)^(1/p) over each window; where the sum is 0, so is the gradient."""

    def __init__(self, p: float, kernel: Any, **kwargs: Any):
        super().__init__(kernel, **kwargs)
        self.p = p

    def call(self, x: Any) -> Any:
        """Pad with zeros, then pool."""
        x = ops.abs(self.pad(x, 0.0))
        taps = window_taps(x, self.kernel, self.strides, [1] * len(self.kernel))
        x = ops.stack(list(taps), -1)
        largest = ops.stop_gradient(ops.max(x, -1))  # without it powers would over- or underflow
        one = ops.ones_like(largest)
        scale = ops.where(largest > 0, largest, one)
        total = ops.sum((x / scale[..., None]) ** self.p, -1)
        return largest * ops.where(largest > 0, total, one) ** (1 / self.p)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {**super().get_config(), "p": self.p}
