"""Losses: the sum, the weight it is to be divided by, and the gradient of the sum."""

from __future__ import annotations

import numpy as np

from cnnspec.backends.numpy.kernels.annotations import Array


def cross_entropy(z: Array, labels: Array) -> tuple[tuple[float, int], Array]:
    """-log softmax(z)[label] at each position; z is (N, C, *space), labels (N, *space)."""
    index = labels[:, None]
    shifted = z - z.max(1, keepdims=True)
    e = np.exp(shifted)
    total = e.sum(1, keepdims=True)
    losses = np.log(total) - np.take_along_axis(shifted, index, 1)
    gradient = e / total
    hit = np.take_along_axis(gradient, index, 1)
    np.put_along_axis(gradient, index, hit - 1, 1)
    return (losses.sum(), labels.size), gradient


def squared_error(y: Array, target: Array) -> tuple[tuple[float, int], Array]:
    """(y - target)^2 over all elements."""
    difference = y - target
    return (np.square(difference).sum(), y.size), 2 * difference
