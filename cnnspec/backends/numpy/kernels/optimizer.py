"""Optimizers: in-place updates of a model's parameters."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from cnnspec.backends.numpy.kernels.annotations import Array
from cnnspec.backends.numpy.kernels.base import Model


class Optimizer:
    """Weight decay and parameters' own options; how far an update goes is for subclasses."""

    def __init__(
        self,
        model: Model,
        weight_decay: float = 0.0,
        decoupled: bool = False,
        options: Callable[[str], Mapping[str, float]] | None = None,
    ) -> None:
        self.model, self.weight_decay, self.decoupled = model, weight_decay, decoupled
        self.options = options

    def step(self, gradients: Mapping[str, Array], learning_rate: float) -> None:
        """Update every parameter that has a gradient."""
        parameters = self.model.parameters()
        for name, gradient in gradients.items():
            p, own = parameters[name], self.options(name) if self.options else {}
            rate = float(learning_rate) * own.get("lr_scale", 1.0)
            decay = own.get("weight_decay", self.weight_decay)
            if self.decoupled:
                p *= 1 - rate * decay
            coupled = bool(decay) and not self.decoupled
            p -= self.change(name, gradient + decay * p if coupled else gradient, rate)

    def change(self, name: str, gradient: Array, rate: float) -> Array:
        """What is taken from a parameter."""
        raise NotImplementedError


class SGD(Optimizer):
    """Gradient descent; b = momentum b + (1 - dampening) g (b = g at first), p -= rate b."""

    def __init__(
        self,
        model: Model,
        momentum: float = 0.0,
        dampening: float = 0.0,
        nesterov: bool = False,
        **options: Any,
    ) -> None:
        super().__init__(model, **options)
        self.momentum, self.dampening, self.nesterov = momentum, dampening, nesterov
        self.buffers: dict[str, Array] = {}

    def change(self, name: str, gradient: Array, rate: float) -> Array:
        """Along the gradient, or its buffer."""
        if not self.momentum:
            return rate * gradient
        b = self.buffers.get(name)
        if b is None:
            b = self.buffers[name] = gradient.copy()
        else:
            b *= self.momentum
            b += (1 - self.dampening) * gradient if self.dampening else gradient
        return rate * (gradient + self.momentum * b if self.nesterov else b)
