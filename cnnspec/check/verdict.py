"""What the comparisons come to: the status, and the first layer that differs."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy.typing as npt

from cnnspec.check.compare import Comparison
from cnnspec.check.evidence import precedence
from cnnspec.check.failure import Failure, instances, written
from cnnspec.check.majority import standing
from cnnspec.check.options import Difference
from cnnspec.diagnostics import Span

if TYPE_CHECKING:
    from cnnspec.check.run import Checker

Array = npt.NDArray[Any]


def wrong(checker: Checker) -> list[Comparison]:
    """What disagrees and should not."""
    return [c for c in checker.report.comparisons if c.judged and not c.agree]


def judge(checker: Checker) -> None:
    """Set the status, and name the first difference, where something disagrees."""
    found = wrong(checker)
    if not found:
        return
    checker.report.worsen("disagree")
    first = min(found, key=precedence(checker.graph))
    if first.mode == "end_to_end" and first.quantity != "step":
        located = _located(checker, first) or first
    else:
        located = first
    made = _difference(checker, located)
    checker.report.first_difference = replace(made, failure=_failure(checker, first, located))
    for one in (first, located, *found):
        span = _place(checker, one.node)
        if span is not None:
            checker.report.places[one.node] = span


def _located(checker: Checker, found: Comparison) -> Comparison | None:
    """Where only end-to-end answers differ: the first module or node whose value does."""
    from cnnspec.check.locate import first_different

    return first_different(checker, found)


def _failure(checker: Checker, first: Comparison, located: Comparison) -> Failure:
    """What is known about it; who stands alone is known of what all back ends were asked for."""
    return Failure(
        details=checker.evidence.of(located),
        standing=standing(first, checker.report.comparisons),
        written=written(checker.original, located, checker.options),
        instances=instances(checker.original, located.node),
    )


def _difference(checker: Checker, found: Comparison) -> Difference:
    span = _place(checker, found.node)
    if span is None:
        return Difference(found.node, found)
    return Difference(found.node, found, span.source.name, span.line, span.column)


def _place(checker: Checker, node: str) -> Span | None:
    try:
        origin = checker.graph.node(node).origin
    except KeyError:
        return None
    return None if origin is None else origin.span
