"""What the comparisons come to: the status, and the first layer that differs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy.typing as npt

from cnnspec.check.compare import Comparison
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
    order = {name: i for i, name in enumerate(checker.graph.users())}
    last = {node.weights_id: order[node.id] for node in checker.graph.nodes}  # to use parameters
    rank = {"forward": 0, "running_statistics": 1, "input_gradient": 2, "parameter_gradient": 2}

    def key(one: Comparison) -> tuple[int, int, int, int]:
        isolated = 0 if one.mode in ("isolated", "probe") else 1
        stepped = 1 if one.quantity == "step" else 2 if one.mode == "after_training" else 0
        single = 0 if one.dtype == "float64" else 1
        place = order.get(one.node, len(order))
        if one.quantity == "parameter_gradient":  # which all that share it add to
            place = last.get(one.node, place)
        first_wrong = rank.get(one.quantity, 3)
        if stepped:
            place, first_wrong = _moment(one), place
        elif isolated:
            # End to end everything behind a fault is wrong, and gradients in front of it.
            place, first_wrong = first_wrong, place
        return (single, isolated + stepped, place, first_wrong)

    first = min(found, key=key)
    if first.mode == "end_to_end" and first.quantity != "step":
        first = _located(checker, first) or first
    checker.report.first_difference = _difference(checker, first)
    for one in (first, *found):
        span = _place(checker, one.node)
        if span is not None:
            checker.report.places[one.node] = span


def _moment(step: Comparison) -> int:
    """In a run of updates what comes first: the rates, then a loss, then the weights after it."""
    if step.update is None:
        return 0
    return 2 * step.update + (1 if step.name == "loss" else 2)


def _located(checker: Checker, found: Comparison) -> Comparison | None:
    """Where only end-to-end answers differ: the first module or node whose value does."""
    from cnnspec.check.locate import first_different

    return first_different(checker, found)


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
