"""Comparisons of one spec by the pair of back ends and the quantity: what CI counts as a case."""

from __future__ import annotations

from dataclasses import dataclass

from cnnspec.check.compare import Comparison, severity
from cnnspec.check.options import Difference, SpecReport
from cnnspec.check.report import difference
from cnnspec.diagnostics import Diagnostic
from cnnspec.quantities import QUANTITIES, Quantity


@dataclass(frozen=True, slots=True)
class Group:
    """What was compared of one quantity, of one pair.

    Attributes:
        backends: the pair.
        quantity: what was compared.
        comparisons: all of them, judged or not.
    """

    backends: tuple[str, str]
    quantity: Quantity
    comparisons: tuple[Comparison, ...]

    @property
    def judged(self) -> tuple[Comparison, ...]:
        """Those that count."""
        return tuple(c for c in self.comparisons if c.judged)

    @property
    def wrong(self) -> tuple[Comparison, ...]:
        """Those that disagree and should not."""
        return tuple(c for c in self.judged if not c.agree)

    @property
    def worst(self) -> float:
        """The largest error over bound of those that count."""
        return max((severity(c) for c in self.judged), default=0.0)

    def reason(self) -> str:
        """Why none of them counts."""
        return "; ".join(dict.fromkeys(c.reason for c in self.comparisons if c.reason))


def grouped(report: SpecReport) -> list[Group]:
    """The groups of a report, by pairs in the order of its comparisons."""
    found: dict[tuple[tuple[str, str], Quantity], list[Comparison]] = {}
    for c in report.comparisons:
        found.setdefault((c.backends, c.quantity), []).append(c)
    pairs = list(dict.fromkeys(pair for pair, _ in found))
    order = sorted(found, key=lambda key: (pairs.index(key[0]), QUANTITIES.index(key[1])))
    return [Group(pair, quantity, tuple(found[pair, quantity])) for pair, quantity in order]


def fault(group: Group, report: SpecReport) -> Diagnostic | None:
    """Where a group's back ends differ: the spec's first difference if it is here, or the worst."""
    if not group.wrong:
        return None
    first = report.first_difference
    if first is not None:
        about = first.comparison
        if (about.backends, about.quantity) == (group.backends, group.quantity):
            return difference(first, report)
    worst = max(group.wrong, key=severity)
    return difference(Difference(worst.node, worst), report)
