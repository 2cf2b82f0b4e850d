"""Adaptive pooling: as many bins as asked for, whatever the size of the input."""

from __future__ import annotations

import math
from typing import ClassVar, Literal

from cnnspec.ops.base import Inferred, Lengths, Op, Shape, op, require_space, spatial
from cnnspec.ops.fields import PerAxis, per_axis

Bins = tuple[tuple[int, int], ...]
"""The first element of each bin along an axis, and the one behind its last."""


def bin_of(i: int, n: int, count: int) -> tuple[int, int]:
    """Bin i of n elements: from floor(i n / count) up to, not including, ceil((i + 1) n / count).

    Bins share elements where count does not divide n, and are of at most two sizes.
    """
    return i * n // count, -(-(i + 1) * n // count)


def bins(n: int, count: int) -> Bins:
    """All bins along an axis."""
    return tuple(bin_of(i, n, count) for i in range(count))


class AdaptivePool(Op):
    """What adaptive pooling has: `size`, the output's, one number or one for each axis."""

    bound: ClassVar[Literal["linear", "perturbation"]] = "linear"

    size: PerAxis

    def bins(self, shape: Shape) -> tuple[Bins, ...]:
        """The bins along each spatial axis of an input of this shape."""
        space = spatial(shape)
        counts = per_axis("size", self.size, space)
        return tuple(bins(n, count) for n, count in zip(space, counts, strict=True))

    def infer(self, *shapes: Shape) -> Inferred:
        """(channels, *size)."""
        (shape,) = shapes
        require_space(shape, "adaptive pooling")
        return Inferred((shape[0], *per_axis("size", self.size, spatial(shape))))

    def lengths(self, inputs: tuple[Shape, ...], output: Shape, batch: int) -> Lengths:
        """The elements of the largest bin; the most bins that share an element."""
        space = spatial(inputs[0])
        # Each axis rounds once more: a mean along it is a factor of its own.
        taps, shared = len(space) + 1, len(space) + 1
        each = [_most(n, count) for n, count in zip(space, spatial(output), strict=True)]
        return Lengths(
            taps + math.prod(taken for taken, _ in each),
            shared + math.prod(reads for _, reads in each),
        )


def _most(n: int, count: int) -> tuple[int, int]:
    """The most elements in a bin, and the most bins that an element is in."""
    found = bins(n, count)
    reads = [0] * n
    for first, end in found:
        for i in range(first, end):
            reads[i] += 1
    return max(end - first for first, end in found), max(reads)


@op("adaptive_avg_pool")
class AdaptiveAvgPool(AdaptivePool):
    """Mean of each bin; bin i along an axis is [floor(i n / o), ceil((i + 1) n / o)).

    n is the input's size and o the output's, `size`, which may be larger.
    """


@op("adaptive_max_pool")
class AdaptiveMaxPool(AdaptivePool):
    """Maximum of each bin; bin i along an axis is [floor(i n / o), ceil((i + 1) n / o)).

    n is the input's size and o the output's, `size`, which may be larger. The whole gradient goes
    to the first maximum in row-major order of the bin.
    """

    selects: ClassVar[bool] = True
    exact: ClassVar[bool] = True
