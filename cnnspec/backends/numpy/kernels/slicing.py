"""Parts of a value: backward puts the gradient in its place among zeros."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from cnnspec.backends.numpy.kernels.annotations import Array, Forward, Ints, Pads
from cnnspec.backends.numpy.kernels.window import pad_pairs


def slice_axes(x: Array, *ranges: tuple[int | None, ...]) -> Forward:
    """The part of `x` from start up to stop: (start, stop) or (start, stop, step) for each axis."""
    index = (slice(None), *(slice(*found) for found in ranges))

    def backward(g: Array) -> Array:
        gx = np.zeros(x.shape, g.dtype)
        gx[index] = g
        return gx

    return x[index], backward


def split(x: Array, parts: Ints) -> tuple[tuple[Array, ...], Callable[[tuple[Array, ...]], Array]]:
    """The channels of `x` in so many equal parts, or in parts of these sizes."""
    ends = parts if isinstance(parts, int) else np.cumsum(parts)[:-1]
    return tuple(np.split(x, ends, axis=1)), lambda gs: np.concatenate(gs, axis=1)


def crop(x: Array, sides: Pads) -> Forward:
    """Space without so many elements before and after it."""
    pairs = pad_pairs(sides, x.ndim - 2)
    inside = [(lo, n - hi) for n, (lo, hi) in zip(x.shape[2:], pairs, strict=True)]
    return slice_axes(x, (None,), *inside)
