"""Fully connected layers."""

from __future__ import annotations

import numpy as np

from cnnspec.backends.numpy.kernels.annotations import Array, Forward
from cnnspec.backends.numpy.kernels.base import Layer


class Dense(Layer):
    """y = x weight^T + bias; the weight is (units, in_features)."""

    def __init__(self, in_features: int, units: int, bias: bool = True) -> None:
        super().__init__()
        self.parameters["weight"] = np.zeros((units, in_features), np.float32)
        if bias:
            self.parameters["bias"] = np.zeros(units, np.float32)

    def forward(self, x: Array, training: bool = False) -> Forward:
        """(N, in_features) to (N, units)."""
        weight = self.parameters["weight"]
        y = x @ weight.T
        if "bias" in self.parameters:
            y += self.parameters["bias"]

        def backward(g: Array) -> Array:
            self.accumulate("weight", g.T @ x)
            if "bias" in self.parameters:
                self.accumulate("bias", g.sum(0))
            return g @ weight

        return y, backward
