"""Pooling into a given number of bins, for any number of axes and in float64."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import layers, ops

from cnnspec.backends.keras.helpers.package import PACKAGE


def bins(n: int, count: int) -> list[tuple[int, int]]:
    """Where each bin starts and ends: floor(i n / count) and ceil((i + 1) n / count)."""
    return [(i * n // count, -(-(i + 1) * n // count)) for i in range(count)]


class AdaptivePool(layers.Layer):
    """Pooling into `size` bins along each axis of space."""

    def __init__(self, size: Any, **kwargs: Any):
        super().__init__(**kwargs)
        self.size = size

    def sizes(self, x: Any) -> list[tuple[int, int]]:
        """(input's size, number of bins) for each axis of space."""
        space = x.shape[1:-1]
        counts = [self.size] * len(space) if isinstance(self.size, int) else self.size
        return list(zip(space, counts, strict=True))

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {**super().get_config(), "size": self.size}


@keras.saving.register_keras_serializable(PACKAGE)
class AdaptiveAvgPool(AdaptivePool):
    """Mean of each bin."""

    def call(self, x: Any) -> Any:
        """One axis after the other, by a matrix."""
        for axis, (n, count) in enumerate(self.sizes(x), start=1):
            matrix = np.zeros((n, count))
            for column, (first, end) in enumerate(bins(n, count)):
                matrix[first:end, column] = 1 / (end - first)
            x = ops.tensordot(x, ops.convert_to_tensor(matrix, x.dtype), [[axis], [0]])
            x = ops.moveaxis(x, -1, axis)
        return x


@keras.saving.register_keras_serializable(PACKAGE)
class AdaptiveMaxPool(AdaptivePool):
    """Maximum of each bin, the first one where several are equal."""

    def call(self, x: Any) -> Any:
        """Element by element of all bins, row by row; Keras' own divides ties among axes."""
        tables = []
        for n, count in self.sizes(x):
            found = np.array(bins(n, count))
            most = (found[:, 1] - found[:, 0]).max()
            # A shorter bin reads its last element again, which is then not the first of its value.
            tables.append(np.minimum(found[:, 0] + np.arange(most)[:, None], found[:, 1] - 1))
        best = None
        for taps in np.ndindex(*(len(table) for table in tables)):
            value = x
            for axis, i in enumerate(taps):
                value = ops.take(value, tables[axis][i], axis + 1)
            best = value if best is None else ops.where(value > best, value, best)
        return best
