"""Random masks that are the same in every framework, which decide in other ways than dropout."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from cnnspec.backends.keras.helpers.dropout import CounterDropout
from cnnspec.backends.keras.helpers.package import PACKAGE


@keras.saving.register_keras_serializable(PACKAGE)
class CounterSpatialDropout(CounterDropout):
    """Dropout of whole channels of a sample."""

    def call(self, x: Any, training: bool | None = None) -> Any:
        """In training one decision for each channel of each sample."""
        if not training:
            return x
        channels = x[(slice(None), *(slice(1) for _ in x.shape[1:-1]))]
        return x * super().call(ops.ones_like(channels), training)


@keras.saving.register_keras_serializable(PACKAGE)
class CounterStochasticDepth(CounterDropout):
    """Dropout of whole samples."""

    def call(self, x: Any, training: bool | None = None) -> Any:
        """In training one decision for each sample."""
        if not training:
            return x
        samples = x[(slice(None), *(slice(1) for _ in x.shape[1:]))]
        return x * super().call(ops.ones_like(samples), training)


@keras.saving.register_keras_serializable(PACKAGE)
class CounterAlphaDropout(CounterDropout):
    """Dropout to where a selu ends."""

    def call(self, x: Any, training: bool | None = None) -> Any:
        """In training mean and variance of what a selu puts out stay."""
        if not training or self.p in {0, 1}:
            return super().call(x, training)
        low = -1.0507009873554804934 * 1.6732632423543772848
        a = ((1 - self.p) * (1 + self.p * low**2)) ** -0.5
        keep = super().call(ops.ones_like(x), training) > 0
        return ops.where(keep, a * x - a * self.p * low, a * (1 - self.p) * low)
