"""Pooling into a given number of bins."""

from __future__ import annotations

from typing import Any

import numpy as np

from cnnspec.backends.numpy.kernels.annotations import Array, Forward, Ints
from cnnspec.backends.numpy.kernels.window import per_axis


def bins(n: int, count: int) -> list[tuple[int, int]]:
    """Where each bin starts and ends: floor(i n / count) and ceil((i + 1) n / count)."""
    return [(i * n // count, -(-(i + 1) * n // count)) for i in range(count)]


def adaptive_avg_pool(x: Array, size: Ints) -> Forward:
    """Mean of each bin, as many as `size` says along each space axis."""
    matrices = []
    for n, count in zip(x.shape[2:], per_axis(size, x.ndim - 2), strict=True):
        matrix = np.zeros((count, n), x.dtype)
        for row, (first, end) in zip(matrix, bins(n, count), strict=True):
            row[first:end] = 1 / (end - first)
        matrices.append(matrix)

    def backward(g: Array) -> Array:
        for axis, matrix in enumerate(matrices, start=2):
            g = along_axis(g, matrix.T, axis)
        return g

    y = x
    for axis, matrix in enumerate(matrices, start=2):
        y = along_axis(y, matrix, axis)
    return y, backward


def along_axis(x: Array, matrix: Array, axis: int) -> Array:
    """Multiply a matrix by each vector along an axis."""
    return np.moveaxis(np.tensordot(x, matrix, (axis, 1)), -1, axis)


def adaptive_max_pool(x: Array, size: Ints) -> Forward:
    """Largest element of each bin; its first occurrence, row by row, gets the gradient."""
    tables = []
    for n, count in zip(x.shape[2:], per_axis(size, x.ndim - 2), strict=True):
        found = np.array(bins(n, count))
        most = (found[:, 1] - found[:, 0]).max()
        # A shorter bin reads its last element again, which is then not the first of its value.
        tables.append(np.minimum(found[:, 0] + np.arange(most)[:, None], found[:, 1] - 1))
    taps: list[tuple[Any, ...]] = [
        (..., *np.ix_(*(table[i] for table, i in zip(tables, at, strict=True))))
        for at in np.ndindex(*(len(table) for table in tables))
    ]
    y = x[taps[0]].copy()
    for index in taps[1:]:
        np.maximum(y, x[index], out=y)

    def backward(g: Array) -> Array:
        gx, pending = np.zeros_like(x), np.ones(y.shape, bool)
        for index in taps:
            hit = pending & (x[index] == y)
            np.add.at(gx, index, np.where(hit, g, 0))  # bins may share an element
            pending &= ~hit
        return gx

    return y, backward
