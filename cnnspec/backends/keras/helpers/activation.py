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
