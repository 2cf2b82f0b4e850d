"""Padding and interpolation of space."""

from __future__ import annotations

import numpy as np

from cnnspec.backends.numpy.kernels.annotations import Array, Forward, Ints, Pads
from cnnspec.backends.numpy.kernels.window import pad_constant, pad_indexed, pad_pairs, per_axis


def pad(x: Array, pads: Pads, mode: str = "constant", value: float = 0.0) -> Forward:
    """Surround space with a constant or with copies of elements."""
    pairs = pad_pairs(pads, x.ndim - 2)
    if mode == "constant":
        return pad_constant(x, pairs, value)
    return pad_indexed(x, pairs, mode)


def resize_taps(n: int, o: int, mode: str, align_corners: bool) -> list[tuple[Array, Array]]:
    """For a resize of n elements to o: which element each one reads, and its weight, tap by tap."""
    i = np.arange(o)
    if mode == "nearest":
        return [(i * n // o, np.ones(o))]
    if mode == "nearest_exact":
        return [((2 * i + 1) * n // (2 * o), np.ones(o))]
    # The position is a fraction of whole numbers: nothing is rounded before its remainder is.
    above, below = ((2 * i + 1) * n - o, 2 * o)
    if align_corners:
        above, below = (i * (n - 1), max(o - 1, 1))
    if mode == "linear":
        above = np.maximum(above, 0)
    first, t = above // below, above % below / below
    if mode == "linear":
        taps = [(first, 1 - t), (first + 1, t)]
    else:
        taps = [(first + k, cubic_weight(abs(t - k))) for k in (-1, 0, 1, 2)]
    return [(at.clip(0, n - 1), weight) for at, weight in taps]


def cubic_weight(s: Array) -> Array:
    """Keys' interpolation kernel with a = -0.75, at distances of at most 2."""
    a = -0.75
    return (s - 1) * np.where(s < 1, (a + 2) * s * s - s - 1, a * (s - 2) ** 2)


def upsample(
    x: Array,
    scale: Ints = 1,
    size: Ints | None = None,
    mode: str = "nearest",
    align_corners: bool = False,
) -> Forward:
    """Interpolate space to `size`, or to its own size times `scale`, one axis after the other."""
    rank, axes = x.ndim - 2, []
    sizes = tuple(n * factor for n, factor in zip(x.shape[2:], per_axis(scale, rank), strict=True))
    for axis, o in enumerate(sizes if size is None else per_axis(size, rank), start=2):
        n, shape = x.shape[axis], [1] * x.ndim
        shape[axis] = o
        taps = [
            (at, weight.astype(x.dtype).reshape(shape))
            for at, weight in resize_taps(n, o, mode, align_corners)
        ]
        axes.append((axis, n, taps))
        parts = [np.take(x, at, axis) * weight for at, weight in taps]
        x = sum(parts[1:], parts[0])

    def backward(g: Array) -> Array:
        for axis, n, taps in reversed(axes):
            gx = np.zeros((n, *np.moveaxis(g, axis, 0).shape[1:]), g.dtype)
            for at, weight in taps:
                np.add.at(gx, at, np.moveaxis(g * weight, axis, 0))
            g = np.moveaxis(gx, 0, axis)
        return g

    return x, backward
