"""Parts of a value: backward puts the gradient in its place among zeros."""

from __future__ import annotations

import numpy as np

from cnnspec.backends.numpy.kernels.annotations import Array, Forward, Pads
from cnnspec.backends.numpy.kernels.window import pad_pairs


def slice_axes(x: Array, *ranges: tuple[int | None, ...]) -> Forward:
    """The part of `x` from start up to stop: (start, stop) or (start, stop, step) for each axis."""
    index = (slice(None), *(slice(*found) for found in ranges))

    def backward(g: Array) -> Array:
        gx = np.zeros(x.shape, g.dtype)
        gx[index] = g
        return gx

    return x[index], backward


def crop(x: Array, sides: Pads) -> Forward:
    """Space without so many elements before and after it."""
    pairs = pad_pairs(sides, x.ndim - 2)
    inside = [(lo, n - hi) for n, (lo, hi) in zip(x.shape[2:], pairs, strict=True)]
    return slice_axes(x, (None,), *inside)
