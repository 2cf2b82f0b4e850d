"""Padding, slices and interpolation that Keras lacks or computes in float32."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import layers, ops

from cnnspec.backends.keras.helpers.package import PACKAGE


@keras.saving.register_keras_serializable(PACKAGE)
class ConstantPad(layers.Layer):
    """Padding with a constant."""

    def __init__(self, pads: Any, value: float, **kwargs: Any):
        super().__init__(**kwargs)
        self.pads, self.value = pads, value

    def call(self, x: Any) -> Any:
        """Pad the axes of space."""
        value = ops.convert_to_tensor(self.value, x.dtype)
        return ops.pad(x, [(0, 0), *self.pads, (0, 0)], constant_values=value)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {**super().get_config(), "pads": self.pads, "value": self.value}


@keras.saving.register_keras_serializable(PACKAGE)
class Slice(layers.Layer):
    """The part from start up to stop, (start, stop) or (start, stop, step) for each axis."""

    def __init__(self, ranges: Any, **kwargs: Any):
        super().__init__(**kwargs)
        self.ranges = ranges

    def call(self, x: Any) -> Any:
        """Slice the axes behind the batch."""
        return x[(slice(None), *(slice(*found) for found in self.ranges))]

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {**super().get_config(), "ranges": self.ranges}


@keras.saving.register_keras_serializable(PACKAGE)
class Split(layers.Layer):
    """The channels in so many equal parts, or in parts of these sizes."""

    def __init__(self, parts: Any, **kwargs: Any):
        super().__init__(**kwargs)
        self.parts = parts

    def call(self, x: Any) -> Any:
        """Split the last axis."""
        ends = self.parts if isinstance(self.parts, int) else np.cumsum(self.parts)[:-1].tolist()
        return ops.split(x, ends, axis=-1)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {**super().get_config(), "parts": self.parts}


def cubic_weight(s: Any) -> Any:
    """Keys' interpolation kernel with a = -0.75, at distances of at most 2."""
    a = -0.75
    return (s - 1) * np.where(s < 1, (a + 2) * s * s - s - 1, a * (s - 2) ** 2)


def resize_taps(n: int, o: int, mode: str, align_corners: bool) -> Any:
    """For a resize of n elements to o: which element each one reads, and its weight, tap by tap."""
    i = np.arange(o)
    if mode == "nearest":
        return [(i * n // o, np.ones(o))]
    if mode == "nearest_exact":
        return [((2 * i + 1) * n // (2 * o), np.ones(o))]
    above, below = ((2 * i + 1) * n - o, 2 * o)
    if align_corners:
        above, below = (i * (n - 1), max(o - 1, 1))
    if mode == "linear":
        above = np.maximum(above, 0)
    first, t = above // below, above % below / below
    if mode == "linear":
        taps = [(first, 1 - t), (first + 1, t)]
    else:
        taps = [(first + k, cubic_weight(abs(t - k))) for k in (-1, 0, 1, 2)]
    return [(at.clip(0, n - 1), weight) for at, weight in taps]


@keras.saving.register_keras_serializable(PACKAGE)
class Resize(layers.Layer):
    """Interpolation at positions in float64; Keras' own computes in float32.

    `size` of space, or `scale` to multiply it by; `mode` is `nearest`, `nearest_exact`, `linear`
    or `cubic`.
    """

    def __init__(
        self,
        size: Any = None,
        scale: Any = None,
        mode: str = "nearest",
        align_corners: bool = False,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.size, self.scale, self.mode, self.align_corners = size, scale, mode, align_corners

    def call(self, x: Any) -> Any:
        """One axis after the other."""
        given = self.size if self.scale is None else self.scale
        for axis in range(1, len(x.shape) - 1):
            n, o = x.shape[axis], given if isinstance(given, int) else given[axis - 1]
            o = o if self.scale is None else n * o
            shape = [1] * len(x.shape)
            shape[axis] = o
            parts = []
            for at, weight in resize_taps(n, o, self.mode, self.align_corners):
                factor = ops.convert_to_tensor(weight.reshape(shape), x.dtype)
                parts.append(ops.take(x, at, axis) * factor)
            x = sum(parts[1:], parts[0])
        return x

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {
            **super().get_config(),
            "size": self.size,
            "scale": self.scale,
            "mode": self.mode,
            "align_corners": self.align_corners,
        }
