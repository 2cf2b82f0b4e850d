"""Where each node stands in emitted text, and which live object computes it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

from cnnspec.backends.base import Place, Range
from cnnspec.backends.groups import Group, Groups
from cnnspec.backends.parts import first_owner, relative
from cnnspec.graph import Absent, Node, Scope
from cnnspec.ops.base import Op


def places(groups: Groups, ranges: Mapping[str, Range]) -> dict[str, Place]:
    """The place of every node.

    Args:
        groups: the classes of the file.
        ranges: of every mark: `CLASS#part` for the expression of a node in a forward pass,
            `CLASS#part:0` for its inputs, `CLASS#part.0` for a constructor inside a container.
    """
    return dict(_Walk(groups, ranges).member(groups.root.members[0], groups.root, ""))


class _Walk:
    def __init__(self, groups: Groups, ranges: Mapping[str, Range]) -> None:
        self.groups = groups
        self.ranges = ranges

    def member(self, scope: Scope, group: Group, live: str) -> Iterator[tuple[str, Place]]:
        """The nodes of one instance of a class, `live` the path of its object."""
        for position, child in enumerate(self.groups.children(scope)):
            key = f"{group.id}#{position}"
            if isinstance(child, Absent):
                continue
            if isinstance(child, Node):
                yield child.id, self.expression(child, key, scope.path, live)
            elif child.kind == "split":
                for part, node in enumerate(child.nodes()):
                    place = self.expression(node, key, scope.path, live)
                    yield node.id, replace(place, part=part)
            else:
                yield from self.inner(child, key, scope, live, scope.path)

    def expression(self, node: Node[Op], key: str, instance: str, live: str) -> Place:
        """Of a node that is written in a forward pass."""
        marks = (f"{key}:{index}" for index in range(len(node.inputs)))
        inputs = tuple(self.ranges[name] for name in marks if name in self.ranges)
        return Place(self.ranges[key], inputs, None, instance, live)

    def inner(
        self, child: Scope, key: str, around: Scope, live: str, instance: str
    ) -> Iterator[tuple[str, Place]]:
        """What one scope inside another holds."""
        if child.kind == "instances":
            path = live
        elif child.owner is None:
            path = _joined(live, relative(child.path, around))
        else:
            path = first_owner(child).path
        if child.kind == "block":
            yield from self.member(child, self.groups.of[child.path], path)
            return
        looped = child.kind in ("repeat", "instances")
        for position, entry in enumerate(self.groups.children(child)):
            if isinstance(entry, Absent):
                continue
            own = key if looped else f"{key}.{position}"
            if isinstance(entry, Node) and not self.groups.held:
                yield entry.id, self.expression(entry, own, instance, instance)
            elif isinstance(entry, Node):
                module = _joined(path, relative(entry.id, child))
                yield entry.id, Place(self.range(own), (), module)
            else:
                yield from self.inner(entry, own, child, path, instance)

    def range(self, key: str) -> Range:
        """Of this constructor, or of the loop around it."""
        while key not in self.ranges:
            key, dot, _ = key.rpartition(".")
            assert dot, f"no text for {key}"
        return self.ranges[key]


def _joined(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name
