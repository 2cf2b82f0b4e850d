"""The layer as it stands in the NumPy file, which has `np` and the kernels of cnnspec."""

from __future__ import annotations

import numpy as np

from cnnspec.backends.numpy.kernels.annotations import Array, Forward
from cnnspec.backends.numpy.kernels.base import Layer


class Snake(Layer):
    """x + scale sin(alpha x)^2; one alpha per channel."""

    def __init__(self, channels: int, scale: float) -> None:
        super().__init__()
        self.scale = scale
        self.parameters["alpha"] = np.ones(channels, np.float32)

    def forward(self, x: Array, training: bool = False) -> Forward:
        """Any shape (N, C, ...)."""
        alpha = self.parameters["alpha"].reshape(1, -1, *(1 for _ in x.shape[2:]))
        slope = self.scale * np.sin(2 * alpha * x)

        def backward(g: Array) -> Array:
            self.accumulate("alpha", (g * x * slope).sum((0, *range(2, x.ndim))))
            gx: Array = g * (1 + alpha * slope)
            return gx

        return x + self.scale * np.sin(alpha * x) ** 2, backward
