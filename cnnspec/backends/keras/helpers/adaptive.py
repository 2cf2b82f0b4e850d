"""Optimizers that divide by the root of what squares of gradients have come to."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from cnnspec.backends.keras.helpers.optimizer import Optimizer
from cnnspec.backends.keras.helpers.package import PACKAGE


@keras.saving.register_keras_serializable(PACKAGE)
class Adagrad(Optimizer):
    """Adagrad with epsilon beside the root, and sums that start at 0."""

    def __init__(self, learning_rate: float, epsilon: float = 1e-10, **kwargs: Any):
        super().__init__(learning_rate, **kwargs)
        self.epsilon = epsilon

    def build(self, variables: Any) -> None:
        """The sum of squares for each variable."""
        if not self.built:
            super().build(variables)
            self.sums = self.add_optimizer_variables(variables, "sum")

    def change(self, gradient: Any, variable: Any, rate: Any) -> Any:
        """Set a = a + g^2; rate * g / (sqrt(a) + epsilon)."""
        total = self.sums[self._get_variable_index(variable)]
        self.assign_add(total, ops.square(gradient))
        return rate * gradient / (ops.sqrt(total) + self.epsilon)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {**super().get_config(), "epsilon": self.epsilon}


@keras.saving.register_keras_serializable(PACKAGE)
class RMSprop(Optimizer):
    """RMSprop with epsilon beside the root, and a learning rate outside the momentum buffer."""

    def __init__(
        self,
        learning_rate: float,
        alpha: float = 0.99,
        epsilon: float = 1e-8,
        momentum: float = 0.0,
        centered: bool = False,
        **kwargs: Any,
    ):
        super().__init__(learning_rate, **kwargs)
        self.alpha, self.epsilon, self.momentum = alpha, epsilon, momentum
        self.centered = centered

    def build(self, variables: Any) -> None:
        """The mean square for each variable, and what else there is need for."""
        if not self.built:
            super().build(variables)
            self.squares = self.add_optimizer_variables(variables, "square")
            if self.centered:
                self.means = self.add_optimizer_variables(variables, "mean")
            if self.momentum:
                self.buffers = self.add_optimizer_variables(variables, "momentum")

    def change(self, gradient: Any, variable: Any, rate: Any) -> Any:
        """Rate * g / (sqrt(v) + epsilon), or the buffer of that."""
        index = self._get_variable_index(variable)
        square = self.squares[index]
        self.assign_add(square, (1 - self.alpha) * (ops.square(gradient) - square))
        if self.centered:
            mean = self.means[index]
            self.assign_add(mean, (1 - self.alpha) * (gradient - mean))
            square = ops.relu(square - ops.square(mean))  # rounding can take it below 0
        change = gradient / (ops.sqrt(square) + self.epsilon)
        if not self.momentum:
            return rate * change
        buffer = self.buffers[index]
        self.assign(buffer, self.momentum * buffer + change)
        return rate * buffer

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {
            **super().get_config(),
            "alpha": self.alpha,
            "epsilon": self.epsilon,
            "momentum": self.momentum,
            "centered": self.centered,
        }


@keras.saving.register_keras_serializable(PACKAGE)
class Adadelta(Optimizer):
    """Adadelta with constants that are not rounded to float32."""

    def __init__(
        self, learning_rate: float, rho: float = 0.9, epsilon: float = 1e-6, **kwargs: Any
    ):
        super().__init__(learning_rate, **kwargs)
        self.rho, self.epsilon = rho, epsilon

    def build(self, variables: Any) -> None:
        """Mean squares of gradients and of changes for each variable."""
        if not self.built:
            super().build(variables)
            self.squares = self.add_optimizer_variables(variables, "square")
            self.changes = self.add_optimizer_variables(variables, "change")

    def change(self, gradient: Any, variable: Any, rate: Any) -> Any:
        """Rate * sqrt(u + epsilon) / sqrt(v + epsilon) * g, u being that of former changes."""
        index = self._get_variable_index(variable)
        square, former = self.squares[index], self.changes[index]
        self.assign_add(square, (1 - self.rho) * (ops.square(gradient) - square))
        change = ops.sqrt(former + self.epsilon) / ops.sqrt(square + self.epsilon) * gradient
        self.assign_add(former, (1 - self.rho) * (ops.square(change) - former))
        return rate * change

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {**super().get_config(), "rho": self.rho, "epsilon": self.epsilon}
