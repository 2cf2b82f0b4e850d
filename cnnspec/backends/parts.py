"""What a class consists of: its children in order, and the statement of each."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from cnnspec.backends.symbols import View
from cnnspec.backends.unify import Mismatch
from cnnspec.backends.writer import Code, Writer
from cnnspec.graph import Absent, Node, Scope, Value
from cnnspec.ops.base import Op
from cnnspec.ops.merge import Concat

Child = Node[Op] | Scope | Absent

Spread = Callable[[Scope, Scope], bool]


def children(scope: Scope, spread: Spread) -> list[Child]:
    """What a scope has in order, with what a `when:` has taken out.

    Args:
        scope: of a block, a sequence, a repeat or the network.
        spread: (child, scope) -> whether the child's own children stand in its place.
    """
    found: list[Child] = []
    absent = list(scope.absent)
    for position, child in enumerate(scope.children):
        while absent and absent[0].position <= position:
            found.append(absent.pop(0))
        if isinstance(child, Scope) and spread(child, scope):
            found.extend(children(child, spread))
        else:
            found.append(child)
    return [*found, *absent]


def spread_named(child: Scope, scope: Scope) -> bool:
    """For classes: named instances are layers like others.

    Unless the block has nothing else, when the class is a container that makes them in a loop.
    """
    return child.kind == "instances" and scope.kind != "sequence" and not sole(scope)


def sole(scope: Scope) -> bool:
    """Whether a block is nothing but one repeated layer, whose instances have names.

    It has one input and gives one value, that of the last instance, as a container does.
    """
    if scope.kind != "block" or len(scope.children) != 1 or scope.absent:
        return False
    (child,) = scope.children
    if not isinstance(child, Scope) or child.kind != "instances":
        return False
    if len(scope.inputs) != 1 or len(scope.outputs) != 1:
        return False
    return scope.outputs[0][1].id == child.outputs[0][1].id


@dataclass(frozen=True, slots=True)
class Part:
    """A statement of a class: one child of the scope, in every instance.

    Attributes:
        name: of its attribute.
        children: one for each instance; `Absent` where it is taken out.
        reads: keys of its inputs.
        values: keys of its values; the first is its own.
        labels: a name for each of them.
        owner: the name of the part whose parameters it shares.
    """

    name: str
    children: tuple[Child, ...]
    reads: tuple[str, ...]
    values: tuple[str, ...]
    labels: tuple[str, ...]
    owner: str | None = None

    @property
    def child(self) -> Node[Op] | Scope:
        """The first instance's, or the first that there is."""
        return next(c for c in self.children if not isinstance(c, Absent))

    @property
    def merges(self) -> bool:
        """Whether it has several inputs, and is taken out in some instances.

        There its value is that of its first input, and the others are not read.
        """
        return len(self.reads) > 1 and any(isinstance(c, Absent) for c in self.children)

    @property
    def splits(self) -> bool:
        """Whether one call gives all parts of a `split`."""
        return isinstance(self.child, Scope) and self.child.kind == "split"

    @property
    def joins(self) -> bool:
        """Whether its inputs stand side by side: not a main path and its shortcut."""
        node = self.child
        return isinstance(node, Node) and (isinstance(node.op, Concat) or len(self.reads) > 2)

    @property
    def titled(self) -> bool:
        """Whether its name says more than what it computes, as `relu1` does not."""
        node = self.child
        if isinstance(node, Scope) or node.params:
            return True
        return re.fullmatch(rf"{node.op.key}\d+", self.name) is None

    @property
    def key(self) -> str:
        """Of its value."""
        return self.values[0]


def relative(path: str, around: Scope) -> str:
    """A path as seen from inside a scope."""
    return path.removeprefix(f"{around.path}.") if around.path else path


def empty(child: Child) -> bool:
    """Whether nothing is left of a scope, so that its values are its inputs."""
    return isinstance(child, Scope) and next(child.nodes(), None) is None


def first_owner(scope: Scope) -> Scope:
    """The scope whose layers are used in the end, where one shares with one that shares."""
    while scope.owner is not None:
        scope = scope.owner
    return scope


def owner_of(child: Child, around: Scope) -> str | None:
    """The name of the layer of the same scope whose parameters a child shares.

    None also where the scope is shared as a whole, and its layers with it.
    """
    if isinstance(child, Absent) or child.owner is None:
        return None
    path = child.owner.id if isinstance(child.owner, Node) else first_owner(child.owner).path
    inside = not around.path or path.startswith(f"{around.path}.")
    return relative(path, around) if inside else None


