"""The layer as it stands in the Keras file, which has `keras`, its `layers`, `ops`, `initializers`.

`PACKAGE` is the name of the network there; the last axis of a Keras tensor is the channels.
"""

from __future__ import annotations

from typing import Any

import keras
from keras import initializers, layers, ops

from cnnspec.backends.keras.helpers.package import PACKAGE


@keras.saving.register_keras_serializable(PACKAGE)
class Snake(layers.Layer):
    """x + scale * sin(alpha * x)^2, with one alpha for each channel."""

    def __init__(self, scale: float, initializer: Any = "ones", **kwargs: Any):
        super().__init__(**kwargs)
        self.scale, self.initializer = scale, initializers.get(initializer)

    def build(self, shape: Any) -> None:
        """One alpha for each channel."""
        self.alpha = self.add_weight((shape[-1],), self.initializer, name="alpha")

    def call(self, x: Any) -> Any:
        """Elementwise."""
        return x + self.scale * ops.sin(self.alpha * x) ** 2

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        initializer = initializers.serialize(self.initializer)
        return {**super().get_config(), "scale": self.scale, "initializer": initializer}
