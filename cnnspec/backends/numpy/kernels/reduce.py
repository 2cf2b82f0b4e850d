"""One value along some axes."""

from __future__ import annotations

import numpy as np

from cnnspec.backends.numpy.kernels.annotations import Array, Forward


def mean_over(x: Array, axes: tuple[int, ...]) -> Forward:
    """Mean over these axes, kept with size 1."""
    y = x.mean(axes, keepdims=True)
    elements = x.size // y.size
    return y, lambda g: np.broadcast_to(g / elements, x.shape)
