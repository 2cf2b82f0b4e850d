"""Which local variable holds which value: the running value is `x`, others go by a name.

A value may be `x` as long as nothing else becomes `x` before its last reader has read it.
"""

from __future__ import annotations

import builtins
import keyword
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from cnnspec.backends.branches import Statement, branches, label_of

RUNNING = "x"
UNREAD = "_"


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
    aside = {key: branch for branch in branches(body, returned) for key in branch.keys}
    running = [False] * len(body)
    following = len(body)  # index of the next statement that makes a new running value
    for index in reversed(range(len(body))):
        first = body[index].values[0]
        if first in aside:
            continue
        if last.get(first, len(body) + 1) <= following and not (
            index and body[index - 1].values[0] not in aside and _side(body, index, last, following)
        ):
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
            if key in local:
                continue
            if key in aside:
                name = names.take(plain(aside[key].label))
                local.update(dict.fromkeys(aside[key].keys, name))
                continue
            read = key in last or unread is None
            wanted = label_of(item, body) if key == item.values[0] else label
            local[key] = names.take(plain(wanted)) if read else unread or UNREAD
    return Plan(tuple(arguments), local)


def _side(body: Sequence[Statement], index: int, last: Mapping[str, int], following: int) -> bool:
    """Whether a statement is a shortcut, over which the value before it stays the running one.

    In `x = conv(x); shortcut = project(inputs); x = x + shortcut` it is the shortcut that gets a
    name, as the inputs have one already.
    """
    if any(not key.startswith("@") for key in body[index].reads):
        return False
    before = body[index - 1].values[0]
    return before not in body[index].reads and index < last.get(before, 0) <= following


def plain(name: str) -> str:
    """A path as one word that a variable may be called."""
    word = name.replace(".", "_")
    return word if not word[:1].isdigit() else f"layer{word}"
