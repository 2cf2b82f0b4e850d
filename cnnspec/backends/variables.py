"""Which local variable holds which value: the running value is `x`, others go by a name.

A value may be `x` as long as nothing else becomes `x` before its last reader has read it.
"""

from __future__ import annotations

import builtins
import keyword
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from cnnspec.graph import Node, Scope, Value
from cnnspec.ops.base import Op

RUNNING = "x"


@dataclass(frozen=True, slots=True)
class Item:
    """A statement of a scope's forward pass: a node, or a child scope that is called."""

    child: Node[Op] | Scope
    reads: tuple[Value, ...]
    value: Value

    @property
    def name(self) -> str:
        """The name of the attribute or layer."""
        return self.child.name


def items(scope: Scope) -> list[Item]:
    """The statements of a scope, in order."""
    found = []
    for child in scope.children:
        if isinstance(child, Scope):
            reads = tuple(value for _, value in child.inputs)
            found.append(Item(child, reads, child.outputs[0][1]))
        else:
            found.append(Item(child, child.inputs, child))
    return found


class Names:
    """Hands out local names that hide nothing."""

    def __init__(self, taken: Iterable[str]) -> None:
        self._taken = {RUNNING, *taken, *dir(builtins)}

    def take(self, wanted: str) -> str:
        """The wanted name, with underscores behind it where it is taken."""
        name = wanted
        while name in self._taken or keyword.iskeyword(name):
            name += "_"
        self._taken.add(name)
        return name


@dataclass(frozen=True, slots=True)
class Plan:
    """Local names of a scope: of its inputs and of every value in it, by id."""

    arguments: tuple[str, ...]
    local: Mapping[str, str]

    def __getitem__(self, value: Value) -> str:
        return self.local[value.id]


def plan(
    scope: Scope,
    body: Sequence[Item],
    returned: Sequence[Value],
    names: Names,
    *,
    single: str = "inputs",
) -> Plan:
    """Give every value of a scope a local name.

    Args:
        scope: whose inputs are the arguments.
        body: its statements, in order.
        returned: the values that are read after the last statement.
        names: the names that are taken.
        single: name of a single argument that cannot be the running value.
    """
    last: dict[str, int] = {}
    for index, item in enumerate(body):
        for value in item.reads:
            last[value.id] = index
    for value in returned:
        last[value.id] = len(body)
    running = [False] * len(body)
    following = len(body)  # index of the next statement that makes a new running value
    for index in reversed(range(len(body))):
        if last.get(body[index].value.id, index) <= following:
            running[index] = True
            following = index
    local: dict[str, str] = {}
    arguments = []
    for name, value in scope.inputs:
        if len(scope.inputs) > 1:
            argument = names.take(name)
        elif last.get(value.id, 0) <= following:
            argument = RUNNING
        else:
            argument = names.take(single)
        arguments.append(argument)
        local[value.id] = argument
    for item, is_running in zip(body, running, strict=True):
        local[item.value.id] = RUNNING if is_running else names.take(item.name)
    return Plan(tuple(arguments), local)
