"""Radial basis units."""

from __future__ import annotations

import numpy as np

from cnnspec.backends.numpy.kernels.annotations import Array, Forward
from cnnspec.backends.numpy.kernels.base import Layer


class Rbf(Layer):
    """y[i] = sum over j of (x[j] - weight[i, j])^2; the weight is (units, in_features)."""

    def __init__(self, in_features: int, units: int) -> None:
        super().__init__()
        self.parameters["weight"] = np.zeros((units, in_features), np.float32)

    def forward(self, x: Array, training: bool = False) -> Forward:
        """(N, in_features) to (N, units)."""
        difference = x[:, None] - self.parameters["weight"]

        def backward(g: Array) -> Array:
            pull = 2 * g[..., None] * difference
            self.accumulate("weight", -pull.sum(0))
            gx: Array = pull.sum(1)
            return gx

        return np.square(difference).sum(2), backward
