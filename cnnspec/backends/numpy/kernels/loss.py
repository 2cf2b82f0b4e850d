"""Losses: the sum, the weight it is to be divided by, and the gradient of the sum.

Outputs are (N, C, *space). Labels are (N, *space); all other targets have the outputs' shape.
Weights depend on the targets only. At a kink the gradient is that of the flat side.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import special

from cnnspec.backends.numpy.kernels.activation import log_softmax, logistic
from cnnspec.backends.numpy.kernels.annotations import Array, Found


def cross_entropy(z: Array, labels: Array) -> Found:
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


def soft_cross_entropy(
    z: Array,
    q: Array,
    label_smoothing: float = 0.0,
    class_weights: Any = 1.0,
    weight_norm: str = "batch",
) -> Found:
    """-w q log softmax(z) over channels, where q is (1 - label_smoothing) q + label_smoothing / C.

    The weight is the number of positions (`batch`), or the sum of w q before smoothing (`sum_w`).
    """
    w = by_channel(class_weights, z)
    weight = np.sum(w * q) if weight_norm == "sum_w" else q[:, 0].size
    terms = w * ((1 - label_smoothing) * q + label_smoothing / q.shape[1])
    log_p, _ = log_softmax(z)
    losses = -terms * log_p
    return (losses.sum(), weight), np.exp(log_p) * terms.sum(1, keepdims=True) - terms


def one_hot(labels: Array, z: Array) -> Array:
    """1 in the channel of the label, else 0, in the shape of z."""
    q = np.zeros_like(z)
    np.put_along_axis(q, labels[:, None], 1, 1)
    return q


def by_channel(values: Any, z: Array) -> Array:
    """One number, or one for each channel, in a shape that goes with z."""
    return np.asarray(values, z.dtype).reshape(-1, *(1 for _ in z.shape[2:]))


def kl_divergence(z: Array, q: Array) -> Found:
    """Compute q (log q - log softmax(z)) over channels; q log q is 0 where q is."""
    log_p, _ = log_softmax(z)
    losses = special.xlogy(q, q) - q * log_p
    gradient = np.exp(log_p) * q.sum(1, keepdims=True) - q
    return (losses.sum(), q[:, 0].size), gradient


def binary_cross_entropy(
    z: Array, t: Array, label_smoothing: float = 0.0, pos_weight: Any = 1.0
) -> Found:
    """-w t log sigmoid(z) - (1 - t) log sigmoid(-z), w the `pos_weight`; t may be smoothed."""
    t = (1 - label_smoothing) * t + label_smoothing / 2
    yes, no = by_channel(pos_weight, z) * t, 1 - t
    rest = np.log1p(np.exp(-np.abs(z)))
    losses = yes * (np.maximum(-z, 0) + rest) + no * (np.maximum(z, 0) + rest)
    return (losses.sum(), z.size), no * logistic(z) - yes * logistic(-z)


def squared_error(y: Array, target: Array) -> Found:
    """(y - target)^2 over all elements."""
    difference = y - target
    return (np.square(difference).sum(), y.size), 2 * difference


def absolute_error(y: Array, target: Array) -> Found:
    """|y - target| over all elements."""
    difference = y - target
    return (np.abs(difference).sum(), y.size), np.sign(difference)


def huber(y: Array, target: Array, delta: float = 1.0) -> Found:
    """Half the square of y - target up to delta, from there on a line."""
    difference = y - target
    gradient = np.clip(difference, -delta, delta)
    return (np.sum(gradient * (difference - gradient / 2)), y.size), gradient


def hinge(y: Array, sign: Array) -> Found:
    """max(0, 1 - sign y) over all elements."""
    losses = np.maximum(1 - sign * y, 0)
    return (losses.sum(), y.size), np.where(losses > 0, -sign, 0)


def squared_hinge(y: Array, sign: Array) -> Found:
    """max(0, 1 - sign y)^2 over all elements."""
    margins = np.maximum(1 - sign * y, 0)
    return (np.square(margins).sum(), y.size), -2 * sign * margins


def multi_margin(y: Array, labels: Array) -> Found:
    """max(0, 1 - y[label] + y[c]) over the other channels c, divided by C."""
    index = labels[:, None]
    losses = np.maximum(1 - np.take_along_axis(y, index, 1) + y, 0)
    np.put_along_axis(losses, index, 0, 1)
    gradient = (losses > 0).astype(y.dtype)
    np.put_along_axis(gradient, index, -gradient.sum(1, keepdims=True), 1)
    return (losses.sum() / y.shape[1], labels.size), gradient / y.shape[1]
