"""Merges that some engines of Keras have with another gradient."""

from __future__ import annotations

from typing import Any

import keras
from keras import layers, ops

from cnnspec.backends.keras.helpers.package import PACKAGE


@keras.saving.register_keras_serializable(PACKAGE)
class Maximum(layers.Layer):
    """Largest of its inputs; the first one that is largest gets the whole gradient."""

    def call(self, values: Any) -> Any:
        """Elementwise."""
        largest, *others = values
        for x in others:
            largest = ops.where(x > largest, x, largest)
        return largest

    def compute_output_shape(self, shapes: Any) -> Any:
        """The first one's."""
        return shapes[0]
