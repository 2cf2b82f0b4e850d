"""What a comparison finds, as data."""

from __future__ import annotations

from dataclasses import dataclass

from cnnspec.graph import Node
from cnnspec.ops.base import Op, Shape
from cnnspec.summary import Counts


@dataclass(frozen=True, slots=True)
class Change:
    """A value before and after, spelled as in a spec; None where there is none."""

    field: str
    before: str | None
    after: str | None


@dataclass(frozen=True, slots=True)
class LayerDiff:
    """One layer in both networks, or in one of them.

    Attributes:
        before: its node in the first network, None for a layer that was added.
        after: its node in the second one, None for a layer that was removed.
        changes: the fields that differ, and `name`, `op`, `from`, `share` and `trainable`. A name
            that only counts (a position, `relu2`) is no difference by itself.
        because: the path of the block instance whose changed arguments explain all of `changes`.
        within: the path of the outermost block, repeat or sequence that was added or removed
            whole, with this layer in it.
    """

    before: Node[Op] | None
    after: Node[Op] | None
    changes: tuple[Change, ...] = ()
    because: str | None = None
    within: str | None = None

    @property
    def node(self) -> Node[Op]:
        """The layer, as it is in the second network if it is there."""
        node = self.before if self.after is None else self.after
        assert node is not None
        return node

    @property
    def kind(self) -> str:
        """`added`, `removed`, `changed`, `affected` (only its shapes differ), or `equal`."""
        if self.before is None:
            return "added"
        if self.after is None:
            return "removed"
        if self.changes:
            return "changed"
        return "affected" if shapes(self.before) != shapes(self.after) else "equal"

    @property
    def moved(self) -> bool:
        """Whether its name counts, and counts differently now; so do its parameters' names."""
        if self.before is None or self.after is None or self.before.id == self.after.id:
            return False
        return not any(change.field == "name" for change in self.changes)


@dataclass(frozen=True, slots=True)
class ScopeDiff:
    """A block instance or a repeat with other arguments; the network (path `""`) with its own."""

    path: str
    block: str
    changes: tuple[Change, ...]


@dataclass(frozen=True, slots=True)
class Side:
    """One of the two networks: its name, its number of layers, and its counts."""

    name: str
    layers: int
    counts: Counts


@dataclass(frozen=True, slots=True)
class Diff:
    """What differs between two networks; true if anything does.

    Attributes:
        before: the first network.
        after: the second one.
        settings: everything but layers: `name`, `input.*`, `output.*`, `train.*`, `seed`.
        scopes: blocks and repeats with other arguments.
        layers: every layer of both, in the order of the second network, removed ones where they
            were.
    """

    before: Side
    after: Side
    settings: tuple[Change, ...]
    scopes: tuple[ScopeDiff, ...]
    layers: tuple[LayerDiff, ...]

    def of(self, kind: str) -> tuple[LayerDiff, ...]:
        """The layers of this kind, in order."""
        return tuple(layer for layer in self.layers if layer.kind == kind)

    @property
    def moved(self) -> tuple[LayerDiff, ...]:
        """Layers whose name counts, and counts differently now."""
        return tuple(layer for layer in self.layers if layer.moved)

    def __bool__(self) -> bool:
        return bool(self.settings or self.scopes) or any(
            layer.kind != "equal" or layer.moved for layer in self.layers
        )


def shapes(node: Node[Op]) -> tuple[Shape, tuple[Shape, ...]]:
    """Of its output, and of its parameters."""
    return node.shape, tuple(param.shape for param in node.params)


def parameters(node: Node[Op]) -> int:
    """How many it owns, running statistics among them; 0 if it shares another's."""
    return sum(param.size for param in node.params) if node.owner is None else 0
