"""Which part of the input an element of each layer sees, in inference, along every path.

An element at position i of an axis sees the elements from start + i * jump to start + i * jump +
size - 1 of the input's axis. Padding counts, so the range may reach beyond the input.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from cnnspec.graph import Graph, Node, Value
from cnnspec.ops.base import Op, Shape, spatial
from cnnspec.window import Window


@dataclass(frozen=True, slots=True)
class Reach:
    """What elements along one axis see of the same axis of an input.

    Attributes:
        size: elements from the first to the last one seen, padding included.
        jump: how far it moves from one element to the next; 0 where all see the same.
        start: the first element that element 0 sees, negative in the padding.
    """

    size: int
    jump: int
    start: int

    def inside(self, length: int) -> int:
        """How many of the elements that element 0 sees are no padding of an input this long."""
        return max(0, min(self.start + self.size, length) - max(self.start, 0))


Reaches = tuple[Reach | None, ...]
"""One for each spatial axis of the input; None where branches that moved differently have met."""


def receptive_fields(graph: Graph) -> dict[str, dict[str, Reaches]]:
    """For the id of every value, and the name of every input with space that it depends on."""
    found: dict[str, dict[str, Reaches]] = {}
    for entry in graph.inputs:
        axes = tuple(Reach(1, 1, 0) for _ in spatial(entry.shape))
        found[entry.id] = {entry.name: axes} if axes else {}
    for node in graph.nodes:
        found[node.id] = _through(node, found)
    return found


def _through(node: Node[Op], found: Mapping[str, Mapping[str, Reaches]]) -> dict[str, Reaches]:
    merged: dict[str, Reaches] = {}
    for value in node.inputs:
        for name, axes in found[value.id].items():
            after = _after(node.op, value, axes)
            merged[name] = _union(merged[name], after) if name in merged else after
    return merged


def _after(op: Op, value: Value, axes: Reaches) -> Reaches:
    """What the output sees through one input of an op."""
    space = spatial(value.shape)
    if not space:
        return axes
    if op.whole:
        return tuple(_all(reach, n) for reach, n in zip(axes, space, strict=True))
    window = op.window(value.shape)
    if window is None:
        return axes
    return tuple(_slide(reach, window, axis) for axis, reach in enumerate(axes))


def _all(reach: Reach | None, length: int) -> Reach | None:
    if reach is None:
        return None
    return Reach(reach.size + (length - 1) * reach.jump, 0, reach.start)


def _slide(reach: Reach | None, window: Window, axis: int) -> Reach | None:
    if reach is None:
        return None
    return Reach(
        size=reach.size + (window.extent[axis] - 1) * reach.jump,
        jump=reach.jump * window.stride[axis],
        start=reach.start - window.pads[axis][0] * reach.jump,
    )


def _union(one: Reaches, other: Reaches) -> Reaches:
    return tuple(_join(a, b) for a, b in zip(one, other, strict=True))


def _join(one: Reach | None, other: Reach | None) -> Reach | None:
    if one is None or other is None or one.jump != other.jump:
        return None
    start = min(one.start, other.start)
    end = max(one.start + one.size, other.start + other.size)
    return Reach(end - start, one.jump, start)


def describe(fields: Mapping[str, Reaches], shapes: Mapping[str, Shape]) -> Iterable[str]:
    """One line for each input that a value depends on.

    Args:
        fields: of the value.
        shapes: of the inputs, by name.
    """
    for name, axes in fields.items():
        if any(reach is None for reach in axes):
            yield f"of `{name}`: differs from place to place, as branches of unequal strides meet"
            continue
        reaches = [reach for reach in axes if reach is not None]
        size = "x".join(str(reach.size) for reach in reaches)
        line = f"{size} of `{name}`"
        if all(reach.jump == 0 for reach in reaches):
            line += ", the same for every element"
        else:
            line += f", moving by {_each(r.jump for r in reaches)}"
        if any(reach.start for reach in reaches):
            line += f", the first from {_each(r.start for r in reaches)}"
        lengths = spatial(shapes[name])
        inside = [reach.inside(n) for reach, n in zip(reaches, lengths, strict=True)]
        if any(i < reach.size for i, reach in zip(inside, reaches, strict=True)):
            line += f" ({'x'.join(map(str, inside))} of it without the padding)"
        yield line


def _each(numbers: Iterable[int]) -> str:
    numbers = list(numbers)
    return str(numbers[0]) if len(set(numbers)) == 1 else "x".join(map(str, numbers))
