"""How many elements of two answers lie how far outside their bounds."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from cnnspec.check.pieces import pieces

Array = npt.NDArray[Any]

EDGES = (1.0, 10.0, 1e3, 1e6, 1e9)
"""Errors over bounds: a bin ends at each, and the last one is open."""
NAMES = ("1", "10", "1e3", "1e6", "1e9")


@dataclass(frozen=True, slots=True)
class Histogram:
    """Elements by error over bound.

    Attributes:
        counts: how many lie up to each edge and above the one before; the last, above all.
        exact: how many are wrong where the bound is zero, as no error is allowed at all.
        not_finite: how many are infinite or NaN in one of the answers.
    """

    counts: tuple[int, ...]
    exact: int = 0
    not_finite: int = 0

    @property
    def wrong(self) -> int:
        """How many are outside their bounds."""
        return sum(self.counts[1:]) + self.exact + self.not_finite

    @property
    def elements(self) -> int:
        """How many there are."""
        return self.counts[0] + self.wrong

    def line(self) -> str:
        """One line of text: how many are wrong, and the bins that have any."""
        names = (f"<={NAMES[0]}", *(f"{a}-{b}" for a, b in itertools.pairwise(NAMES)))
        bins = [*zip((*names, f">{NAMES[-1]}"), self.counts, strict=True)]
        bins += [("bound 0", self.exact), ("not finite", self.not_finite)]
        shown = "  ".join(f"{name}: {count:,}" for name, count in bins if count)
        return f"{self.wrong:,} of {self.elements:,} elements are wrong; error/bound {shown}"

    def json(self) -> dict[str, Any]:
        """As a report carries it."""
        return {
            "elements": self.elements,
            "wrong": self.wrong,
            "edges": list(EDGES),
            "counts": list(self.counts),
            "bound_zero": self.exact,
            "not_finite": self.not_finite,
        }


def histogram(a: Array, b: Array, bound: Array, unit: float = 1.0, floor: float = 0.0) -> Histogram:
    """Count; arrays of one shape, two elements of which may lie `unit * bound + floor` apart."""
    counts = np.zeros(len(EDGES) + 1, np.int64)
    exact = not_finite = 0
    for error, limit in errors(a, b, bound, unit, floor):
        finite = np.isfinite(error)
        no_room = finite & (limit == 0) & (error > 0)
        rest = finite & ~no_room
        ratio = np.zeros(rest.sum())
        np.divide(error[rest], limit[rest], out=ratio, where=error[rest] > 0)
        counts += np.bincount(np.searchsorted(EDGES, ratio), minlength=len(counts))
        exact += int(no_room.sum())
        not_finite += int(error.size - finite.sum())
    return Histogram(tuple(int(count) for count in counts), exact, not_finite)


def errors(
    a: Array, b: Array, bound: Array, unit: float, floor: float
) -> Iterator[tuple[Array, Array]]:
    """Errors and what is allowed, piece by piece; infinite where an answer is not finite."""
    for left, right, coefficient in pieces(a, b, np.broadcast_to(bound, a.shape)):
        with np.errstate(invalid="ignore", over="ignore"):
            error = np.abs(np.subtract(left, right, dtype=np.float64))
        error[~(np.isfinite(left) & np.isfinite(right))] = np.inf
        yield error, unit * coefficient.astype(np.float64) + floor
