"""Several values into one; backward returns one gradient for each."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from cnnspec.backends.numpy.kernels.annotations import Array


def add(*xs: Array) -> tuple[Array, Callable[[Array], tuple[Array, ...]]]:
    """Sum of values of equal shape."""
    y = xs[0]
    for x in xs[1:]:
        y = y + x
    return y, lambda g: (g,) * len(xs)


def concat(*xs: Array) -> tuple[Array, Callable[[Array], tuple[Array, ...]]]:
    """Join along the channel axis."""
    ends = np.cumsum([x.shape[1] for x in xs])[:-1]
    return np.concatenate(xs, axis=1), lambda g: tuple(np.split(g, ends, axis=1))
