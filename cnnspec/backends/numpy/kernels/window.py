"""Geometry shared by convolution and pooling."""

from __future__ import annotations

from typing import Any

import numpy as np

from cnnspec.backends.numpy.kernels.annotations import Array, Backward, Ints, Pads


def per_axis(value: Ints, rank: int) -> tuple[int, ...]:
    """One value for all space axes, or one for each."""
    return (value,) * rank if isinstance(value, int) else tuple(value)


def pad_pairs(pads: Pads, rank: int) -> tuple[tuple[int, int], ...]:
    """(before, after) for each space axis; a single int means both sides."""
    each = (pads,) * rank if isinstance(pads, int) else pads
    return tuple((p, p) if isinstance(p, int) else (p[0], p[1]) for p in each)


def window_slices(
    size: tuple[int, ...],
    kernel: tuple[int, ...],
    stride: tuple[int, ...],
    dilation: tuple[int, ...],
) -> list[tuple[Any, ...]]:
    """For each kernel position, in row-major order, the elements it meets over all windows."""
    counts = [
        (n - (k - 1) * d - 1) // s + 1
        for n, k, s, d in zip(size, kernel, stride, dilation, strict=True)
    ]
    if min(counts) < 1:
        raise ValueError(f"kernel {kernel} with dilation {dilation} does not fit into {size}")
    return [
        (
            ...,
            *(
                slice(q * d, q * d + s * (o - 1) + 1, s)
                for q, d, s, o in zip(at, dilation, stride, counts, strict=True)
            ),
        )
        for at in np.ndindex(*kernel)
    ]


def window_view(
    x: Array, kernel: tuple[int, ...], stride: tuple[int, ...], dilation: tuple[int, ...]
) -> Array:
    """A view (N, C, *kernel, *windows) of every element of every window."""
    rank = len(kernel)
    extent = [(k - 1) * d + 1 for k, d in zip(kernel, dilation, strict=True)]
    view = np.lib.stride_tricks.sliding_window_view(x, extent, tuple(range(2, 2 + rank)))
    view = view[tuple(slice(None, None, step) for step in (1, 1, *stride, *dilation))]
    return view.transpose(0, 1, *range(2 + rank, 2 + 2 * rank), *range(2, 2 + rank))


def pad_constant(
    x: Array, pads: tuple[tuple[int, int], ...], value: float = 0.0
) -> tuple[Array, Backward]:
    """Surround the space axes with a constant."""
    if not any(map(any, pads)):
        return x, lambda g: g
    bounds = zip(((0, 0), (0, 0), *pads), x.shape, strict=True)
    inside = tuple(slice(lo, lo + n) for (lo, _), n in bounds)
    size = [lo + n + hi for (lo, hi), n in zip(pads, x.shape[2:], strict=True)]
    y = np.full((*x.shape[:2], *size), value, x.dtype)
    y[inside] = x
    return y, lambda g: g[inside]


def pad_indexed(x: Array, pads: tuple[tuple[int, int], ...], mode: str) -> tuple[Array, Backward]:
    """Surround the space axes with copies of elements: reflect, replicate or circular."""
    size, indices = x.shape, []
    for axis, (lo, hi) in enumerate(pads, start=2):
        n = size[axis]
        if max(lo, hi) > {"reflect": n - 1, "circular": n}.get(mode, lo + hi):
            raise ValueError(f"{mode} padding of ({lo}, {hi}) is too wide for {n} elements")
        i = np.arange(-lo, n + hi)
        reflected = (n - 1) - np.abs((n - 1) - np.abs(i))
        indices.append(
            {"reflect": reflected, "replicate": i.clip(0, n - 1), "circular": i % n}[mode]
        )
        x = np.take(x, indices[-1], axis)

    def backward(g: Array) -> Array:
        for axis, (lo, hi) in reversed(list(enumerate(pads, start=2))):
            n, index = size[axis], indices[axis - 2]
            g = np.moveaxis(g, axis, 0)
            inner = g[lo : lo + n].copy()
            for i in (*range(lo), *range(lo + n, lo + n + hi)):
                inner[index[i]] += g[i]
            g = np.moveaxis(inner, 0, axis)
        return g

    return x, backward
