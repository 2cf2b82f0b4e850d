"""Augmentation of one sample: a function of seed, epoch and the sample's number alone."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from cnnspec.augmentation import (
    Augmentation,
    Brightness,
    ChannelShift,
    Contrast,
    Crop,
    Cutout,
    Fill,
    Geometric,
    Mixup,
)
from cnnspec.data.draws import uniforms
from cnnspec.data.geometry import central, combined, cropped, per_axis, resampled
from cnnspec.data.preparation import apply
from cnnspec.data_section import Interpolation
from cnnspec.ops.base import Shape

__all__ = ["Augmenter"]

Doubles = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Augmenter:
    """The steps of a section over samples of these shapes.

    Every step draws the same number of numbers each time, one after the other in the order of the
    list, so that what one step is given changes nothing for those after it.

    Attributes:
        steps: by input, in order, `normalize` with its numbers; random ones are the same for all.
        shapes: of a sample of each input, as it is stored.
        moved: the inputs that random steps act on: those with axes of space, or all.
        fill: beyond the border.
        interpolation: between pixels.
        seed: of the network.
    """

    steps: Mapping[str, tuple[Augmentation, ...]]
    shapes: Mapping[str, Shape]
    moved: tuple[str, ...]
    fill: Fill
    interpolation: Interpolation
    seed: int

    @property
    def mixup(self) -> Mixup | None:
        """The last step, where it mixes."""
        last = self._list[-1] if self._list else None
        return last if isinstance(last, Mixup) else None

    @property
    def random(self) -> bool:
        """Whether there is anything to draw."""
        return any(self._count(step) for step in self._list)

    @property
    def _list(self) -> tuple[Augmentation, ...]:
        return next(iter(self.steps.values()))

    def plain(self, name: str, x: Doubles, *, first: int = 0) -> Doubles:
        """Samples (n, channels, *space) with all that is the same for each of them.

        Args:
            name: of the input.
            x: values.
            first: the number of the first step that is still to be done.
        """
        for step in self.steps[name][first:]:
            if isinstance(step, Crop):
                if name in self.moved:
                    x = central(x, step, self.fill, x.ndim - 2)
            else:
                x = apply(step, x, axis=1)
        return x

    def partner(self, epoch: int, number: int, count: int) -> tuple[int, float]:
        """The sample that this one is mixed with, and its own share.

        Args:
            epoch: counted from 0.
            number: of the sample.
            count: samples of the half.
        """
        assert self.mixup is not None
        from scipy import special

        which, share = self._drawn(epoch, number)[-1]
        alpha = self.mixup.alpha
        return math.floor(which * count), float(special.betaincinv(alpha, alpha, share))

    def one(self, values: Mapping[str, Doubles], epoch: int, number: int) -> dict[str, Doubles]:
        """One sample, by input (channels, *space), with everything but the mixing.

        Args:
            values: as they are before the first step.
            epoch: counted from 0.
            number: of the sample.
        """
        drawn = self._drawn(epoch, number)
        return {name: self._input(name, x, drawn) for name, x in values.items()}

    def _input(self, name: str, x: Doubles, drawn: list[Doubles]) -> Doubles:
        steps, axes = self.steps[name], x.ndim - 1
        if name not in self.moved:
            for step in steps:
                x = apply(step, x, axis=0)
            return x
        position = 0
        while position < len(steps):
            step = steps[position]
            numbers = drawn[position][-axes:] if axes else drawn[position]
            position += 1
            match step:
                case Geometric():
                    first = position - 1
                    while position < len(steps) and isinstance(steps[position], Geometric):
                        position += 1
                    given = [each[-axes:] for each in drawn[first:position]]
                    matrix = combined(steps[first:position], given, x.shape[1:])
                    x = resampled(x, matrix, self.fill, self.interpolation)
                case Crop():
                    x = cropped(x, step, numbers, self.fill)
                case ChannelShift():
                    shifts = step.by * (2 * drawn[position - 1][: len(x)] - 1)
                    x = x + shifts.reshape(-1, *(1,) * axes)
                case Brightness():
                    x = x * (1 + step.by * (2 * drawn[position - 1][0] - 1))
                case Contrast():
                    factor = 1 + step.by * (2 * drawn[position - 1][0] - 1)
                    # Not mean + factor * (x - mean), which a factor of 1 would round.
                    x = factor * x + (1 - factor) * x.mean()
                case Cutout():
                    x = _cut(x, step, drawn[position - 1])
                case _:
                    x = apply(step, x, axis=0)
        return x

    def _drawn(self, epoch: int, number: int) -> list[Doubles]:
        """The numbers of each step, in [0, 1)."""
        counts = [self._count(step) for step in self._list]
        words = uniforms(f"{self.seed}/augment/{epoch}/{number}", sum(counts))
        ends = np.cumsum(counts)
        return [words[end - count : end] for count, end in zip(counts, ends, strict=True)]

    def _count(self, step: Augmentation) -> int:
        axes = max(len(self.shapes[name]) - 1 for name in self.moved)
        match step:
            case Geometric() | Crop():
                return axes
            case ChannelShift():
                return max(self.shapes[name][0] for name in self.moved)
            case Brightness() | Contrast():
                return 1
            case Cutout():
                return step.count * axes
            case Mixup():
                return 2
            case _:
                return 0


def _cut(x: Doubles, step: Cutout, drawn: Doubles) -> Doubles:
    """Windows about pixels that the numbers choose, cut off at the borders."""
    axes = x.ndim - 1
    sizes = per_axis(step.size, axes)
    x = x.copy()
    for numbers in drawn.reshape(step.count, -1):
        places: list[slice] = [slice(None)]
        for number, n, size in zip(numbers[-axes:], x.shape[1:], sizes, strict=True):
            start = math.floor(number * n) - size // 2
            places.append(slice(max(start, 0), max(start + size, 0)))
        x[tuple(places)] = step.value
    return x
