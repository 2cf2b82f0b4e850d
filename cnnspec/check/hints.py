"""Patterns in two answers that differ, each stated only where every element bears it out.

They are for a reader, to find a mistake sooner. Nothing is ever judged by them.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

MOST_ELEMENTS = 1 << 22
"""Of larger tensors no pattern is looked for: sorting them takes seconds."""
FEWEST = 4
"""Elements from which on equal ratios, or equal values in another order, are no coincidence."""
STEADY = 1e-3
"""How far ratios may differ, as a part of the factor's own distance from 1."""
WIDEST = 3
"""Rows or columns at a border that are told apart from the middle."""


@dataclass(frozen=True, slots=True)
class Setting:
    """What is known about a tensor.

    Attributes:
        backends: whose answers they are.
        axes: a word for each axis: `sample`, `channel`, `height`.
        space: which of them are space.
        counts: numbers of values that a mean or a variance may have been taken over.
        before: the tensor before the update that is compared, where there was one.
    """

    backends: tuple[str, str]
    axes: tuple[str, ...]
    space: tuple[int, ...] = ()
    counts: Collection[int] = ()
    before: Array | None = None


def hints(a: Array, b: Array, limit: Array, setting: Setting) -> tuple[str, ...]:
    """What can be said for certain, the most telling first.

    Args:
        a: the first answer.
        b: the second, of the same shape.
        limit: how far two elements may lie apart, of the same shape.
        setting: what they are.
    """
    if not FEWEST <= a.size <= MOST_ELEMENTS:
        return ()
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    with np.errstate(invalid="ignore"):
        wrong = ~(np.abs(a - b) <= limit)
    found = list(_whole(a, b, limit, wrong, setting))
    return (*found[:1], *_place(wrong, setting))


def _whole(a: Array, b: Array, limit: Array, wrong: Array, setting: Setting) -> Iterator[str]:
    """Patterns that all elements follow."""
    one, two = setting.backends
    for name, value, other in ((two, b, a), (one, a, b)):
        if np.all(np.isnan(value)):
            yield f"every element of {name}'s is NaN"
        elif not np.any(value) and np.any(other):
            yield f"every element of {name}'s is zero"
    if not (np.all(np.isfinite(a)) and np.all(np.isfinite(b))):
        return
    where = "in every element" if wrong.all() else "in every wrong element"
    yield from _factor(a[wrong], b[wrong], setting, where)
    if setting.before is not None and setting.before.shape == a.shape:
        before = setting.before[wrong]
        yield from _factor(a[wrong] - before, b[wrong] - before, setting, where, "the change in ")
    yield from _order(a, b, float(limit.max()), setting)
    difference = b - a
    shift = float(np.median(difference))
    if shift and np.all(np.abs(difference - shift) <= 2 * limit + STEADY * abs(shift)):
        yield f"{two}'s is {one}'s {'+' if shift > 0 else '-'} {abs(shift):.6g} in every element"


def _factor(a: Array, b: Array, setting: Setting, where: str, what: str = "") -> Iterator[str]:
    """A constant ratio, and the one of a biased to an unbiased variance by name."""
    one, two = setting.backends
    nonzero = a != 0
    if nonzero.sum() < FEWEST or np.any(b[~nonzero]):
        return
    ratio = b[nonzero] / a[nonzero]
    if not np.all(np.isfinite(ratio)):
        return
    # The largest elements know it best.
    factor = float(ratio[np.argmax(np.abs(a[nonzero]))])
    if not factor or np.ptp(ratio) > STEADY * abs(factor - 1):
        return
    text = f"{what}{two}'s is {factor:.10g} times {one}'s {where}"
    for n in sorted(n for n in setting.counts if n > 1):
        for power, word in ((1, ""), (0.5, "the root of ")):
            for sign, fraction in ((1, f"{n}/{n - 1}"), (-1, f"{n - 1}/{n}")):
                known = (n / (n - 1)) ** (sign * power)
                if abs(factor - known) <= STEADY * abs(known - 1):
                    yield (
                        f"{text}: {word}{fraction}, as between a biased and an unbiased variance "
                        f"of {n} values"
                    )
                    return
    yield text