def own_name(child: Child, around: Scope) -> str | None:
    """A child's name in its scope; None for what has no level of its own."""
    if isinstance(child, Absent):
        return child.name
    if isinstance(child, Node):
        return relative(child.id, around)
    return None if child.kind == "instances" else relative(child.path, around)


def part_of(
    position: int,
    column: tuple[Child, ...],
    scopes: Sequence[Scope],
    known: list[dict[str, list[str]]],
) -> Part:
    """The statement of one child.

    Args:
        position: of the child in its scope.
        column: the child in every instance.
        scopes: the instances.
        known: for each, what each value id is called so far; the child's values are added.

    Raises:
        Mismatch: no one set of inputs is right in all instances.
    """
    key = f"#{position}"
    count = max(len(_reads(c)) for c in column if not isinstance(c, Absent))
    reads = common([_reads(child, count) for child in column], known)
    pairs = zip(column, scopes, strict=True)
    child, around = next((c, s) for c, s in pairs if not isinstance(c, Absent))
    extra: list[str] = []
    for c in column:
        if isinstance(c, Scope):
            extra = [name for name, _ in c.outputs[1:]]
    name = own_name(child, around)
    if name is None:
        assert isinstance(child, Scope)
        last = child.children[-1]
        name = relative(last.id if isinstance(last, Node) else last.path, around)
    owner = owner_of(child, around)
    for c, aliases in zip(column, known, strict=True):
        for value, alias in _made_by(c, key):
            aliases.setdefault(value.id, []).append(alias)
    split = isinstance(child, Scope) and child.kind == "split"
    return Part(
        name=name,
        children=column,
        reads=reads,
        values=(key, *(f"{key}.{other}" for other in extra)),
        labels=(f"{name}_0" if split else name, *(f"{name}_{other}" for other in extra)),
        owner=owner,
    )


def condition(children: Sequence[Child], view: View, name: str) -> Code | None:
    """Source that says which instances have a child; None where all have it.

    Raises:
        Mismatch: no `when:` says it for all of them.
    """
    values = [not isinstance(child, Absent) for child in children]
    if all(values):
        return None
    for text in dict.fromkeys(c.when for c in children if c.when is not None):
        found = view.condition(text, values)
        if found is not None:
            return found
    raise Mismatch(name)


def assign(
    writer: Writer,
    target: str,
    reads: Sequence[str],
    statement: str,
    there: Code | None,
) -> None:
    """A statement; where it is not there, the variable that it makes has what it reads first.

    Args:
        writer: inside a function.
        target: the variable.
        reads: the variables that the statement reads.
        statement: the whole of it.
        there: source of the condition, None where it always holds.
    """
    if there is None:
        writer.line(statement)
        return
    source, *others = reads
    before = target != source and target not in others
    if before:
        writer.line(f"{target} = {source}")
    with writer.indented(f"if {there}:"):
        writer.line(statement)
    if target != source and not before:
        with writer.indented("else:"):
            writer.line(f"{target} = {source}")


def _reads(child: Child, count: int = 1) -> tuple[Value | None, ...]:
    """The inputs of a child; what is taken out reads the first of so many."""
    if isinstance(child, Absent):
        return (child.value, *(None,) * (count - 1))
    if isinstance(child, Node):
        return child.inputs
    return tuple(value for _, value in child.inputs)


def _made_by(child: Child, key: str) -> Iterable[tuple[Value, str]]:
    if isinstance(child, Absent):
        return [(child.value, key)]
    if isinstance(child, Node):
        return [(child, key)]
    (_, main), *others = child.outputs
    return [(main, key), *((value, f"{key}.{name}") for name, value in others)]


def common(
    values: Sequence[tuple[Value | None, ...]], known: Sequence[dict[str, list[str]]]
) -> tuple[str, ...]:
    """For each input the key that means the right value in every instance, the latest one.

    None stands for what an instance does not read; one of them reads it.
    """
    if len({len(entry) for entry in values}) > 1:
        raise Mismatch("inputs")
    found = []
    for place in range(len(values[0])):
        lists = [
            aliases.get(value.id, [])
            for entry, aliases in zip(values, known, strict=True)
            if (value := entry[place]) is not None
        ]
        fitting = [key for key in lists[0] if all(key in others for others in lists[1:])]
        if not fitting:
            raise Mismatch("inputs")
        found.append(fitting[-1])
    return tuple(found)
