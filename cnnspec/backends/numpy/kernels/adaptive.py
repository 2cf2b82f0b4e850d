"""Optimizers that divide by the root of what squares of gradients have come to."""

from __future__ import annotations

from typing import Any

import numpy as np

from cnnspec.backends.numpy.kernels.annotations import Array
from cnnspec.backends.numpy.kernels.base import Model
from cnnspec.backends.numpy.kernels.optimizer import Optimizer


class Adagrad(Optimizer):
    """p -= rate g / (sqrt(a) + eps), where a is the sum of all g^2."""

    def __init__(self, model: Model, eps: float = 1e-10, **options: Any) -> None:
        super().__init__(model, **options)
        self.eps = eps
        self.sums: dict[str, Array] = {}

    def change(self, name: str, gradient: Array, rate: float) -> Array:
        """Along the gradient, over the root of the sum."""
        a = self.sums.setdefault(name, np.zeros_like(gradient))
        a += gradient * gradient
        return rate * (gradient / (np.sqrt(a) + self.eps))


class RMSprop(Optimizer):
    """p -= rate q, where q = g / (sqrt(v) + eps) and v is the mean of g^2.

    `centered` takes the square of the mean of g from v, which leaves at least 0; with `momentum`
    the sum b = momentum b + q stands for q.
    """

    def __init__(
        self,
        model: Model,
        alpha: float = 0.99,
        eps: float = 1e-8,
        momentum: float = 0.0,
        centered: bool = False,
        **options: Any,
    ) -> None:
        super().__init__(model, **options)
        self.alpha, self.eps, self.momentum, self.centered = alpha, eps, momentum, centered
        self.means: dict[str, Array] = {}
        self.squares: dict[str, Array] = {}
        self.buffers: dict[str, Array] = {}

    def change(self, name: str, gradient: Array, rate: float) -> Array:
        """Along the gradient over the root of the mean square, or its buffer."""
        v = self.squares.setdefault(name, np.zeros_like(gradient))
        v *= self.alpha
        v += (1 - self.alpha) * gradient * gradient
        if self.centered:
            m = self.means.setdefault(name, np.zeros_like(gradient))
            m += (1 - self.alpha) * (gradient - m)
            v = np.maximum(v - m * m, 0)  # rounding can take it below
        q = gradient / (np.sqrt(v) + self.eps)
        if self.momentum:
            b = self.buffers.setdefault(name, np.zeros_like(gradient))
            b *= self.momentum
            b += q
            q = b
        return rate * q


class Adadelta(Optimizer):
    """p -= rate d, where d = sqrt(u + eps) / sqrt(v + eps) g, v is the mean of g^2, u of d^2."""

    def __init__(self, model: Model, rho: float = 0.9, eps: float = 1e-6, **options: Any) -> None:
        super().__init__(model, **options)
        self.rho, self.eps = rho, eps
        self.squares: dict[str, Array] = {}
        self.changes: dict[str, Array] = {}

    def change(self, name: str, gradient: Array, rate: float) -> Array:
        """Along the gradient, over its mean size, times that of former changes."""
        v = self.squares.setdefault(name, np.zeros_like(gradient))
        u = self.changes.setdefault(name, np.zeros_like(gradient))
        v *= self.rho
        v += (1 - self.rho) * gradient * gradient
        d = np.sqrt(u + self.eps) / np.sqrt(v + self.eps) * gradient
        u *= self.rho
        u += (1 - self.rho) * d * d
        return rate * d
