"""Elementwise work on tensors of any size, a piece that fits into the cache at a time.

A whole-array expression such as `np.abs(a - b).max()` writes and reads a temporary as large as the
tensor for every operation in it; over gigabytes of weights that is most of a check's time.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

PIECE = 1 << 15
"""Elements of a piece: 256 KiB of float64."""
NARROW_FROM = 1 << 16
"""Elements from which bounds are kept in float32, in half the memory; they need no more digits."""
SMALLEST = 2.0**-126
"""Of float32, without loss of digits."""


def pieces(*arrays: Array) -> Iterator[tuple[Array, ...]]:
    """The same elements of arrays of one shape, in row-major order, as flat arrays.

    They are views where an array is contiguous, so that pieces of a new array can be written to.
    """
    flat = [array.reshape(-1) for array in arrays]
    for start in range(0, flat[0].size, PIECE):
        yield tuple([array[start : start + PIECE] for array in flat])


def magnitude(value: Array) -> float:
    """The largest absolute value, 0 of nothing; NaN where there is one."""
    if not value.size:
        return 0.0
    return max(abs(float(value.max())), abs(float(value.min())))


def root_mean_square(value: Array) -> float:
    """Over all elements, 0 of nothing."""
    if not value.size:
        return 0.0
    squares = math.fsum(float(np.square(x, dtype=np.float64).sum()) for (x,) in pieces(value))
    return math.sqrt(squares / value.size)


def distance(a: Array, b: Array) -> float:
    """The largest absolute difference, 0 of nothing."""
    found = 0.0
    for left, right in pieces(a, b):
        found = max(found, magnitude(np.subtract(left, right, dtype=np.float64)))
    return found


def bound_dtype(size: int) -> type[np.floating[Any]]:
    """The dtype that bounds of a tensor of so many elements are kept in."""
    return np.float32 if size >= NARROW_FROM else np.float64


def as_bound(factor: float, value: Array) -> Array:
    """`factor * |value|`, in the dtype of bounds; what float32 would lose is rounded up."""
    found = np.empty(value.shape, bound_dtype(value.size))
    for source, target in pieces(value, found):
        bound = np.abs(source)
        bound *= factor
        if found.dtype == np.float32:
            np.maximum(bound, SMALLEST, out=bound, where=bound > 0)
        np.copyto(target, bound, casting="same_kind")
    return found
