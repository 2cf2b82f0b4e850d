"""Several values into one; backward returns one gradient for each."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from cnnspec.backends.numpy.kernels.annotations import Array
from cnnspec.backends.numpy.kernels.base import keeping


def add(*xs: Array) -> tuple[Array, Callable[[Array], tuple[Array, ...]]]:
    """Sum of values of equal shape."""
    y = xs[0]
    for x in xs[1:]:
        y = y + x
    return y, keeping(lambda g: (g,) * len(xs))


def subtract(a: Array, b: Array) -> tuple[Array, Callable[[Array], tuple[Array, ...]]]:
    """The first value minus the second."""
    return a - b, lambda g: (g, -g)


def average(*xs: Array) -> tuple[Array, Callable[[Array], tuple[Array, ...]]]:
    """Mean of values of equal shape."""
    return sum(xs[1:], xs[0]) / len(xs), lambda g: (g / len(xs),) * len(xs)


def maximum(*xs: Array) -> tuple[Array, Callable[[Array], tuple[Array, ...]]]:
    """Largest of values of equal shape; the first one that is largest gets the gradient."""
    y, winner = xs[0], np.zeros(xs[0].shape, int)
    for i, x in enumerate(xs[1:], start=1):
        larger = x > y
        y, winner = np.where(larger, x, y), np.where(larger, i, winner)
    return y, lambda g: tuple(np.where(winner == i, g, 0) for i in range(len(xs)))


def product(*xs: Array) -> tuple[Array, Callable[[Array], tuple[Array, ...]]]:
    """Product of values of equal shape, or of one value for each channel."""
    y = xs[0]
    for x in xs[1:]:
        y = y * x

    def backward(g: Array) -> tuple[Array, ...]:
        gradients = []
        for i, x in enumerate(xs):
            gx = g
            for other in xs[:i] + xs[i + 1 :]:
                gx = gx * other
            # A value that was used at every position gathers the gradients of all.
            used = tuple(axis for axis in range(2, y.ndim) if x.shape[axis] < y.shape[axis])
            gradients.append(gx.sum(used, keepdims=True))
        return tuple(gradients)

    return y, keeping(backward)


def concat(*xs: Array) -> tuple[Array, Callable[[Array], tuple[Array, ...]]]:
    """Join along the channel axis."""
    ends = np.cumsum([x.shape[1] for x in xs])[:-1]
    return np.concatenate(xs, axis=1), lambda g: tuple(np.split(g, ends, axis=1))
