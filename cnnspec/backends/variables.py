"""Which local variable holds which value: the running value is `x`, others go by a name.

A value may be `x` as long as nothing else becomes `x` before its last reader has read it.
"""

from __future__ import annotations

import builtins
import keyword
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

RUNNING = "x"
UNREAD = "_"


class Statement(Protocol):
    """What reads values and makes others; values go by a key that is theirs within a scope."""

    @property
    def name(self) -> str:
        """The name of the attribute or layer."""

    @property
    def reads(self) -> tuple[str, ...]:
        """Keys of what goes in, in order."""

    @property
    def values(self) -> tuple[str, ...]:
        """Keys of what comes out; the first is its value."""

    @property
    def labels(self) -> tuple[str, ...]:
        """A name for each of `values`."""


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
    """Local names of a scope: of its inputs and of every value in it, by key."""

    arguments: tuple[str, ...]
    local: Mapping[str, str]

    def __getitem__(self, key: str) -> str:
        return self.local[key]


def plan(
    inputs: Sequence[tuple[str, str]],
    body: Sequence[Statement],
    returned: Sequence[str],
    names: Names,
    *,
    single: str = "inputs",
    unread: str | None = UNREAD,
) -> Plan:
    """Give every value of a scope a local name.

    Args:
        inputs: name and key of each argument.
        body: statements, in order.
        returned: the values that are read after the last statement.
        names: the names that are taken.
        single: name of a single argument that cannot be the running value.
        unread: name of further values that nothing reads; None gives them names of their own.
    """
    last: dict[str, int] = {}
    for index, item in enumerate(body):
        for key in item.reads:
            last[key] = index
    for key in returned:
        last[key] = len(body)
    running = [False] * len(body)
    following = len(body)  # index of the next statement that makes a new running value
    for index in reversed(range(len(body))):
        first = body[index].values[0]
        if last.get(first, len(body) + 1) <= following and not _aside(body, index, last, following):
            running[index] = True
            following = index
    local: dict[str, str] = {}
    arguments = []
    for name, key in inputs:
        if len(inputs) > 1:
            argument = names.take(name)
        elif last.get(key, 0) <= following:
            argument = RUNNING
        else:
            argument = names.take(single)
        arguments.append(argument)
        local[key] = argument
    for item, is_running in zip(body, running, strict=True):
        if is_running:
            local[item.values[0]] = RUNNING
        for key, label in zip(item.values, item.labels, strict=True):
            if key not in local:
                read = key in last or unread is None
                local[key] = names.take(plain(label)) if read else unread or UNREAD
    return Plan(tuple(arguments), local)


def _aside(body: Sequence[Statement], index: int, last: Mapping[str, int], following: int) -> bool:
    """Whether a statement is a side branch, over which the value before it stays the running one.

    In `x = conv(x); shortcut = project(inputs); x = x + shortcut` it is the shortcut that gets a
    name, as the inputs have one already.
    """
    if not index or any(not key.startswith("@") for key in body[index].reads):
        return False
    before = body[index - 1].values[0]
    return before not in body[index].reads and index < last.get(before, 0) <= following


def plain(name: str) -> str:
    """A path as one word that a variable may be called."""
    word = name.replace(".", "_")
    return word if not word[:1].isdigit() else f"layer{word}"
