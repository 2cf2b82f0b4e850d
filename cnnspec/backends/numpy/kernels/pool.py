"""Pooling over the space axes."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from cnnspec.backends.numpy.kernels.annotations import Array, Forward, Ints, Pads
from cnnspec.backends.numpy.kernels.base import keeping
from cnnspec.backends.numpy.kernels.window import (
    pad_constant,
    pad_pairs,
    per_axis,
    window_counts,
    window_reads,
    window_slices,
)


def max_pool(
    x: Array, kernel: Ints, stride: Ints | None = None, dilation: Ints = 1, pads: Pads = 0
) -> Forward:
    """Largest element of each window, padding aside; its first occurrence gets the gradient.

    Axes are taken one by one, the last one first, which keeps the order of occurrence.
    """
    rank = x.ndim - 2
    kernel, dilation = per_axis(kernel, rank), per_axis(dilation, rank)
    stride = kernel if stride is None else per_axis(stride, rank)
    pairs = pad_pairs(pads, rank)
    counts = window_counts(x.shape[2:], kernel, stride, dilation, pairs)
    steps = []
    for axis in reversed(range(rank)):
        geometry = counts[axis], kernel[axis], stride[axis], dilation[axis], pairs[axis][0]
        x, step = max_along(x, 2 + axis, *geometry)
        steps.append(step)

    def backward(g: Array) -> Array:
        for step in reversed(steps):
            g = step(g)
        return g

    return x, keeping(backward)


def max_along(x: Array, axis: int, windows: int, *geometry: int) -> Forward:
    """Largest element of each window along one axis; its first occurrence gets the gradient.

    The geometry is kernel, stride, dilation and padding before.
    """
    lead: tuple[Any, ...] = (slice(None),) * axis
    found = window_reads(x.shape[axis], windows, *geometry)
    places = [((*lead, some), (*lead, elements)) for some, elements in found]
    y = np.full((*x.shape[:axis], windows, *x.shape[axis + 1 :]), -math.inf, x.dtype)
    for at, read in places:
        np.maximum(y[at], x[read], out=y[at])

    def backward(g: Array) -> Array:
        gx, step = np.zeros_like(x), max(1, (1 << 17) * len(x) // x.size)
        for n in range(0, len(x), step):  # a few images at a time stay in the cache
            some = slice(n, n + step)
            x_part, y_part, g_part, gx_part = x[some], y[some], g[some], gx[some]
            pending = np.ones(y_part.shape, bool)
            for at, read in places:
                hit = pending[at] & (x_part[read] == y_part[at])
                gx_part[read] += g_part[at] * hit
                pending[at] ^= hit
        return gx

    return y, keeping(backward)


def sum_pool(
    x: Array, kernel: Ints, stride: Ints | None = None, dilation: Ints = 1, pads: Pads = 0
) -> Forward:
    """Sum of each window."""
    rank = x.ndim - 2
    kernel, dilation = per_axis(kernel, rank), per_axis(dilation, rank)
    stride = kernel if stride is None else per_axis(stride, rank)
    padded, unpad = pad_constant(x, pad_pairs(pads, rank))
    slices = window_slices(padded.shape[2:], kernel, stride, dilation)
    y = padded[slices[0]].copy()
    for index in slices[1:]:
        y += padded[index]

    def backward(g: Array) -> Array:
        g_padded = np.zeros_like(padded)
        for index in slices:
            g_padded[index] += g
        return unpad(g_padded)

    return y, backward


def avg_pool(
    x: Array,
    kernel: Ints,
    stride: Ints | None = None,
    dilation: Ints = 1,
    pads: Pads = 0,
    *,
    overhang: Ints = 0,
    count_include_pad: bool = False,
) -> Forward:
    """Mean of each window over real elements, or with padding counted.

    `overhang`: what each space axis is extended by at its end beyond its padding, never counted.
    """
    rank = x.ndim - 2
    kernel, dilation = per_axis(kernel, rank), per_axis(dilation, rank)
    stride = kernel if stride is None else per_axis(stride, rank)
    counted = pad_pairs(pads, rank)
    read = tuple(
        (lo, hi + extra) for (lo, hi), extra in zip(counted, per_axis(overhang, rank), strict=True)
    )
    total, total_backward = sum_pool(x, kernel, stride, dilation, read)
    count = np.ones((), x.dtype)
    for axis, (lo, hi) in enumerate(counted):
        windows = np.arange(total.shape[2 + axis]) * stride[axis] - lo
        i = windows[:, None] + np.arange(kernel[axis]) * dilation[axis]
        first, end = (-lo, x.shape[2 + axis] + hi) if count_include_pad else (0, x.shape[2 + axis])
        count = count[..., None] * ((i >= first) & (i < end)).sum(1).astype(x.dtype)
    return total / count, lambda g: total_backward(g / count)


def lp_pool(
    x: Array, kernel: Ints, p: float, stride: Ints | None = None, pads: Pads = 0
) -> Forward:
    """Compute (sum of |x|^p)^(1/p) of each window; where the sum is 0, so is the gradient."""
    rank = x.ndim - 2
    kernel = per_axis(kernel, rank)
    stride = kernel if stride is None else per_axis(stride, rank)
    padded, unpad = pad_constant(np.abs(x), pad_pairs(pads, rank))
    slices = window_slices(padded.shape[2:], kernel, stride, (1,) * rank)
    largest = padded[slices[0]].copy()
    for index in slices[1:]:
        np.maximum(largest, padded[index], out=largest)
    scale = np.where(largest > 0, largest, 1)  # without it powers would over- or underflow
    total = np.zeros_like(largest)
    for index in slices:
        total += (padded[index] / scale) ** p
    total = np.where(largest > 0, total, 1)

    def backward(g: Array) -> Array:
        g_padded, outer = np.zeros_like(padded), g * total ** (1 / p - 1)
        for index in slices:
            g_padded[index] += outer * (padded[index] / scale) ** (p - 1)
        return np.sign(x) * unpad(g_padded)

    return largest * total ** (1 / p), backward


def global_avg_pool(x: Array) -> Forward:
    """Mean over all space axes, kept with size 1."""
    space = tuple(range(2, x.ndim))
    elements = math.prod(x.shape[2:])
    y = x.mean(space, keepdims=True)
    return y, keeping(lambda g: np.broadcast_to(g / elements, x.shape))


def global_max_pool(x: Array) -> Forward:
    """Maximum over all space axes, kept with size 1; its first occurrence gets the gradient."""
    flat = x.reshape(*x.shape[:2], -1)
    first = flat.argmax(2)[..., None]
    y = np.take_along_axis(flat, first, 2)
    sizes = (*x.shape[:2], *(1 for _ in x.shape[2:]))

    def backward(g: Array) -> Array:
        gx = np.zeros_like(flat)
        np.put_along_axis(gx, first, g.reshape(y.shape), 2)
        return gx.reshape(x.shape)

    return y.reshape(sizes), keeping(backward)
