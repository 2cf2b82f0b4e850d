"""A check's report as one JSON document; docs/report.schema.json says what is in it."""

from __future__ import annotations

import json
import math
from typing import Any

from cnnspec.check import failure
from cnnspec.check.compare import Comparison, Worst
from cnnspec.check.options import Difference, Report, SpecReport
from cnnspec.diagnostics import Diagnostic
from cnnspec.render import render

FORMAT = 1
"""Number of the form; a field that goes or changes its meaning makes it another."""


def to_json(report: Report) -> str:
    """The whole report, as one JSON document."""
    document = {
        "format": FORMAT,
        "status": report.status,
        "libraries": report.libraries,
        "diagnostics": _diagnostics(report.diagnostics),
        "specs": [_spec(spec) for spec in report.specs],
    }
    return json.dumps(document, indent=2, allow_nan=False)


def _diagnostics(found: list[Diagnostic]) -> Any:
    return json.loads(render(found, "json"))["diagnostics"]


def _spec(report: SpecReport) -> dict[str, Any]:
    found = report.first_difference
    return {
        "spec": report.spec,
        "status": report.status,
        "agree": report.agree,
        "inputs": {name: list(shape) for name, shape in report.inputs.items()},
        "reduced": report.reduced,
        "cached": report.cached,
        "comparisons": [_comparison(c) for c in report.comparisons],
        "first_difference": None if found is None else _difference(found),
        "notes": report.notes,
        "diagnostics": _diagnostics(report.diagnostics),
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
    if c.headroom is not None:
        found["headroom"] = _number(c.headroom)
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
