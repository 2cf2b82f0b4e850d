"""Changes of shape."""

from __future__ import annotations

import numpy as np

from cnnspec.backends.numpy.kernels.annotations import Array, Forward


def flatten(x: Array) -> Forward:
    """(N, C, *space) to (N, features)."""
    return x.reshape(len(x), -1), lambda g: g.reshape(x.shape)


def rearrange(
    x: Array, parts: tuple[int, ...], order: tuple[int, ...], shape: tuple[int, ...]
) -> Forward:
    """Split axes into `parts`, put these into another order, and join them to `shape`."""
    moved = x.reshape(parts).transpose(order)

    def backward(g: Array) -> Array:
        return g.reshape(moved.shape).transpose(np.argsort(order)).reshape(x.shape)

    return moved.reshape(shape), backward


def reshape(x: Array, *shape: int) -> Forward:
    """(N, C, *space) to (N, *shape)."""
    return x.reshape(len(x), *shape), lambda g: g.reshape(x.shape)


def permute(x: Array, *axes: int) -> Forward:
    """Axis i behind the batch becomes the input's axis `axes[i]` behind the batch."""
    order = (0, *(axis + 1 for axis in axes))
    return x.transpose(order), lambda g: g.transpose(np.argsort(order))


def channel_shuffle(x: Array, groups: int) -> Forward:
    """Channel i of group j becomes channel i * groups + j."""
    n, channels, *space = x.shape
    order = (0, 2, 1, *range(3, 3 + len(space)))
    return rearrange(x, (n, groups, channels // groups, *space), order, x.shape)


def pixel_shuffle(x: Array, factor: int) -> Forward:
    """Each factor^rank channels become one, with blocks of their elements as its space."""
    n, channels, *space = x.shape
    rank = len(space)
    channels //= factor**rank
    order = [axis for i in range(rank) for axis in (2 + rank + i, 2 + i)]
    shape = (n, channels, *(size * factor for size in space))
    return rearrange(x, (n, channels, *[factor] * rank, *space), (0, 1, *order), shape)


def pixel_unshuffle(x: Array, factor: int) -> Forward:
    """Each block of space becomes factor^rank channels."""
    n, channels, *space = x.shape
    rank = len(space)
    small = [size // factor for size in space]
    parts = [n, channels]
    for size in small:
        parts += [size, factor]
    order = (0, 1, *range(3, 3 + 2 * rank, 2), *range(2, 2 + 2 * rank, 2))
    return rearrange(x, tuple(parts), order, (n, channels * factor**rank, *small))
