"""Which part of the input an element of each layer sees, in inference, along every path.

Along one axis an element sees an interval of the input's axis; padding counts, so it may reach
beyond the input. The intervals of a value repeat: so many elements further on they are the same,
moved by a constant. Layers compose them, and where branches meet they are united. Only where
branches of unequal strides meet nothing repeats; from there on two lines enclose them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from math import ceil, floor, gcd, lcm

from cnnspec.graph import Graph, Node, Value
from cnnspec.ops.base import Op, Shape, spatial
from cnnspec.receptive_steps import SAME, Number, Step, steps

MOST_INTERVALS = 4096
"""More different ones along an axis are enclosed by lines."""


@dataclass(frozen=True, slots=True)
class Reach:
    """What elements along one axis see of the same axis of an input.

    Attributes:
        size: elements from the first to the last one seen, padding included, by the element that
            sees most.
        jump: how far it moves from one element to the next: 0 where all see the same, behind
            upsampling a fraction, or the mean of unequal moves; None where branches of unequal
            strides have met.
        start: the first element that element 0 sees, negative in the padding.
    """

    size: int
    jump: Number | None
    start: int

    def inside(self, length: int) -> int:
        """How many of the elements that element 0 sees are no padding of an input this long."""
        return max(0, min(self.start + self.size, length) - max(self.start, 0))

    def whole(self, length: int) -> bool:
        """Whether every element sees all of an input this long."""
        return self.jump == 0 and self.start <= 0 and self.start + self.size >= length


Reaches = tuple[Reach | None, ...]
"""One for each spatial axis of the input; None where axes have been mixed, as by a reshape."""


Interval = tuple[Number, Number]
"""The first and the last element."""


@dataclass(frozen=True, slots=True)
class _Repeating:
    """Element i + k * period sees the interval of element i, moved by k * shift."""

    intervals: tuple[tuple[int, int], ...]  # of the first period
    shift: int

    @property
    def jump(self) -> Fraction:
        return Fraction(self.shift, len(self.intervals))

    def at(self, i: int) -> tuple[int, int]:
        turns, rest = divmod(i, len(self.intervals))
        low, high = self.intervals[rest]
        return low + turns * self.shift, high + turns * self.shift

    def through(self, step: Step) -> _Repeating | _Lines:
        """What the output of a layer sees, whose input sees this."""
        if step == SAME:
            return self
        jump = step.jump
        turns = len(self.intervals) // gcd(len(self.intervals), jump.numerator)
        period = turns * jump.denominator
        if period > MOST_INTERVALS:
            return self.lines().through(step)
        found = []
        for i in range(period):
            first, last = ceil(step.low + i * jump), floor(step.high + i * jump)
            found.append((self.at(first)[0], self.at(last)[1]))
        return _shortest(found, self.shift * turns * jump.numerator // len(self.intervals))

    def lines(self) -> _Lines:
        """Lines around all intervals."""
        jump = self.jump
        return _Lines(
            min(low - i * jump for i, (low, _) in enumerate(self.intervals)),
            max(high - i * jump for i, (_, high) in enumerate(self.intervals)),
            jump,
            jump,
        )

    def reach(self, positions: int) -> Reach:
        """As people state it, for an axis of so many positions."""
        size = max(high - low for low, high in self.intervals[:positions]) + 1
        jump = self.jump
        start = self.intervals[0][0]
        return Reach(size, jump.numerator if jump.denominator == 1 else jump, start)


def _shortest(intervals: list[tuple[int, int]], shift: int) -> _Repeating:
    """The same with the least period."""
    count = len(intervals)
    for period in range(1, count // 2 + 1):
        if count % period or shift * period % count:
            continue
        move = shift * period // count
        if all(
            (low + move, high + move) == after
            for (low, high), after in zip(intervals, intervals[period:], strict=False)
        ):
            return _Repeating(tuple(intervals[:period]), move)
    return _Repeating(tuple(intervals), shift)


@dataclass(frozen=True, slots=True)
class _Lines:
    """Element i sees elements from low + i * low_jump to high + i * high_jump, or fewer."""

    low: Number
    high: Number
    low_jump: Number
    high_jump: Number

    def at(self, i: int) -> Interval:
        return self.low + i * self.low_jump, self.high + i * self.high_jump

    def through(self, step: Step) -> _Lines | _Repeating:
        """What the output of a layer sees, whose input sees this."""
        low = self.low + step.low * self.low_jump
        high = self.high + step.high * self.high_jump
        if step.jump == 0:
            return _Repeating(((ceil(low), floor(high)),), 0)
        return _Lines(low, high, self.low_jump * step.jump, self.high_jump * step.jump)

    def lines(self) -> _Lines:
        return self

    def reach(self, positions: int) -> Reach:
        """As people state it; the most is seen at one of the ends."""
        ends = [self.at(i) for i in (0, positions - 1)]
        sizes = (floor(high) - ceil(low) + 1 for low, high in ends)
        return Reach(max(sizes), None, ceil(self.low))


_Track = _Repeating | _Lines
_Axes = tuple[_Track | None, ...]


def _everywhere(track: _Track | None) -> bool:
    """Whether all elements see the same."""
    return isinstance(track, _Repeating) and track.shift == 0 and len(track.intervals) == 1


def receptive_fields(graph: Graph) -> dict[str, dict[str, Reaches]]:
    """For the id of every value, and the name of every input with space that it depends on."""
    lengths = {entry.name: spatial(entry.shape) for entry in graph.inputs}
    found: dict[str, dict[str, _Axes]] = {}
    for entry in graph.inputs:
        axes = tuple(_Repeating(((0, 0),), 1) for _ in lengths[entry.name])
        found[entry.id] = {entry.name: axes} if axes else {}
    values: list[Value] = [*graph.inputs, *graph.nodes]
    for node in graph.nodes:
        found[node.id] = _through(node, found, lengths)
    return {
        value.id: {name: _told(axes, value.shape) for name, axes in found[value.id].items()}
        for value in values
    }


def _told(axes: _Axes, shape: Shape) -> Reaches:
    space = spatial(shape)
    # Where the value has other axes than the input, all its elements see the same.
    positions = space if len(space) == len(axes) else (1,) * len(axes)
    return tuple(
        None if track is None else track.reach(n) for track, n in zip(axes, positions, strict=True)
    )


def _through(
    node: Node[Op],
    found: Mapping[str, Mapping[str, _Axes]],
    lengths: Mapping[str, Shape],
) -> dict[str, _Axes]:
    merged: dict[str, _Axes] = {}
    for value in node.inputs:
        if not found[value.id]:
            continue
        taken = steps(node.op, value.shape, node.shape)
        for name, axes in found[value.id].items():
            after = _after(taken, axes)
            if name in merged:
                after = _union(merged[name], after, node.shape, lengths[name])
            merged[name] = after
    return merged


def _after(taken: tuple[Step, ...] | None, axes: _Axes) -> _Axes:
    """What the output sees through one input of an op."""
    if taken is not None and len(taken) == len(axes):
        pairs = zip(axes, taken, strict=True)
        return tuple(None if track is None else track.through(step) for track, step in pairs)
    # What sees the same everywhere does so however it is arranged.
    return tuple(track if _everywhere(track) else None for track in axes)


def _union(one: _Axes, other: _Axes, shape: Shape, lengths: Shape) -> _Axes:
    space = spatial(shape)
    positions = space if len(space) == len(lengths) else (1,) * len(lengths)
    joined = []
    for a, b, count, length in zip(one, other, positions, lengths, strict=True):
        joined.append(None if a is None or b is None else _join(a, b, count, length))
    return tuple(joined)


def _join(one: _Track, other: _Track, positions: int, length: int) -> _Track:
    """The union; where the strides are unequal, lines through its ends, which enclose it."""
    for each in (one, other):  # beside one that sees everything, the padding is of no interest
        if _everywhere(each) and each.at(0)[0] <= 0 and each.at(0)[1] >= length - 1:
            return _hull(one, other, positions)
    if isinstance(one, _Repeating) and isinstance(other, _Repeating) and one.jump == other.jump:
        period = lcm(len(one.intervals), len(other.intervals))
        if period <= MOST_INTERVALS:
            found = [_united(one.at(i), other.at(i)) for i in range(period)]
            return _shortest(found, int(one.jump * period))
    if positions == 1:  # a single element never moves
        return _hull(one, other, 1)
    for inner, outer in ((one, other), (other, one)):
        if positions <= MOST_INTERVALS and _within(inner, outer, positions):
            return outer
    last = positions - 1
    low, high = _ends(one, other, 0)
    low_end, high_end = _ends(one, other, last)
    return _Lines(low, high, Fraction(low_end - low, last), Fraction(high_end - high, last))


def _united(a: tuple[int, int], b: tuple[int, int]) -> tuple[int, int]:
    return min(a[0], b[0]), max(a[1], b[1])


def _ends(one: _Track, other: _Track, i: int) -> Interval:
    """The union at one position, of the lines around both."""
    a, b = one.lines().at(i), other.lines().at(i)
    return min(a[0], b[0]), max(a[1], b[1])


def _hull(one: _Track, other: _Track, positions: int) -> _Repeating:
    ends = [_ends(one, other, i) for i in (0, positions - 1)]
    interval = ceil(min(low for low, _ in ends)), floor(max(high for _, high in ends))
    return _Repeating((interval,), 0)


def _within(inner: _Track, outer: _Track, positions: int) -> bool:
    pairs = ((inner.at(i), outer.at(i)) for i in range(positions))
    return all(b[0] <= a[0] and a[1] <= b[1] for a, b in pairs)


def describe(fields: Mapping[str, Reaches], shapes: Mapping[str, Shape]) -> Iterable[str]:
    """One line for each input that a value depends on.

    Args:
        fields: of the value.
        shapes: of the inputs, by name.
    """
    for name, axes in fields.items():
        reaches = [reach for reach in axes if reach is not None]
        if len(reaches) < len(axes):
            yield f"of `{name}`: not an interval, as a layer has rearranged its axes"
            continue
        size = "x".join(str(reach.size) for reach in reaches)
        if any(reach.jump is None for reach in reaches):
            yield (
                f"up to {size} of `{name}`; it differs from place to place, as branches of "
                "unequal strides meet"
            )
            continue
        line = f"{size} of `{name}`"
        if all(reach.jump == 0 for reach in reaches):
            line += ", the same for every element"
        else:
            line += f", moving by {_each(str(reach.jump) for reach in reaches)}"
        if any(reach.start for reach in reaches):
            line += f", the first from {_each(str(reach.start) for reach in reaches)}"
        lengths = spatial(shapes[name])
        inside = [reach.inside(n) for reach, n in zip(reaches, lengths, strict=True)]
        if any(i < reach.size for i, reach in zip(inside, reaches, strict=True)):
            line += f" ({'x'.join(map(str, inside))} of it without the padding)"
        yield line


def _each(numbers: Iterable[str]) -> str:
    numbers = list(numbers)
    return numbers[0] if len(set(numbers)) == 1 else "x".join(numbers)
