"""Moving pixels: one matrix for neighbouring steps, and windows of whole pixels."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from cnnspec.augmentation import (
    Augmentation,
    Constant,
    Crop,
    Fill,
    Flip,
    Nearest,
    Rotate,
    Shear,
    Shift,
    Wrap,
    Zoom,
)
from cnnspec.data_section import Interpolation

__all__ = [
    "AXES",
    "central",
    "combined",
    "cropped",
    "padding_of",
    "per_axis",
    "resampled",
    "window",
    "window_of",
]

Doubles = npt.NDArray[np.float64]
Whole = npt.NDArray[np.int64]

AXES = ("depth", "height", "width")
"""Names of the axes of space; data of fewer have the last ones."""

ORDERS: dict[Interpolation, int] = {"nearest": 0, "linear": 1, "cubic": 3}
MODES = {
    "constant": "grid-constant",
    "nearest": "nearest",
    "reflect": "reflect",
    "wrap": "grid-wrap",
}


def combined(
    steps: Sequence[Augmentation], drawn: Sequence[Doubles], space: tuple[int, ...]
) -> Doubles:
    """One matrix for steps that follow each other, the first of which acts first.

    It takes a place in the result to the place in the sample that is seen there, both with a 1
    behind their coordinates, in pixels from the first one.

    Args:
        steps: geometric ones.
        drawn: the numbers of each, one for each axis.
        space: sizes of the sample.
    """
    axes = len(space)
    found = np.eye(axes + 1)
    for step, numbers in zip(steps, drawn, strict=True):
        found = found @ _inverse(step, numbers, space)
    center = (np.array(space) - 1) / 2
    # Exact where nothing moves: the centre is a multiple of a half.
    found[:axes, axes] += center - found[:axes, :axes] @ center
    return found


def _inverse(step: Augmentation, drawn: Doubles, space: tuple[int, ...]) -> Doubles:
    """From a place in the result to that in the sample, from the centre."""
    axes = len(space)
    found = np.eye(axes + 1)
    row, column = axes - 2, axes - 1
    match step:
        case Rotate():
            angle = math.radians(step.degrees) * (2 * drawn[-1] - 1)
            # Against the clock for positive angles; rows count downwards.
            found[row, row] = found[column, column] = math.cos(angle)
            found[row, column] = math.sin(angle)
            found[column, row] = -math.sin(angle)
        case Shift():
            for axis, name in enumerate(AXES[-axes:]):
                found[axis, axes] = -_distance(getattr(step, name), drawn[axis], space[axis])
        case Shear():
            found[column, row] = -math.tan(math.radians(step.degrees) * (2 * drawn[-1] - 1))
        case Zoom():
            low, high = step.range
            for axis in range(axes):
                number = drawn[-1] if step.keep_aspect else drawn[axis]
                found[axis, axis] = 1 / (low + number * (high - low))
        case Flip():
            flags = (step.depth, step.vertical, step.horizontal)[-axes:]
            for axis, flag in enumerate(flags):
                if flag and drawn[axis] < step.p:
                    found[axis, axis] = -1.0
        case _:
            raise TypeError(f"{step.key} moves nothing")
    return found


def _distance(extent: int | float, number: float, size: int) -> float:
    if isinstance(extent, int):
        return float(math.floor(number * (2 * extent + 1)) - extent)
    return extent * size * (2 * number - 1)


def resampled(x: Doubles, matrix: Doubles, fill: Fill, interpolation: Interpolation) -> Doubles:
    """A sample (channels, *space) seen through a matrix of `combined`.

    Where every pixel lands on a pixel, as with flips and shifts by whole pixels, none is changed.
    """
    axes = x.ndim - 1
    linear, offset = matrix[:axes, :axes], matrix[:axes, axes]
    signs = np.diag(linear)
    if (linear == np.diag(signs)).all() and (np.abs(signs) == 1).all() and _whole(offset):
        places = [
            np.int64(start) + np.int64(sign) * np.arange(size)
            for start, sign, size in zip(offset, signs, x.shape[1:], strict=True)
        ]
        return window(x, places, fill)
    from scipy import ndimage

    found = np.empty_like(x)
    value = fill.value if isinstance(fill, Constant) else 0.0
    for channel in range(len(x)):
        ndimage.affine_transform(
            x[channel],
            linear,
            offset,
            output=found[channel],
            order=ORDERS[interpolation],
            mode=MODES[fill.key],
            cval=value,
        )
    return found


def _whole(offset: Doubles) -> bool:
    return bool((offset == np.rint(offset)).all())


def window(x: Doubles, places: Sequence[Whole], fill: Fill) -> Doubles:
    """The pixels at these places along each of the last axes; any place may be outside."""
    first = x.ndim - len(places)
    for axis, along in enumerate(places, start=first):
        size = x.shape[axis]
        outside = (along < 0) | (along >= size)
        if not outside.any():
            if along.size == size and (along == np.arange(size)).all():
                continue
            x = np.take(x, along, axis=axis)
            continue
        if isinstance(fill, Wrap):
            along = along % size  # noqa: PLW2901 - the same places, inside now
        elif not isinstance(fill, Constant | Nearest):
            along = along % (2 * size)  # noqa: PLW2901
            along = np.where(along < size, along, 2 * size - 1 - along)  # noqa: PLW2901
        x = np.take(x, np.clip(along, 0, size - 1), axis=axis)
        if isinstance(fill, Constant):
            x[(slice(None),) * axis + (outside,)] = fill.value
    return x


def per_axis(value: int | tuple[int, ...], axes: int) -> tuple[int, ...]:
    """A number for each axis."""
    return (value,) * axes if isinstance(value, int) else value


def padding_of(step: Crop, axes: int) -> tuple[int, ...]:
    """Of each axis, at both sides."""
    return per_axis(step.padding, axes)


def window_of(step: Crop, space: tuple[int, ...]) -> tuple[int, ...]:
    """The sizes of what a crop leaves."""
    return space if step.size is None else per_axis(step.size, len(space))


def cropped(x: Doubles, step: Crop, drawn: Doubles, fill: Fill) -> Doubles:
    """A window of a sample at a place that the numbers choose."""
    space = x.shape[1:]
    sizes, pads = window_of(step, space), padding_of(step, len(space))
    places = [
        math.floor(number * (n + 2 * pad - size + 1)) - pad + np.arange(size)
        for number, n, pad, size in zip(drawn, space, pads, sizes, strict=True)
    ]
    return window(x, places, fill)


def central(x: Doubles, step: Crop, fill: Fill, axes: int) -> Doubles:
    """The window in the middle, of the last axes of any array."""
    space = x.shape[x.ndim - axes :]
    sizes = window_of(step, space)
    places = [(n - size) // 2 + np.arange(size) for n, size in zip(space, sizes, strict=True)]
    return window(x, places, fill)
