"""A check's report as text for people and JSON for machines."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterable
from typing import Any

from cnnspec.check import failure
from cnnspec.check.compare import Comparison, Worst, severity
from cnnspec.check.options import Difference, Report, SpecReport, Status
from cnnspec.diagnostics import Diagnostic, Label, Span
from cnnspec.ops.base import show
from cnnspec.render import render

OUTCOMES: dict[Status, str] = {
    "disagree": "disagree",
    "engine_failed": "could not be finished as an engine failed",
    "invalid_data": "have wrong data",
    "invalid_spec": "are wrong",
    "environment": "lack something",
}
"""What is said of several specs that do not agree."""
QUANTITIES = ("forward", "input_gradient", "parameter_gradient", "running_statistics", "step")
MODES = ("isolated", "end_to_end")


def to_json(report: Report) -> str:
    """The whole report, as one JSON document."""
    document = {
        "status": report.status,
        "libraries": report.libraries,
        "specs": [_spec(spec) for spec in report.specs],
    }
    return json.dumps(document, indent=2, allow_nan=False)


def _spec(report: SpecReport) -> dict[str, Any]:
    found = report.first_difference
    return {
        "spec": report.spec,
        "status": report.status,
        "agree": report.agree,
        "inputs": {name: list(shape) for name, shape in report.inputs.items()},
        "reduced": report.reduced,
        "comparisons": [_comparison(c) for c in report.comparisons],
        "first_difference": None if found is None else _difference(found),
        "notes": report.notes,
        "diagnostics": json.loads(render(report.diagnostics, "json"))["diagnostics"],
    }


def _number(value: float | None) -> float | str | None:
    """JSON has no infinity and no NaN."""
    if value is None or math.isfinite(value):
        return value
    return str(value)


def _comparison(c: Comparison) -> dict[str, Any]:
    found: dict[str, Any] = {
        "backends": list(c.backends),
        "quantity": c.quantity,
        "mode": c.mode,
        "dtype": c.dtype,
        "training": c.training,
        "node": c.node,
        "name": c.name,
        "agree": c.agree,
        "max_error": _number(c.max_error),
        "relative_error": _number(c.relative),
        "bound": _number(c.bound),
        "worst": None if c.worst is None else _worst(c.worst),
        "judged": c.judged,
    }
    if c.reason:
        found["reason"] = c.reason
    if c.update is not None:
        found["update"] = c.update
    if c.reference_error is not None:
        found["reference_error"] = _number(c.reference_error)
    return found


def _worst(worst: Worst) -> dict[str, Any]:
    return {
        "index": list(worst.index),
        "a": _number(worst.a),
        "b": _number(worst.b),
        "error": _number(abs(worst.a - worst.b)),
        "bound": _number(worst.bound),
    }


def _difference(found: Difference) -> dict[str, Any]:
    return {
        "node": found.node,
        "file": found.file,
        "line": found.line,
        "column": found.column,
        **_comparison(found.comparison),
        **failure.fields(found),
    }


# --- text ------------------------------------------------------------------------------------


def to_text(report: Report, *, color: bool = False, spans: dict[str, Span] | None = None) -> str:
    """A table for each spec, and what is wrong in full."""
    parts = [_text(spec, color=color, span=(spans or {}).get(spec.spec)) for spec in report.specs]
    if len(report.specs) > 1:
        parts.append(tally(report))
    return "\n\n".join(parts)


def tally(report: Report) -> str:
    """How many specs agree, and what is wrong with how many others."""
    counts = Counter(spec.status for spec in report.specs)
    found = f"{counts['agree']} of {len(report.specs)} specs agree"
    for status, words in OUTCOMES.items():
        if counts[status]:
            found += f", {counts[status]} {words}"
    return found


def to_line(report: SpecReport) -> str:
    """The outcome of one spec of many, in one line, and what a reader has to know."""
    sizes = ", ".join(show(shape) for shape in report.inputs.values())
    at = f" at {sizes}" if report.reduced else ""
    return f"{report.spec}{at}: {_verdict(report)}"


def _text(report: SpecReport, *, color: bool, span: Span | None) -> str:
    lines = [f"{report.spec}: {_verdict(report)}"]
    table = list(_table(report.comparisons))
    if table:
        lines += ["", *table]
    lines += [f"note: {note}" for note in report.notes]
    if report.first_difference is not None:
        lines += ["", render([difference(report.first_difference, span)], "full", color=color)]
    if report.diagnostics:
        lines += ["", render(report.diagnostics, "full", color=color)]
    return "\n".join(lines)


def _verdict(report: SpecReport) -> str:
    if report.status == "agree":
        count = sum(c.judged for c in report.comparisons)
        return f"agree ({count} comparisons, {headline(report.comparisons)})"
    return {
        "disagree": "DISAGREE",
        "engine_failed": "an engine failed",
        "invalid_data": "the data are wrong",
        "invalid_spec": "the spec is wrong",
        "environment": "something is missing",
    }[report.status]


def largest_relative(comparisons: Iterable[Comparison], dtype: str = "float64") -> float:
    """The largest error of outputs, gradients and statistics over its tensor's largest magnitude.

    Steps are judged, but left out here: an adaptive optimizer divides by gradients that may be
    mere rounding. Parameters whose true gradient is zero have no magnitude to divide by.
    """
    return max(
        (c.relative for c in comparisons if c.judged and c.dtype == dtype and c.magnitude > 1e-12),
        default=0.0,
    )


def headline(comparisons: list[Comparison]) -> str:
    """The largest relative error in one phrase."""
    return (
        f"largest float64 error {largest_relative(comparisons):.1e} of its tensor's largest value"
    )


def _table(comparisons: list[Comparison]) -> Iterable[str]:
    """Per pair, dtype, mode and quantity: how many, the largest error, and error over bound."""
    groups: dict[tuple[str, str, str, str], list[Comparison]] = {}
    for c in comparisons:
        key = (" - ".join(c.backends), c.dtype, c.mode, c.quantity)
        groups.setdefault(key, []).append(c)
    if not groups:
        return
    rows = [("backends", "dtype", "mode", "quantity", "tensors", "largest error", "error/bound")]
    for (pair, dtype, mode, quantity), members in groups.items():
        judged = [c for c in members if c.judged]
        worst = max((severity(c) for c in judged), default=0.0)
        rows.append(
            (
                pair,
                dtype,
                mode.replace("_", " "),
                quantity.replace("_", " "),
                str(len(members)),
                f"{max(c.max_error for c in members):.1e}",
                (f"{worst:.2f}" if worst < 1e4 else f"{worst:.1e}") if judged else "not judged",
            )
        )
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    for row in rows:
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()


def difference(found: Difference, span: Span | None) -> Diagnostic:
    """The first difference as a diagnostic at the layer's place in the spec."""
    c = found.comparison
    where = f"`{c.name}`" if c.name != found.node else f"`{found.node}`"
    mode = "with the reference's inputs" if c.mode == "isolated" else "end to end"
    what = {
        "forward": f"the output of {where}",
        "input_gradient": f"the gradient of `{found.node}` with respect to its input",
        "parameter_gradient": f"the gradient of {where}",
        "running_statistics": f"the running statistic {where}",
        "step": f"{where} after update {c.update}",
    }[c.quantity]
    notes = []
    if c.worst is not None:
        index = ", ".join(str(i) for i in c.worst.index)
        notes.append(
            f"worst element [{index}]: {c.worst.a!r} and {c.worst.b!r}, "
            f"apart by {abs(c.worst.a - c.worst.b):.3e}, bound {c.worst.bound:.3e}"
            + _times(severity(c))
        )
    notes += failure.notes(found)
    if c.reason:
        notes.append(c.reason)
    notes.append(
        f"{c.dtype}, {mode}, in {'training' if c.training else 'inference'} mode; "
        f"largest error {c.max_error:.3e}"
    )
    message = f"{c.backends[0]} and {c.backends[1]} differ in {what}"
    return Diagnostic(
        "backends-differ",
        message,
        None if span is None else Label(span),
        () if span is None else failure.labels(found),
        notes=tuple(notes),
    )


def _times(ratio: float) -> str:
    """Error over bound, where it is a number."""
    if not math.isfinite(ratio):
        return ""
    return f", {ratio:.3g} times over" if ratio < 1e4 else f", {ratio:.1e} times over"
