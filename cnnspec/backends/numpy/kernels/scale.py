"""A learnt factor for each channel."""

from __future__ import annotations

import numpy as np

from cnnspec.backends.numpy.kernels.annotations import Array, Forward
from cnnspec.backends.numpy.kernels.base import Layer


class LayerScale(Layer):
    """weight x; one weight per channel."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.parameters["weight"] = np.full(channels, 1e-6, np.float32)

    def forward(self, x: Array, training: bool = False) -> Forward:
        """Any shape (N, C, ...)."""
        weight = self.parameters["weight"].reshape(1, -1, *(1 for _ in x.shape[2:]))

        def backward(g: Array) -> Array:
            self.accumulate("weight", (g * x).sum((0, *range(2, x.ndim))))
            gx: Array = weight * g
            return gx

        return weight * x, backward
