"""A check's report as text for people, and what is wrong in it as diagnostics."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable

from cnnspec.check import failure
from cnnspec.check.compare import Comparison, severity
from cnnspec.check.options import Difference, Report, SpecReport, Status
from cnnspec.diagnostics import Diagnostic, Label
from cnnspec.ops.base import show
from cnnspec.render import clean, render

OUTCOMES: dict[Status, str] = {
    "disagree": "disagree",
    "engine_failed": "could not be finished as an engine failed",
    "invalid_data": "have wrong data",
    "invalid_spec": "are wrong",
    "environment": "lack something",
}
"""What is said of several specs that do not agree."""


def to_text(report: Report, *, color: bool = False) -> str:
    """A table for each spec, and what is wrong in full."""
    parts = [_text(spec, color=color) for spec in report.specs]
    parts += [library_line(library) for library in report.libraries]
    if report.diagnostics:
        parts.append(render(report.diagnostics, "full", color=color))
    if len(report.specs) > 1:
        parts.append(tally(report))
    return "\n\n".join(parts)


def diagnostics_of(report: SpecReport) -> list[Diagnostic]:
    """All that is wrong with a spec: where back ends differ first, warnings last."""
    found = report.first_difference
    return [*([] if found is None else [difference(found, report)]), *report.diagnostics]


def tally(report: Report) -> str:
    """How many specs agree, and what is wrong with how many others."""
    counts = Counter(spec.status for spec in report.specs)
    found = f"{counts['agree']} of {len(report.specs)} specs agree"
    for status, words in OUTCOMES.items():
        if counts[status]:
            found += f", {counts[status]} {words}"
    return found


def library_line(path: str) -> str:
    """What is said of a library of blocks in a directory."""
    return f"{clean(path)}: a library of blocks, which is not checked"


def to_line(report: SpecReport) -> str:
    """The outcome of one spec of many, in one line, and what a reader has to know."""
    sizes = ", ".join(show(shape) for shape in report.inputs.values())
    at = f" at {sizes}" if report.reduced else ""
    warnings = sum(d.severity == "warning" for d in report.diagnostics)
    more = f", {warnings} warning{'s' if warnings > 1 else ''}" if warnings else ""
    more += ", from the cache" if report.cached else ""
    return f"{clean(report.spec)}{at}: {verdict(report)}{more}"


def _text(report: SpecReport, *, color: bool) -> str:
    lines = [f"{clean(report.spec)}: {verdict(report)}"]
    table = list(_table(report.comparisons))
    if table:
        lines += ["", *table]
    lines += [f"note: {clean(note)}" for note in report.notes]
    found = diagnostics_of(report)
    if found:
        lines += ["", render(found, "full", color=color)]
    return "\n".join(lines)


def verdict(report: SpecReport) -> str:
    """The outcome of one spec in one phrase."""
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
    dtypes = {c.dtype for c in comparisons if c.quantity != "step"}
    dtype = "float64" if "float64" in dtypes or not dtypes else min(dtypes)
    largest = largest_relative(comparisons, dtype)
    return f"largest {dtype} error {largest:.1e} of its tensor's largest value"


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


def difference(found: Difference, report: SpecReport) -> Diagnostic:
    """A difference as a diagnostic at the layer's place in the spec."""
    span = report.places.get(found.node)
    c = found.comparison
    where = f"`{c.name}`" if c.name != found.node else f"`{found.node}`"
    mode = {
        "isolated": "with the reference's inputs",
        "probe": "on ties and kinks",
        "end_to_end": "end to end",
        "initial": "",
        "after_training": "with weights of its own training",
        "optimized": "before and after it was optimized",
    }[c.mode]
    what = {
        "initializer": f"the initial values of {where}",
        "forward": f"the output of {where}",
        "input_gradient": f"the gradient of `{found.node}` with respect to its input",
        "parameter_gradient": f"the gradient of {where}",
        "running_statistics": f"the running statistic {where}",
        "step": f"{where} after update {c.update}",
    }[c.quantity]
    notes = []
    if c.worst is not None and c.mode != "initial":
        index = ", ".join(str(i) for i in c.worst.index)
        notes.append(
            f"worst element [{index}]: {c.worst.a!r} and {c.worst.b!r}, "
            f"apart by {abs(c.worst.a - c.worst.b):.3e}, bound {c.worst.bound:.3e}"
            + _times(severity(c))
        )
    notes += failure.notes(found)
    if c.reason:
        notes.append(c.reason)
    if c.mode != "initial":
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
