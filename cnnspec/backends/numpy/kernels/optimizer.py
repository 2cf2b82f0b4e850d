"""Optimizers: in-place updates of a model's parameters."""

from __future__ import annotations

import math

import numpy as np

from cnnspec.backends.numpy.kernels.annotations import Array
from cnnspec.backends.numpy.kernels.base import Model


class SGD:
    """Gradient descent; b = momentum b + (1 - dampening) g (b = g at first), p -= rate b."""

    def __init__(
        self,
        model: Model,
        momentum: float = 0.0,
        dampening: float = 0.0,
        nesterov: bool = False,
        weight_decay: float = 0.0,
    ) -> None:
        self.model, self.momentum, self.dampening = model, momentum, dampening
        self.nesterov, self.weight_decay = nesterov, weight_decay
        self.buffers: dict[str, Array] = {}

    def step(self, learning_rate: float) -> None:
        """Update every parameter that has a gradient."""
        parameters = self.model.parameters()
        for name, gradient in self.model.gradients().items():
            p = parameters[name]
            g = gradient + self.weight_decay * p if self.weight_decay else gradient
            if self.momentum:
                b = self.buffers.get(name)
                b = g if b is None else self.momentum * b + (1 - self.dampening) * g
                self.buffers[name] = b
                g = g + self.momentum * b if self.nesterov else b
            p -= float(learning_rate) * g


class Adam:
    """p -= rate m / (1 - beta1^t) / (sqrt(v / (1 - beta2^t)) + eps), m and v means of g and g^2."""

    def __init__(
        self,
        model: Model,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
    ) -> None:
        self.model, self.betas, self.eps, self.weight_decay = model, betas, eps, weight_decay
        self.steps: dict[str, int] = {}
        self.means: dict[str, Array] = {}
        self.squares: dict[str, Array] = {}

    def step(self, learning_rate: float) -> None:
        """Update every parameter that has a gradient."""
        beta1, beta2 = self.betas
        parameters = self.model.parameters()
        for name, gradient in self.model.gradients().items():
            p = parameters[name]
            g = gradient + self.weight_decay * p if self.weight_decay else gradient
            t = self.steps[name] = self.steps.get(name, 0) + 1
            m = self.means.setdefault(name, np.zeros_like(p))
            v = self.squares.setdefault(name, np.zeros_like(p))
            m += (1 - beta1) * (g - m)
            v *= beta2
            v += (1 - beta2) * g * g
            scale = np.sqrt(v) / math.sqrt(1 - beta2**t) + self.eps
            p -= float(learning_rate) / (1 - beta1**t) * (m / scale)
