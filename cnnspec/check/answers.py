"""Answers of several back ends to one question, taken from their processes a portion at a time."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any

import numpy.typing as npt

if TYPE_CHECKING:
    from cnnspec.check.run import Checker

Array = npt.NDArray[Any]
Part = Hashable

PORTION = 1 << 26
"""Bytes that are fetched of each answer at once; a single tensor may be larger."""


class Answers:
    """What back ends answer, by part: `("values", "conv1")` of a trace, a name of weights.

    An engine keeps its answer in its own process until it is taken; a part is taken once.
    """

    def __init__(self, checker: Checker, dtype: str, hold: str) -> None:
        self._checker = checker
        self._dtype = dtype
        self._hold = hold
        self._here: dict[str, Mapping[Part, Array]] = {}
        self._asked: list[str] = []
        self._coming: dict[str, Future[Any]] = {}

    def add(self, name: str, answer: Mapping[Part, Array]) -> None:
        """An answer that is in this process."""
        self._here[name] = answer

    def ask(self, calls: Mapping[str, tuple[str, tuple[Any, ...], dict[str, Any]]]) -> None:
        """Have engines answer, and keep it, while this process goes on.

        One that fails is reported and left out, as soon as somebody looks.
        """
        kept = {
            name: (method, args, {**kwargs, "hold": self._hold})
            for name, (method, args, kwargs) in calls.items()
        }
        self._coming |= self._checker.start(kept, self._dtype)

    def _names(self) -> list[str]:
        """Wait for all; whose answers there are, in the order of the report."""
        self._asked += list(self._checker.collect(self._coming))
        self._coming = {}
        asked = [name for name in self._asked if name not in self._checker.failed]
        order = self._checker.options.backends
        return sorted([*self._here, *asked], key=order.index)

    def each(self, parts: Mapping[Part, int]) -> Iterator[tuple[Part, dict[str, Array]]]:
        """Every part, with what each back end answers; while it is worked on, the next are fetched.

        Args:
            parts: in order, and the bytes of each.
        """
        portions = list(_portions(parts))
        names = self._names()
        coming = self._take(portions[0]) if portions else {}
        for number, portion in enumerate(portions):
            taken = self._checker.collect(coming)
            coming = self._take(portions[number + 1]) if number + 1 < len(portions) else {}
            for index, part in enumerate(portion):
                found = {n: self._here[n][part] for n in self._here}
                for name, arrays in taken.items():
                    found[name], arrays[index] = arrays[index], None
                yield part, {name: found[name] for name in names if name in found}

    def _take(self, portion: Sequence[Part]) -> dict[str, Future[Any]]:
        sessions = self._checker.sessions
        return {
            name: sessions[name][self._dtype].take(self._hold, portion)
            for name in self._asked
            if name not in self._checker.failed
        }


def _portions(parts: Mapping[Part, int]) -> Iterator[list[Part]]:
    portion: list[Part] = []
    size = 0
    for part, count in parts.items():
        if portion and size + count > PORTION:
            yield portion
            portion, size = [], 0
        portion.append(part)
        size += count
    if portion:
        yield portion
