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


def window_counts(
    size: tuple[int, ...],
    kernel: tuple[int, ...],
    stride: tuple[int, ...],
    dilation: tuple[int, ...],
    pads: tuple[tuple[int, int], ...],
) -> tuple[int, ...]:
    """How many windows there are along each axis."""
    axes = zip(size, kernel, stride, dilation, pads, strict=True)
    counts = tuple((n + sum(p) - (k - 1) * d - 1) // s + 1 for n, k, s, d, p in axes)
    if min(counts) < 1:
        raise ValueError(
            f"a window of {kernel} with dilation {dilation} does not fit into {size} with {pads}"
        )
    return counts


def window_slices(
    size: tuple[int, ...],
    kernel: tuple[int, ...],
    stride: tuple[int, ...],
    dilation: tuple[int, ...],
) -> list[tuple[Any, ...]]:
    """For each kernel position, in row-major order, the elements it meets over all windows."""
    counts = window_counts(size, kernel, stride, dilation, pad_pairs(0, len(size)))
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


def window_reads(
    n: int, windows: int, kernel: int, stride: int, dilation: int, before: int
) -> list[tuple[slice, slice]]:
    """For each element of a kernel along one axis: in which windows it meets one of n elements.

    Beside these windows stand the elements; in all others it meets padding.
    """
    found = []
    for q in range(kernel):
        offset = q * dilation - before
        first = max(0, -(offset // stride))
        end = max(first, min(windows, (n - 1 - offset) // stride + 1))
        elements = slice(first * stride + offset, end * stride + offset, stride)
        found.append((slice(first, end), elements))
    return found


def unfold(x: Array, windows: tuple[int, ...], *geometry: tuple[int, ...]) -> Array:
    """What each window of (C, N, *space) holds, as (C, *kernel, N, *windows); 0 outside of it.

    It is done axis by axis, the last one first, so that what is copied most often is copied in
    long runs. The geometry is kernel, stride, dilation and padding before, for each axis.
    """
    rank = len(windows)
    lead: tuple[Any, ...] = (slice(None),) * (rank + 1)
    for count, kernel, *how in reversed(list(zip(windows, *geometry, strict=True))):
        shape = x.shape[0], kernel, *x.shape[1 : rank + 1], count, *x.shape[rank + 2 :]
        y = np.empty(shape, x.dtype)
        for q, (some, elements) in enumerate(window_reads(x.shape[rank + 1], count, kernel, *how)):
            part = y[:, q]
            part[(*lead, some)] = x[(*lead, elements)]
            if some.start > 0:
                part[(*lead, slice(some.start))] = 0
            if some.stop < count:
                part[(*lead, slice(some.stop, None))] = 0
        x = y
    return x


def fold(g: Array, x: Array, windows: tuple[int, ...], *geometry: tuple[int, ...]) -> None:
    """Add each element of `unfold`'s result to the element of `x` that it came from."""
    rank = len(windows)
    lead: tuple[Any, ...] = (slice(None),) * (rank + 1)
    for axis, (count, kernel, *how) in enumerate(zip(windows, *geometry, strict=True)):
        n = x.shape[2 + axis]
        shape = g.shape[0], *g.shape[2 : rank + 2], n, *g.shape[rank + 3 :]
        target = x if axis == rank - 1 else np.zeros(shape, g.dtype)
        for q, (some, elements) in enumerate(window_reads(n, count, kernel, *how)):
            target[(*lead, elements)] += g[:, q][(*lead, some)]
        g = target


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
