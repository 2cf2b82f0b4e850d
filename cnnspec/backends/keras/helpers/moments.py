"""Optimizers of the Adam family: running means of gradients over those of their sizes."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from cnnspec.backends.keras.helpers.optimizer import Optimizer
from cnnspec.backends.keras.helpers.package import PACKAGE


@keras.saving.register_keras_serializable(PACKAGE)
class Adam(Optimizer):
    """Adam with epsilon beside the corrected root."""

    def __init__(
        self,
        learning_rate: float,
        betas: Any = (0.9, 0.999),
        epsilon: float = 1e-8,
        amsgrad: bool = False,
        **kwargs: Any,
    ):
        super().__init__(learning_rate, **kwargs)
        self.betas, self.epsilon, self.amsgrad = betas, epsilon, amsgrad

    def build(self, variables: Any) -> None:
        """Two moments for each variable, and the largest second one."""
        if not self.built:
            super().build(variables)
            self.first = self.add_optimizer_variables(variables, "first")
            self.second = self.add_optimizer_variables(variables, "second")
            if self.amsgrad:
                self.largest = self.add_optimizer_variables(variables, "largest")

    def change(self, gradient: Any, variable: Any, rate: Any) -> Any:
        """Rate / (1 - b1^t) * m / (sqrt(v) / sqrt(1 - b2^t) + epsilon)."""
        index = self._get_variable_index(variable)
        first, second = self.first[index], self.second[index]
        b1, b2 = self.betas
        t = ops.cast(self.iterations + 1, variable.dtype)
        self.assign_add(first, (1 - b1) * (gradient - first))
        self.assign_add(second, (1 - b2) * (ops.square(gradient) - second))
        if self.amsgrad:
            self.assign(self.largest[index], ops.maximum(self.largest[index], second))
            second = self.largest[index]
        # The correction of the root goes to rate and epsilon, which are scalars.
        root = ops.sqrt(1 - b2**t)
        return rate * root / (1 - b1**t) * first / (ops.sqrt(second) + self.epsilon * root)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        own = {"betas": self.betas, "epsilon": self.epsilon, "amsgrad": self.amsgrad}
        return {**super().get_config(), **own}


@keras.saving.register_keras_serializable(PACKAGE)
class Nadam(Optimizer):
    """Adam with Nesterov momentum mu_t = b1 (1 - 0.96^(t momentum_decay) / 2)."""

    def __init__(
        self,
        learning_rate: float,
        betas: Any = (0.9, 0.999),
        epsilon: float = 1e-8,
        momentum_decay: float = 0.004,
        **kwargs: Any,
    ):
        super().__init__(learning_rate, **kwargs)
        self.betas, self.epsilon, self.momentum_decay = betas, epsilon, momentum_decay

    def build(self, variables: Any) -> None:
        """Two moments for each variable, and the product of all its mu_t."""
        if not self.built:
            super().build(variables)
            self.first = self.add_optimizer_variables(variables, "first")
            self.second = self.add_optimizer_variables(variables, "second")
            self.products = [
                self.add_variable((), initializer="ones", dtype=variable.dtype, name="product")
                for variable in variables
            ]

    def change(self, gradient: Any, variable: Any, rate: Any) -> Any:
        """Rate * ((1 - mu_t) / (1 - M_t) * g + mu_(t+1) / (1 - M_(t+1)) * m) / root."""
        index = self._get_variable_index(variable)
        first, second, product = self.first[index], self.second[index], self.products[index]
        b1, b2 = self.betas
        t = ops.cast(self.iterations + 1, variable.dtype)
        mu = b1 * (1 - 0.5 * 0.96 ** (t * self.momentum_decay))
        following = b1 * (1 - 0.5 * 0.96 ** ((t + 1) * self.momentum_decay))
        self.assign(product, product * mu)
        self.assign_add(first, (1 - b1) * (gradient - first))
        self.assign_add(second, (1 - b2) * (ops.square(gradient) - second))
        along = (1 - mu) / (1 - product) * gradient
        along = along + following / (1 - product * following) * first
        return rate * along / (ops.sqrt(second / (1 - b2**t)) + self.epsilon)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        own = {
            "betas": self.betas,
            "epsilon": self.epsilon,
            "momentum_decay": self.momentum_decay,
        }
        return {**super().get_config(), **own}


@keras.saving.register_keras_serializable(PACKAGE)
class Adamax(Optimizer):
    """Adamax with epsilon inside the maximum."""

    def __init__(
        self,
        learning_rate: float,
        betas: Any = (0.9, 0.999),
        epsilon: float = 1e-8,
        **kwargs: Any,
    ):
        super().__init__(learning_rate, **kwargs)
        self.betas, self.epsilon = betas, epsilon

    def build(self, variables: Any) -> None:
        """A mean and a fading maximum for each variable."""
        if not self.built:
            super().build(variables)
            self.first = self.add_optimizer_variables(variables, "first")
            self.sizes = self.add_optimizer_variables(variables, "size")

    def change(self, gradient: Any, variable: Any, rate: Any) -> Any:
        """Set u = max(b2 u, |g| + epsilon); rate / (1 - b1^t) * m / u."""
        index = self._get_variable_index(variable)
        first, size = self.first[index], self.sizes[index]
        b1, b2 = self.betas
        t = ops.cast(self.iterations + 1, variable.dtype)
        self.assign_add(first, (1 - b1) * (gradient - first))
        self.assign(size, ops.maximum(b2 * size, ops.abs(gradient) + self.epsilon))
        return rate / (1 - b1**t) * first / size

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {**super().get_config(), "betas": self.betas, "epsilon": self.epsilon}
