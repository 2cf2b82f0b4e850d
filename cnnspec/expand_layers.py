"""The scopes of a graph as layers of a spec without parameters, and the blocks that they need."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace

from cnnspec.graph import Node, Scope, Value
from cnnspec.names import MOST_CHARACTERS
from cnnspec.ops import lookup
from cnnspec.ops.base import Op, Shape
from cnnspec.ops.slicing import SplitPart
from cnnspec.schema_layers import SEQUENCE
from cnnspec.treatment import treatment_of

Child = Node[Op] | Scope
Fields = tuple[tuple[str, object], ...]


@dataclass(frozen=True, slots=True)
class Entry:
    """A layer to be written; entries are equal if they mean the same, whatever their shapes."""

    key: str
    fields: Fields = ()
    layers: tuple[Entry, ...] = ()
    shape: Shape | None = field(default=None, compare=False)

    @property
    def sources(self) -> tuple[str, ...]:
        """What it reads, as far as it says so."""
        found = dict(self.fields).get("from", ())
        if isinstance(found, str):
            return (found,)
        assert isinstance(found, tuple)
        return found

    def with_fields(self, **more: object) -> Entry:
        """The same with these in front of its own fields."""
        return replace(self, fields=(*more.items(), *self.fields))


NOTHING = Entry("relu", (("when", False),))
"""Stands in a scope in which everything has been taken out; it is no layer itself."""


@dataclass(frozen=True, slots=True)
class Body:
    """A block to be written; its outputs are None where they are the last layer."""

    inputs: tuple[str, ...]
    outputs: str | Fields | None
    layers: tuple[Entry, ...]


@dataclass(slots=True)
class Entries:
    """Collects the blocks that the layers of a graph need.

    Attributes:
        blocks: each with its name, the inner ones first.
    """

    blocks: dict[Body, str] = field(default_factory=dict)
    _names: dict[Scope, str] = field(default_factory=dict)

    def of(self, scope: Scope) -> tuple[Entry, ...]:
        """The layers of a scope."""
        return self._layers(scope, names_of(scope))

    def _layers(self, scope: Scope, names: Mapping[str, str]) -> tuple[Entry, ...]:
        found: list[Entry] = []
        above = scope.inputs[0][1] if len(scope.inputs) == 1 else None
        for child in _flat(scope):
            entry = self._entry(child, names)
            more: dict[str, object] = {} if child.name.isdigit() else {"name": child.name}
            inputs = child.inputs if isinstance(child, Node) else tuple(v for _, v in child.inputs)
            if inputs != (above,):
                read = tuple(names[value.id] for value in inputs)
                more["from"] = read[0] if len(read) == 1 else read
            found.append(entry.with_fields(**more))
            above = value_of(child)
        return tuple(found)

    def _entry(self, child: Child, names: Mapping[str, str]) -> Entry:
        """A layer without its name and wires."""
        shape = value_of(child).shape
        if isinstance(child, Node):
            fields: dict[str, object] = {}
            if child.owner is not None and child.owner.id in names:
                fields["share"] = names[child.owner.id]
            fields |= {name: v for name, v in child.op.fields().items() if v is not None}
            fields |= treatment_of(child)
            return Entry(child.op.key, tuple(fields.items()), shape=shape)
        if child.kind == "split":
            return Entry("split", _split(child), shape=shape)
        if child.kind == "block":
            fields = {}
            # Where a block around both shares, its instances have the same layers anyway.
            if child.owner is not None and names.get(f"scope {child.owner.path}"):
                fields["share"] = names[f"scope {child.owner.path}"]
            return Entry(self._block(child), tuple(fields.items()), shape=shape)
        if child.kind == "repeat":
            instances = [self._entry(part, names) for part in child.children]
            if all(instance == instances[0] for instance in instances):
                (number,) = child.arguments
                return replace(instances[0], shape=shape).with_fields(repeat=number.value)
        return Entry(SEQUENCE, (), self.of(child) or (NOTHING,), shape)

    def _block(self, scope: Scope) -> str:
        """The name of the block that a scope is an instance of; a new one where it is not alike."""
        if scope.owner is not None:
            return self._names[scope.owner]
        names = names_of(scope)
        layers = self._layers(scope, names)
        taken = {child.name for child in _flat(scope)}
        inputs = {value.id for _, value in scope.inputs}
        named: list[tuple[str, object]] = []
        for position, (output, value) in enumerate(scope.outputs):
            name = names[value.id]
            if value.id in inputs:  # everything in between was taken out
                passed = _free_name(f"passed{position + 1}", taken)
                layers = (*layers, NOTHING.with_fields(name=passed, **{"from": name}))
                name = passed
            named.append((output, name))
        read = {name for entry in layers for name in entry.sources}
        for position, (name, _) in enumerate(scope.inputs):
            if len(scope.inputs) > 1 and name not in read:  # what would read it was taken out
                unread = _free_name(f"unread{position + 1}", taken)
                layers = (NOTHING.with_fields(name=unread, **{"from": name}), *layers)
        outputs: str | Fields | None = tuple(named)
        if [name for name, _ in named] == ["output"]:
            last = value_of(scope.children[-1]) if scope.children else None
            outputs = None if last is scope.outputs[0][1] else str(named[0][1])
        body = Body(tuple(name for name, _ in scope.inputs), outputs, layers)
        if body not in self.blocks:
            self.blocks[body] = self._free(scope.block or "block")
        self._names[scope] = self.blocks[body]
        return self.blocks[body]

    def _free(self, name: str) -> str:
        taken = set(self.blocks.values())
        found, number = name, 1
        while found in taken or lookup(found) is not None or found == SEQUENCE:
            number += 1
            found = f"{name[: MOST_CHARACTERS - len(str(number))]}{number}"
        return found


def value_of(child: Child) -> Value:
    """The value of a layer."""
    return child.outputs[0][1] if isinstance(child, Scope) else child


def names_of(scope: Scope) -> dict[str, str]:
    """What the values that a layer of this scope can read are called in it, by id.

    A scope whose parameters can be shared goes by `scope` and its path.
    """
    several = len(scope.inputs) > 1
    names: dict[str, str] = {}
    for name, value in scope.inputs:
        names.setdefault(value.id, name if several else "input")
    for child in _flat(scope):
        if isinstance(child, Node):
            names[child.id] = child.name
            continue
        names[f"scope {child.path}"] = child.name
        # A value from above keeps the name that it has: layers above this one may read it.
        if child.kind != "split":
            names.setdefault(value_of(child).id, child.name)
        for output, value in child.outputs:
            names.setdefault(value.id, f"{child.name}.{output}")
    return names


def _flat(scope: Scope) -> list[Child]:
    """The children of a scope; instances with names of their own are among them."""
    found: list[Child] = []
    for child in scope.children:
        if isinstance(child, Scope) and child.kind == "instances":
            found += child.children
        else:
            found.append(child)
    return found


def _free_name(name: str, taken: Collection[str]) -> str:
    while name in taken:
        name += "_"
    return name


def _split(scope: Scope) -> Fields:
    parts = [child.op for child in scope.children if isinstance(child, Node)]
    sizes = [part.stop - part.start for part in parts if isinstance(part, SplitPart)]
    first = parts[0]
    if isinstance(first, SplitPart) and first.into is not None:
        return (("into", first.into),)
    return (("sizes", tuple(sizes)),)
