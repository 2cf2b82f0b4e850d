"""Optimizers of the Adam family: running means of gradients over those of their sizes."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from cnnspec.backends.numpy.kernels.annotations import Array
from cnnspec.backends.numpy.kernels.base import Model
from cnnspec.backends.numpy.kernels.optimizer import Optimizer


class Adam(Optimizer):
    """p -= rate m / (1 - beta1^t) / (sqrt(v / (1 - beta2^t)) + eps), m and v means of g and g^2.

    With `amsgrad` the largest v so far stands for v.
    """

    def __init__(
        self,
        model: Model,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        amsgrad: bool = False,
        **options: Any,
    ) -> None:
        super().__init__(model, **options)
        self.betas, self.eps, self.amsgrad = betas, eps, amsgrad
        self.steps: dict[str, int] = {}
        self.means: dict[str, Array] = {}
        self.squares: dict[str, Array] = {}
        self.largest: dict[str, Array] = {}

    def change(self, name: str, gradient: Array, rate: float) -> Array:
        """Along the mean, over the root of the mean square."""
        beta1, beta2 = self.betas
        t = self.steps[name] = self.steps.get(name, 0) + 1
        m = self.means.setdefault(name, np.zeros_like(gradient))
        v = self.squares.setdefault(name, np.zeros_like(gradient))
        change = gradient - m  # and further below in its place: these arrays are long
        change *= 1 - beta1
        m += change
        np.multiply(gradient, gradient, out=change)
        change *= 1 - beta2
        v *= beta2
        v += change
        if self.amsgrad:
            v = self.largest[name] = np.maximum(self.largest.get(name, v), v)
        np.sqrt(v, out=change)
        change /= math.sqrt(1 - beta2**t)
        change += self.eps
        np.divide(m, change, out=change)
        change *= rate / (1 - beta1**t)
        return change


class NAdam(Optimizer):
    """Adam with Nesterov momentum mu_t = beta1 (1 - 0.96^(t momentum_decay) / 2).

    p -= rate ((1 - mu_t) / (1 - M_t) g + mu_(t+1) / (1 - M_(t+1)) m) / (sqrt(v / (1 - beta2^t))
    + eps), where M_t is the product of mu_1 to mu_t.
    """

    def __init__(
        self,
        model: Model,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        momentum_decay: float = 0.004,
        **options: Any,
    ) -> None:
        super().__init__(model, **options)
        self.betas, self.eps, self.momentum_decay = betas, eps, momentum_decay
        self.steps: dict[str, int] = {}
        self.products: dict[str, float] = {}
        self.means: dict[str, Array] = {}
        self.squares: dict[str, Array] = {}

    def change(self, name: str, gradient: Array, rate: float) -> Array:
        """Along gradient and mean, over the root of the mean square."""
        beta1, beta2 = self.betas
        t = self.steps[name] = self.steps.get(name, 0) + 1
        mu, following = (
            beta1 * (1 - 0.5 * math.pow(0.96, s * self.momentum_decay)) for s in (t, t + 1)
        )
        all_mu = self.products[name] = self.products.get(name, 1.0) * mu
        m = self.means.setdefault(name, np.zeros_like(gradient))
        v = self.squares.setdefault(name, np.zeros_like(gradient))
        m += (1 - beta1) * (gradient - m)
        v *= beta2
        v += (1 - beta2) * gradient * gradient
        scale = np.sqrt(v / (1 - beta2**t)) + self.eps
        along = (1 - mu) / (1 - all_mu) * gradient + following / (1 - all_mu * following) * m
        return rate * (along / scale)


class Adamax(Optimizer):
    """p -= rate m / (1 - beta1^t) / u, where u = max(beta2 u, |g| + eps), m the mean of g."""

    def __init__(
        self,
        model: Model,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        **options: Any,
    ) -> None:
        super().__init__(model, **options)
        self.betas, self.eps = betas, eps
        self.steps: dict[str, int] = {}
        self.means: dict[str, Array] = {}
        self.sizes: dict[str, Array] = {}

    def change(self, name: str, gradient: Array, rate: float) -> Array:
        """Along the mean, over the fading maximum."""
        beta1, beta2 = self.betas
        t = self.steps[name] = self.steps.get(name, 0) + 1
        m = self.means.setdefault(name, np.zeros_like(gradient))
        u = self.sizes.setdefault(name, np.zeros_like(gradient))
        m += (1 - beta1) * (gradient - m)
        np.maximum(beta2 * u, np.abs(gradient) + self.eps, out=u)
        return rate / (1 - beta1**t) * (m / u)
