"""A network as a list of layers, with what their names and wires depend on."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from cnnspec.graph import Graph, Node, Scope, Value
from cnnspec.ops.base import Op

COUNTED = "#"
"""Stands for a number in a name that depends on the layers above."""


ABOVE = "^"
"""The layer before this one; to the first layer of a scope, what is before the scope."""

Wires = tuple[str | None, ...]


@dataclass(frozen=True, slots=True)
class Entry:
    """A layer in its place.

    Attributes:
        node: the layer.
        pattern: its full name, every position and ordinal in it replaced.
        fixed: whether its name depends on no other layer.
        wires: for each of its inputs how it is reached without a name: `ABOVE`, or as what the
            scope of this pattern has above it; None for one that was named.
        scopes: the scopes around it with their patterns, from the network inwards.
    """

    node: Node[Op]
    pattern: str
    fixed: bool
    wires: Wires
    scopes: tuple[tuple[Scope, str], ...]


@dataclass(frozen=True, slots=True)
class _Place:
    """Where the walk is: a scope, and what its children inherit from it."""

    scope: Scope
    pattern: str
    fixed: bool
    wires: Wires  # of the scope's own inputs
    counts: bool  # whether the names of its children are positions
    scopes: tuple[tuple[Scope, str], ...]


@dataclass(slots=True)
class Outline:
    """The layers of a network in order, and the place of each by its id."""

    graph: Graph
    entries: list[Entry] = field(default_factory=list)

    def __post_init__(self) -> None:
        root = self.graph.root
        # Several inputs go by their names.
        wires = (ABOVE,) if len(root.inputs) == 1 else ()
        stack: list[_Place | Entry] = [_Place(root, "", True, wires, False, ((root, ""),))]
        while stack:
            place = stack.pop()
            if isinstance(place, Entry):
                self.entries.append(place)
            else:
                stack.extend(reversed(_children(place)))

    def last(self) -> Value:
        """What the network's output is by default."""
        child = self.graph.root.children[-1]
        return child.outputs[0][1] if isinstance(child, Scope) else child


def _children(place: _Place) -> list[_Place | Entry]:
    scope = place.scope
    known: dict[str, str | None] = {
        value.id: place.pattern if wire == ABOVE else wire
        for (_, value), wire in zip(scope.inputs, place.wires, strict=False)
    }
    above = scope.inputs[0][1] if place.wires == (ABOVE,) else None
    found: list[_Place | Entry] = []
    for child in scope.children:
        inputs = child.inputs if isinstance(child, Node) else tuple(v for _, v in child.inputs)
        wires = tuple(ABOVE if value is above else known.get(value.id) for value in inputs)
        transparent = isinstance(child, Scope) and child.path == scope.path
        pattern, fixed = place.pattern, place.fixed
        if not transparent:
            counted = _counted(child, place.counts)
            name = re.sub(r"\d+$", COUNTED, child.name) if counted else child.name
            pattern = f"{pattern}.{name}" if pattern else name
            fixed = fixed and (not counted or _named(child))
        if isinstance(child, Node):
            found.append(Entry(child, pattern, fixed, wires, place.scopes))
        else:
            positions = child.kind == "sequence" or (
                child.kind == "instances" and child.named is None and place.counts
            )
            scopes = (*place.scopes, (child, pattern))
            found.append(_Place(child, pattern, fixed, wires, positions, scopes))
        if scope.kind != "split":
            above = child.outputs[0][1] if isinstance(child, Scope) else child
    return found


def _counted(child: Node[Op] | Scope, positions: bool) -> bool:
    """Whether the name looks like a position or an ordinal: whoever wrote `conv1` counted too."""
    if positions and child.name.isdigit():
        return True
    return any(re.fullmatch(rf"{re.escape(key)}\d+", child.name) for key in _keys(child))


def _keys(child: Node[Op] | Scope) -> set[str]:
    """The words that an ordinal may have been added to."""
    if isinstance(child, Node):
        return {child.op.key}
    keys = {child.kind} if child.block is None else {child.block}
    if child.kind in ("repeat", "instances") and child.children:
        first = child.children[0]
        keys.add(first.op.key if isinstance(first, Node) else first.block or first.kind)
    return keys


def _named(child: Node[Op] | Scope) -> bool:
    """Whether the name was written; without a file that cannot be told, and nobody counted it."""
    origin = child.origin
    return origin is not None and "name" in origin.fields


def by_id(outline: Outline) -> Mapping[str, Entry]:
    """Every layer by its full name."""
    return {entry.node.id: entry for entry in outline.entries}
