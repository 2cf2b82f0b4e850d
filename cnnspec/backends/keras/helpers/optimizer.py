"""Optimizers by the formulas of the papers, without constants that are rounded to float32."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from cnnspec.backends.keras.helpers.package import PACKAGE


def clip(gradients: Any) -> Any:
    """Gradients as the optimizer gets them: unchanged."""
    return gradients


class Optimizer(keras.optimizers.Optimizer):
    """Clipping, weight decay and variables' own options; how far to go is for subclasses."""

    def __init__(
        self,
        learning_rate: float,
        decay: float = 0.0,
        decoupled: bool = False,
        options: Any = None,
        **kwargs: Any,
    ):
        super().__init__(learning_rate, **kwargs)
        self.decay, self.decoupled, self.options = decay, decoupled, dict(options or {})

    def build(self, variables: Any) -> None:
        """Options by the number of a variable: updates see none of its names."""
        super().build(variables)
        self.own = [self.options.get(variable.path, {}) for variable in variables]

    def apply(self, grads: Any, trainable_variables: Any = None) -> None:
        """Clip, then update."""
        super().apply(clip(grads), trainable_variables)

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        """Decay, then take the change from the variable."""
        own = self.own[self._get_variable_index(variable)]
        rate = ops.cast(learning_rate, variable.dtype) * own.get("lr_scale", 1.0)
        decay = own.get("weight_decay", self.decay)
        gradient = ops.cast(gradient, variable.dtype)
        if decay and self.decoupled:
            self.assign(variable, variable * (1 - rate * decay))
        elif decay:
            gradient = gradient + decay * variable
        self.assign_sub(variable, self.change(gradient, variable, rate))

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        own = {"decay": self.decay, "decoupled": self.decoupled, "options": self.options}
        return {**super().get_config(), **own}


@keras.saving.register_keras_serializable(PACKAGE)
class SGD(Optimizer):
    """SGD whose learning rate stays outside the momentum buffer."""

    def __init__(
        self,
        learning_rate: float,
        momentum: float = 0.0,
        dampening: float = 0.0,
        nesterov: bool = False,
        **kwargs: Any,
    ):
        super().__init__(learning_rate, **kwargs)
        self.momentum, self.dampening, self.nesterov = momentum, dampening, nesterov

    def build(self, variables: Any) -> None:
        """One momentum buffer for each variable."""
        if not self.built:
            super().build(variables)
            self.buffers = self.add_optimizer_variables(variables, "momentum")

    def change(self, gradient: Any, variable: Any, rate: Any) -> Any:
        """Set b = momentum * b + (1 - dampening) * g, at first g; rate * b."""
        if not self.momentum:
            return rate * gradient
        buffer = self.buffers[self._get_variable_index(variable)]
        share = 1 - self.dampening * ops.cast(self.iterations > 0, variable.dtype)
        self.assign(buffer, self.momentum * buffer + share * gradient)
        return rate * (gradient + self.momentum * buffer if self.nesterov else buffer)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {
            **super().get_config(),
            "momentum": self.momentum,
            "dampening": self.dampening,
            "nesterov": self.nesterov,
        }