def _order(a: Array, b: Array, close: float, setting: Setting) -> Iterator[str]:
    """The same values elsewhere: axes swapped, turned round, shifted, or mixed up in any way."""
    one, two = setting.backends
    if len(np.unique(a)) < FEWEST or np.max(np.abs(np.sort(a, None) - np.sort(b, None))) > close:
        return
    name = f"{two}'s values are those of {one}"

    def same(other: Array) -> bool:
        return bool(np.max(np.abs(other.reshape(a.shape) - b)) <= close)

    names = setting.axes
    for i, j in sorted(
        itertools.combinations(range(a.ndim), 2),
        key=lambda pair: pair[0] not in setting.space,
    ):
        if min(a.shape[i], a.shape[j]) > 1 and same(np.swapaxes(a, i, j)):
            yield f"{name} with {names[i]} and {names[j]} swapped"
            return
    if len(setting.space) > 1 and same(np.flip(a, setting.space)):
        yield f"{name} turned round along all axes of space, as by a flipped kernel"
        return
    for axis in range(a.ndim):
        if a.shape[axis] > 1 and same(np.flip(a, axis)):
            yield f"{name} turned round along {names[axis]}"
            return
        for step in (1, -1):
            if a.shape[axis] > 2 and same(np.roll(a, step, axis)):
                yield f"{name} shifted by one along {names[axis]}"
                return
    yield f"{name} in another order"


# --- places --------------------------------------------------------------------------------------


def _place(wrong: Array, setting: Setting) -> Iterator[str]:
    """Where wrong elements lie, if that is in one place only."""
    if wrong.ndim != len(setting.axes) or wrong.sum() < 2 or wrong.all():
        return
    alike = []
    for axis, name in enumerate(setting.axes):
        others = tuple(i for i in range(wrong.ndim) if i != axis)
        where = np.flatnonzero(wrong.any(axis=others))
        size = wrong.shape[axis]
        if size > 1 and len(where) == 1:
            alike.append(f"{name} {where[0]} of {size}{_end(int(where[0]), size)}")
    if alike:
        yield f"wrong only in {' and '.join(alike)}"
        return
    border = _border(wrong, setting)
    if border:
        yield f"wrong only at the border: {border}"


def _end(index: int, size: int) -> str:
    return {0: " (the first)", size - 1: " (the last)"}.get(index, "")


def _border(wrong: Array, setting: Setting) -> str:
    """The sides of space that hold all wrong elements, in words; empty if the middle has some."""
    for width in range(1, WIDEST + 1):
        sides = [
            (axis, last)
            for axis in setting.space
            for last in (True, False)
            if wrong.shape[axis] > 2 * width
        ]
        if not sides or wrong[_without(wrong, sides, width)].any():
            continue
        needed: Sequence[tuple[int, bool]] = sides
        for side in reversed(sides):  # the last row stays where the first would do as well
            fewer = [each for each in needed if each != side]
            if not wrong[_without(wrong, fewer, width)].any():
                needed = fewer
        rows = "of" if width == 1 else f"{width} of"
        words = (
            f"{'the last' if last else 'the first'} {rows} {wrong.shape[axis]} along "
            f"{setting.axes[axis]}"
            for axis, last in needed
        )
        return ", ".join(words)
    return ""


def _without(wrong: Array, sides: Sequence[tuple[int, bool]], width: int) -> tuple[slice, ...]:
    """Everything but these sides."""
    return tuple(
        slice(
            width if (axis, False) in sides else 0,
            wrong.shape[axis] - (width if (axis, True) in sides else 0),
        )
        for axis in range(wrong.ndim)
    )


def counts_of(shape: Sequence[int]) -> set[int]:
    """Numbers of values of a batch of this shape that a variance is taken over."""
    if len(shape) < 2:
        return set()
    samples, channels, *space = shape
    area = math.prod(space)
    return {samples * area, area, channels * area, channels} - {1}
