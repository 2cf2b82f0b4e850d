"""A learnt factor for each channel."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import initializers, layers

from cnnspec.backends.keras.helpers.package import PACKAGE


@keras.saving.register_keras_serializable(PACKAGE)
class LayerScale(layers.Layer):
    """weight * x, with one weight for each channel."""

    def __init__(self, initializer: Any = None, **kwargs: Any):
        super().__init__(**kwargs)
        # Keras rounds a Python float to float32, and leaves NumPy's as it is.
        small = initializers.Constant(np.float64(1e-6))
        self.initializer = initializers.get(initializer or small)

    def build(self, shape: Any) -> None:
        """One weight for each channel."""
        self.weight = self.add_weight((shape[-1],), self.initializer, name="weight")

    def call(self, x: Any) -> Any:
        """Elementwise."""
        return self.weight * x

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        initializer = initializers.serialize(self.initializer)
        return {**super().get_config(), "initializer": initializer}
