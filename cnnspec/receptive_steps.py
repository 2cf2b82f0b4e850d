"""Which elements of its own input an element of a layer's output reads, op by op."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from functools import singledispatch

from cnnspec.ops.adaptive_pool import AdaptivePool
from cnnspec.ops.base import Op, Shape, spatial
from cnnspec.ops.conv_transpose import ConvTranspose
from cnnspec.ops.norm import SampleNorm
from cnnspec.ops.reduce import Mean
from cnnspec.ops.reshape import Permute, Reshape
from cnnspec.ops.resize import PixelShuffle, PixelUnshuffle, Upsample

Number = int | Fraction


@dataclass(frozen=True, slots=True)
class Step:
    """Element i along an axis reads the elements from low + i * jump to high + i * jump.

    The bounds are rational: what is read are the whole numbers between them. With a jump of 0 all
    elements read the same.
    """

    low: Number
    high: Number
    jump: Number


SAME = Step(0, 0, 1)
"""Element i reads element i."""


@singledispatch
def steps(op: Op, shape: Shape, output: Shape) -> tuple[Step, ...] | None:
    """A step for each spatial axis, in inference.

    Args:
        op: the layer's; one that neither states a window nor reads all of space has to keep every
            axis, or to be registered here.
        shape: of the input.
        output: the shape of the output.

    Returns:
        None where the axes of the output are not those of the input.
    """
    space, after = spatial(shape), spatial(output)
    if op.whole:
        return tuple(Step(0, n - 1, 0) for n in space)
    window = op.window(shape)
    if window is not None:
        axes = zip(window.extent, window.stride, window.pads, strict=True)
        return tuple(Step(-before, extent - 1 - before, s) for extent, s, (before, _) in axes)
    if len(after) != len(space):
        return None
    found = tuple(_kept(n, o) for n, o in zip(space, after, strict=True))
    return None if None in found else tuple(step for step in found if step is not None)


def _kept(size: int, output: int) -> Step | None:
    """An axis that stays, or one of size 1 that is read everywhere."""
    if size == output:
        return SAME
    return Step(0, 0, 0) if size == 1 else None


@steps.register
def _(op: AdaptivePool, shape: Shape, output: Shape) -> tuple[Step, ...] | None:
    """From floor(i n / o) to ceil((i + 1) n / o) - 1, by lines through the steps of both."""
    found = []
    for n, count in zip(spatial(shape), spatial(output), strict=True):
        jump = Fraction(n, count)
        rest = 1 - Fraction(1, jump.denominator)  # the most that rounding takes away
        found.append(Step(-rest, jump - 1 + rest, jump))
    return tuple(found)


@steps.register
def _(op: Mean, shape: Shape, output: Shape) -> tuple[Step, ...] | None:
    """All of the axes that the mean is taken over."""
    return _all_of(op.positions(shape), shape)


@steps.register
def _(op: SampleNorm, shape: Shape, output: Shape) -> tuple[Step, ...] | None:
    """All of the axes that its mean and variance are taken over."""
    view, axes = op.sets(shape)
    more = len(view) - len(shape)  # groups split the channels, in front of space
    return _all_of(tuple(axis - more for axis in axes), shape)


def _all_of(axes: tuple[int, ...], shape: Shape) -> tuple[Step, ...]:
    """Everything along these axes of a shape, element i along the others."""
    return tuple(
        Step(0, n - 1, 0) if axis in axes else SAME
        for axis, n in enumerate(spatial(shape), start=1)
    )


@steps.register(Permute)
@steps.register(Reshape)
def _(op: Op, shape: Shape, output: Shape) -> tuple[Step, ...] | None:
    kept = op.axes == tuple(range(len(shape))) if isinstance(op, Permute) else shape == output
    return tuple(SAME for _ in spatial(shape)) if kept else None


@steps.register
def _(op: ConvTranspose, shape: Shape, output: Shape) -> tuple[Step, ...]:
    # Input j adds to the outputs j * stride - crop + q, q from 0 to extent - 1.
    window = op.transposed_window(shape)
    axes = zip(window.extent, window.stride, window.crops, strict=True)
    return tuple(
        Step(Fraction(lo - extent + 1, s), Fraction(lo, s), Fraction(1, s))
        for extent, s, (lo, _) in axes
    )


@steps.register
def _(op: PixelShuffle, shape: Shape, output: Shape) -> tuple[Step, ...]:
    return tuple(_floor(0, Fraction(1, op.factor), op.factor) for _ in spatial(shape))


@steps.register
def _(op: PixelUnshuffle, shape: Shape, output: Shape) -> tuple[Step, ...]:
    return tuple(Step(0, op.factor - 1, op.factor) for _ in spatial(shape))


@steps.register
def _(op: Upsample, shape: Shape, output: Shape) -> tuple[Step, ...]:
    sizes = zip(spatial(shape), spatial(output), strict=True)
    return tuple(_resized(op, n, o) for n, o in sizes)


def _resized(op: Upsample, n: int, o: int) -> Step:
    jump = Fraction(n, o)
    if op.family == "nearest":  # floor(i * n / o)
        return _floor(0, jump, jump.denominator)
    if op.family == "nearest_exact":  # floor((i + 0.5) * n / o)
        return _floor(jump / 2, jump, 2 * jump.denominator)
    if op.align_corners:
        jump = Fraction(n - 1, o - 1) if o > 1 else Fraction(0)
        middle, grid = Fraction(0), jump.denominator
    else:
        middle, grid = jump / 2 - Fraction(1, 2), 2 * jump.denominator
    # The elements less than 1 (2 for the cubic) away from a position that is on this grid.
    reach = (2 if op.family == "cubic" else 1) - Fraction(1, grid)
    return Step(middle - reach, middle + reach, jump)


def _floor(first: Number, jump: Number, grid: int) -> Step:
    """Element i reads floor(first + i * jump), a multiple of 1 / grid before it is rounded."""
    return Step(first - 1 + Fraction(1, grid), first, jump)
