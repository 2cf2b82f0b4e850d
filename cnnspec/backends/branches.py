"""Parallel branches, which go by names of their own until they are joined.

    branch1 = self.branch1(x)
    branch2 = self.reduce(x)
    branch2 = self.branch2(branch2)
    x = torch.cat([branch1, branch2], dim=1)

A value that is read elsewhere as well is no branch but a skip connection, and what joins it goes
on from the running value.
"""

from __future__ import annotations

import itertools
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol


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

    @property
    def joins(self) -> bool:
        """Whether its inputs stand side by side, as those of a concatenation do."""

    @property
    def splits(self) -> bool:
        """Whether its values stand side by side."""

    @property
    def titled(self) -> bool:
        """Whether its name says more than what it computes."""


@dataclass(frozen=True, slots=True)
class Branch:
    """Values of one branch that share a variable.

    Attributes:
        label: its name.
        keys: of the values, in order; each is read by the next statement of the branch alone.
    """

    label: str
    keys: tuple[str, ...]


def branches(body: Sequence[Statement], returned: Sequence[str]) -> list[Branch]:
    """The branches that meet in a statement, or in what is returned.

    Args:
        body: statements, in order.
        returned: the values that are read after the last statement.
    """
    counts = Counter(key for item in body for key in item.reads)
    counts.update(dict.fromkeys(returned, 1))
    made = {key: item for item in body for key in item.values}
    joined = [item.reads for item in body if item.joins]
    if len(set(returned)) > 1:
        joined.append(tuple(returned))
    found = [
        Branch(label, (key,))
        for item in body
        if item.splits
        for key, label in zip(item.values, item.labels, strict=True)
        if key in counts
    ]
    known = _Joined(body, made, counts)
    for reads in joined:
        ends = [key for key in reads if key in made and counts[key] == 1]
        if len(ends) > 1:
            found += known.branches(ends)
    return found


@dataclass(frozen=True)
class _Joined:
    """Finds the branches of each statement that joins some."""

    body: Sequence[Statement]
    made: dict[str, Statement]
    counts: Counter[str]

    @cached_property
    def beginnings(self) -> Counter[tuple[str, ...]]:
        """How many statements' names begin with these words."""
        named = (_words(item.name) for item in self.body)
        return Counter(tuple(words[:n]) for words in named for n in range(1, len(words) + 1))

    def branches(self, ends: Sequence[str]) -> list[Branch]:
        """Those that end in these values, and those that fork into them."""
        found: list[Branch] = []
        starts: dict[str, list[Statement]] = {}
        for end in ends:
            keys = [end, *_before(end, self.made, self.counts)][::-1]
            found.append(self._branch(keys, ()))
            for source in self.made[keys[0]].reads[:1]:
                starts.setdefault(source, []).extend(self.made[key] for key in keys)
        for source, inside in starts.items():
            first = [item for item in inside if source in item.reads]
            if source in self.made and 1 < len(first) == self.counts[source] < len(ends):
                keys = [source, *_before(source, self.made, self.counts)][::-1]
                found.append(self._branch(keys, inside))
        return found

    def _branch(self, keys: Sequence[str], inside: Sequence[Statement]) -> Branch:
        """One of them, `inside` the statements of those into which it forks."""
        end = keys[-1]
        last = self.made[end]
        if len(last.values) > 1:
            return Branch(last.labels[last.values.index(end)], (end,))
        parts = [self.made[key] for key in keys]
        title = self._title(parts, inside)
        if title is None:
            return Branch(label_of(last, self.body), (end,))
        return Branch(title, tuple(keys))

    def _title(self, parts: Sequence[Statement], inside: Sequence[Statement]) -> str | None:
        """A name for all parts: what theirs alone begin with, or the only one that has a name."""
        if len(parts) == 1:
            return None
        common = _words(parts[0].name)
        for part in parts[1:]:
            pairs = zip(common, _words(part.name), strict=False)
            common = [a for a, _ in itertools.takewhile(lambda pair: pair[0] == pair[1], pairs)]
        own = {item.name for item in (*parts, *inside)}
        beginning = sum(_words(name)[: len(common)] == common for name in own)
        if common and self.beginnings[tuple(common)] == beginning:
            return "_".join(common)
        titled = [part.name for part in parts if part.titled]
        return titled[0] if len(titled) == 1 else None


def _before(key: str, made: dict[str, Statement], counts: Counter[str]) -> Iterator[str]:
    """What leads to a value and nowhere else, backwards up to where the branch begins."""
    while len(made[key].reads) == 1:
        (key,) = made[key].reads
        if key not in made or counts[key] > 1 or len(made[key].values) > 1:
            return
        yield key


def _words(name: str) -> list[str]:
    return re.split(r"[._]", name)


def label_of(item: Statement, body: Sequence[Statement]) -> str:
    """The name of a statement's value; the last one of a sequence goes by the sequence's name."""
    sequence, _, position = item.name.rpartition(".")
    if not sequence or not position.isdigit():
        return item.labels[0]
    inside = [other for other in body if other.name.startswith(f"{sequence}.")]
    chained = all(b.reads == a.values for a, b in itertools.pairwise(inside))
    return sequence if item is inside[-1] and chained else item.labels[0]
