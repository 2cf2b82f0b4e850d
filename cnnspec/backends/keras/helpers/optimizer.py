"""Optimizers by the formulas of the papers, without constants that are rounded to float32."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from cnnspec.backends.keras.helpers.package import PACKAGE


def clip(gradients: Any) -> Any:
    """Gradients as the optimizer gets them: unchanged."""
    return gradients


@keras.saving.register_keras_serializable(PACKAGE)
class SGD(keras.optimizers.Optimizer):
    """SGD whose learning rate stays outside the momentum buffer; weight decay is coupled."""

    def __init__(
        self,
        learning_rate: float,
        momentum: float = 0.0,
        dampening: float = 0.0,
        nesterov: bool = False,
        coupled_decay: float = 0.0,
        **kwargs: Any,
    ):
        super().__init__(learning_rate, **kwargs)
        self.momentum, self.dampening, self.nesterov = momentum, dampening, nesterov
        self.coupled_decay = coupled_decay

    def build(self, variables: Any) -> None:
        """One momentum buffer for each variable."""
        if not self.built:
            super().build(variables)
            self.buffers = self.add_optimizer_variables(variables, "momentum")

    def apply(self, grads: Any, trainable_variables: Any = None) -> None:
        """Clip, then update."""
        super().apply(clip(grads), trainable_variables)

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        """Set b = momentum * b + (1 - dampening) * g, at first g; p -= lr * b."""
        gradient = ops.cast(gradient, variable.dtype)
        if self.coupled_decay:
            gradient = gradient + self.coupled_decay * variable
        if self.momentum:
            buffer = self.buffers[self._get_variable_index(variable)]
            share = 1 - self.dampening * ops.cast(self.iterations > 0, variable.dtype)
            self.assign(buffer, self.momentum * buffer + share * gradient)
            gradient = gradient + self.momentum * buffer if self.nesterov else buffer
        self.assign_sub(variable, ops.cast(learning_rate, variable.dtype) * gradient)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {
            **super().get_config(),
            "momentum": self.momentum,
            "dampening": self.dampening,
            "nesterov": self.nesterov,
            "coupled_decay": self.coupled_decay,
        }


@keras.saving.register_keras_serializable(PACKAGE)
class Adam(keras.optimizers.Optimizer):
    """Adam with epsilon beside the corrected root; weight decay is coupled."""

    def __init__(
        self,
        learning_rate: float,
        betas: Any = (0.9, 0.999),
        epsilon: float = 1e-8,
        coupled_decay: float = 0.0,
        **kwargs: Any,
    ):
        super().__init__(learning_rate, **kwargs)
        self.betas, self.epsilon = betas, epsilon
        self.coupled_decay = coupled_decay

    def build(self, variables: Any) -> None:
        """Two moments for each variable."""
        if not self.built:
            super().build(variables)
            self.first = self.add_optimizer_variables(variables, "first")
            self.second = self.add_optimizer_variables(variables, "second")

    def apply(self, grads: Any, trainable_variables: Any = None) -> None:
        """Clip, then update."""
        super().apply(clip(grads), trainable_variables)

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        """Set p -= lr / (1 - b1^t) * m / (sqrt(v) / sqrt(1 - b2^t) + epsilon)."""
        gradient = ops.cast(gradient, variable.dtype)
        if self.coupled_decay:
            gradient = gradient + self.coupled_decay * variable
        index = self._get_variable_index(variable)
        first, second = self.first[index], self.second[index]
        b1, b2 = self.betas
        t = ops.cast(self.iterations + 1, variable.dtype)
        self.assign_add(first, (1 - b1) * (gradient - first))
        self.assign_add(second, (1 - b2) * (ops.square(gradient) - second))
        # The correction of the root goes to rate and epsilon, which are scalars.
        root = ops.sqrt(1 - b2**t)
        rate = ops.cast(learning_rate, variable.dtype) * root / (1 - b1**t)
        self.assign_sub(variable, rate * first / (ops.sqrt(second) + self.epsilon * root))

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {
            **super().get_config(),
            "betas": self.betas,
            "epsilon": self.epsilon,
            "coupled_decay": self.coupled_decay,
        }
