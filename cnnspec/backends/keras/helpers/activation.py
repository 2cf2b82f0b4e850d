"""Activations that Keras rounds to float32, or whose derivative at 0 is another one."""

from __future__ import annotations

from typing import Any

import keras
from keras import initializers, layers, ops

from cnnspec.backends.keras.helpers.package import PACKAGE


@keras.saving.register_keras_serializable(PACKAGE)
class LeakyRelu(layers.Layer):
    """x where x > 0, else slope * x; Keras' own rounds the slope to float32."""

    def __init__(self, slope: float, **kwargs: Any):
        super().__init__(**kwargs)
        self.slope = slope

    def call(self, x: Any) -> Any:
        """Elementwise."""
        return ops.where(x > 0, x, self.slope * x)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {**super().get_config(), "slope": self.slope}


@keras.saving.register_keras_serializable(PACKAGE)
class PRelu(layers.Layer):
    """x where x > 0, else weight * x; the derivative at 0 is the weight, in Keras' own it is 0."""

    def __init__(self, parameters: int, initializer: Any = None, **kwargs: Any):
        super().__init__(**kwargs)
        self.parameters = parameters
        self.initializer = initializers.get(initializer or initializers.Constant(0.25))

    def build(self, shape: Any) -> None:
        """One weight for each channel, or one for all."""
        self.weight = self.add_weight((self.parameters,), self.initializer, name="weight")

    def call(self, x: Any) -> Any:
        """Elementwise."""
        return ops.where(x > 0, x, self.weight * x)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        initializer = initializers.serialize(self.initializer)
        return {**super().get_config(), "parameters": self.parameters, "initializer": initializer}


@keras.saving.register_keras_serializable(PACKAGE)
class Selu(layers.Layer):
    """Scaled ELU; the derivative at 0 is that of the negative side, in TensorFlow's it is not."""

    def call(self, x: Any) -> Any:
        """Elementwise."""
        negative = 1.6732632423543772848 * ops.expm1(ops.minimum(x, 0))
        return 1.0507009873554804934 * ops.where(x > 0, x, negative)


@keras.saving.register_keras_serializable(PACKAGE)
class Gelu(layers.Layer):
    """x / 2 * (1 + erf(x / sqrt 2)); Keras' own rounds its constants to float32."""

    def call(self, x: Any) -> Any:
        """Elementwise."""
        return 0.5 * x * (1 + ops.erf(x * 0.7071067811865476))


@keras.saving.register_keras_serializable(PACKAGE)
class Elu(layers.Layer):
    """x where x > 0, else alpha * (exp(x) - 1), by expm1; Keras' own loses what is close to 0."""

    def __init__(self, alpha: float = 1.0, **kwargs: Any):
        super().__init__(**kwargs)
        self.alpha = alpha

    def call(self, x: Any) -> Any:
        """Elementwise."""
        return ops.where(x > 0, x, self.alpha * ops.expm1(ops.where(x > 0, 0.0, x)))

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {**super().get_config(), "alpha": self.alpha}


@keras.saving.register_keras_serializable(PACKAGE)
class Celu(layers.Layer):
    """x where x > 0, else alpha * (exp(x / alpha) - 1); Keras' own has another derivative at 0."""

    def __init__(self, alpha: float = 1.0, **kwargs: Any):
        super().__init__(**kwargs)
        self.alpha = alpha

    def call(self, x: Any) -> Any:
        """Elementwise."""
        negative = ops.where(x > 0, 0.0, x)
        return ops.where(x > 0, x, self.alpha * ops.expm1(negative / self.alpha))

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {**super().get_config(), "alpha": self.alpha}


@keras.saving.register_keras_serializable(PACKAGE)
class GeluTanh(layers.Layer):
    """Gelu by tanh in place of erf; Keras' own rounds its constants to float32."""

    def call(self, x: Any) -> Any:
        """Elementwise."""
        # (1 + tanh(z)) / 2 is sigmoid(2 z), which does not cancel.
        return x * ops.sigmoid(1.5957691216057308 * (x + 0.044715 * x * x * x))


@keras.saving.register_keras_serializable(PACKAGE)
class HardTanh(layers.Layer):
    """min(max(x, -1), 1); the derivative at -1 and 1 is 0, in Keras' own it is 1."""

    def call(self, x: Any) -> Any:
        """Elementwise."""
        return ops.where(x >= 1, 1.0, ops.where(x <= -1, -1.0, x))
