"""A graph without some of its layers; positions in sequences are counted again."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection

from cnnspec.graph import Absent, Graph, Node, Scope, Value
from cnnspec.ops.base import Op

NUMBERED = ("repeat", "instances", "split")
"""Kinds of scopes whose children are counted, so that none can be missing."""

Renew = Callable[[Node[Op], tuple[Value, ...], str], Node[Op]]


def without(
    graph: Graph, stay: Collection[str], stands: Callable[[Value], Value], renew: Renew
) -> Graph:
    """The graph of some of the layers of another.

    Scopes of which nothing is left go as well, but for instances that are counted. Where a `when:`
    says whether a layer is there, one that goes is one that it has taken out: instances of a block
    stay alike.

    Args:
        graph: the original, whose outputs can be had of these layers.
        stay: ids of the layers that stay.
        stands: what stands for a value that may have gone; itself where nothing does.
        renew: (layer, its new inputs, its new id) -> the new layer; shared ones get their owner
            afterwards.
    """
    made = _Without(stay, stands, renew)
    made.values.update((entry.id, entry) for entry in graph.inputs)
    root = made.scope(graph.root, "")
    outputs = []
    for output in graph.outputs:
        value = made.value(output.value)
        assert value is not None, output.name
        outputs.append(dataclasses.replace(output, value=value))
    built = dataclasses.replace(graph, outputs=tuple(outputs), root=root)
    built.verify()
    return built


class _Without:
    """New values by their old ids, and new scopes by the old ones."""

    def __init__(
        self, stay: Collection[str], stands: Callable[[Value], Value], renew: Renew
    ) -> None:
        self.stay = stay
        self.stands = stands
        self.renew = renew
        self.values: dict[str, Value] = {}
        self.scopes: dict[Scope, Scope] = {}

    def value(self, value: Value) -> Value | None:
        """What stands for an old value; None where nothing needs it any more."""
        return self.values.get(self.stands(value).id)

    def scope(self, scope: Scope, path: str, first: int = 0) -> Scope:
        """A scope without what goes, under another path; `first` is its first position."""
        children: list[Node[Op] | Scope] = []
        absent: list[Absent] = []
        position = first
        for child in _in_order(scope):
            # Positions count every layer that is there, one with a name as well.
            counted = scope.kind in ("sequence", "instances") and child.name.isdigit()
            name = str(position) if counted else child.name
            made: Node[Op] | Scope | Absent | None
            if isinstance(child, Absent):
                made = child
            elif isinstance(child, Scope) and scope.kind in NUMBERED:
                made = self.scope(child, f"{path}.{name}" if path else name)
            else:
                made = self._child(child, path, name, position)
            if isinstance(made, Absent):
                value = self.value(made.value)
                if value is not None:
                    place = len(children)
                    absent.append(dataclasses.replace(made, name=name, value=value, position=place))
            elif made is not None:
                children.append(made)
                count = 1
                if isinstance(made, Scope) and made.kind == "instances":
                    count = len(made.children)
                position += count
        renewed = dataclasses.replace(
            scope,
            path=path,
            inputs=self._named(scope.inputs),
            outputs=self._named(scope.outputs),
            children=tuple(children),
            owner=None if scope.owner is None else self.scopes.get(scope.owner),
            absent=tuple(absent),
        )
        self.scopes[scope] = renewed
        return renewed

    def _child(
        self, child: Node[Op] | Scope, path: str, name: str, position: int
    ) -> Node[Op] | Scope | Absent | None:
        if isinstance(child, Scope):
            if not self._is_left(child):
                key = child.block or child.kind
                return _absent(child, key, child.outputs[0][1])
            if child.kind == "instances":
                return self.scope(child, path, position)
            return self.scope(child, f"{path}.{name}" if path else name)
        if child.id not in self.stay:
            return _absent(child, child.op.key, child)
        inputs = tuple(self.value(value) for value in child.inputs)
        node = self.renew(child, _present(inputs), f"{path}.{name}" if path else name)
        if child.owner is not None:
            owner = self.values[child.owner.id]
            assert isinstance(owner, Node)
            node = dataclasses.replace(node, owner=owner)
        self.values[child.id] = node
        return node

    def _is_left(self, scope: Scope) -> bool:
        return any(node.id in self.stay for node in scope.nodes())

    def _named(self, pairs: tuple[tuple[str, Value], ...]) -> tuple[tuple[str, Value], ...]:
        found = ((name, self.value(value)) for name, value in pairs)
        return tuple((name, value) for name, value in found if value is not None)


def _absent(child: Node[Op] | Scope, key: str, value: Value) -> Absent | None:
    return None if child.when is None else Absent(child.name, key, child.when, value, 0)


def _present(values: tuple[Value | None, ...]) -> tuple[Value, ...]:
    return tuple(value for value in values if value is not None)


def _in_order(scope: Scope) -> list[Node[Op] | Scope | Absent]:
    """Children, and between them what a `when:` has taken out."""
    found: list[Node[Op] | Scope | Absent] = []
    absent = list(scope.absent)
    for position, child in enumerate(scope.children):
        while absent and absent[0].position <= position:
            found.append(absent.pop(0))
        found.append(child)
    return [*found, *absent]


__all__ = ["NUMBERED", "without"]
