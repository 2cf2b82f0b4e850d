"""The JSON Schema of a check's JSON report, which docs/report.schema.json publishes."""

from __future__ import annotations

from typing import Any, get_args

from cnnspec.check.formats.document import FORMAT
from cnnspec.check.options import Status
from cnnspec.diagnostics import Severity
from cnnspec.quantities import MODES, QUANTITIES

Schema = dict[str, Any]

TEXT: Schema = {"type": "string"}
TRUTH: Schema = {"type": "boolean"}
COUNT: Schema = {"type": "integer", "minimum": 0}
PLACE: Schema = {"type": ["integer", "null"], "minimum": 1}


def report_schema() -> Schema:
    """The schema, in the dialect of 2020-12; fields that are not named are not there."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Report of cnnspec check",
        "description": "What `cnnspec check --format json` writes.",
        **_record(
            format=_of({"const": FORMAT}, "Number of this form."),
            status=_of(_ref("status"), "The worst status of all specs."),
            libraries=_of(_list(TEXT), "Files that only define blocks, and are not checked."),
            diagnostics=_of(
                _list(_ref("diagnostic")), "Why nothing was checked, if the request made no sense."
            ),
            specs=_of(_list(_ref("spec")), "In the order in which they were given."),
        ),
        "$defs": {
            "status": {"enum": list(get_args(Status))},
            "number": {
                "description": "JSON has no infinity and no NaN: these are texts.",
                "anyOf": [{"type": "number"}, {"enum": ["inf", "-inf", "nan"]}],
            },
            "spec": _spec(),
            "comparison": _record(**_comparison()),
            "difference": _record(
                node=_of(TEXT, "The first layer that differs."),
                file=_of({"type": ["string", "null"]}, "Where it stands in the spec."),
                line=PLACE,
                column=PLACE,
                **{name: part for name, part in _comparison().items() if name != "node"},
                **_failure(),
            ),
            "worst": _worst(),
            "diagnostic": _diagnostic(),
            "label": _record(**_label()),
        },
    }


def _spec() -> Schema:
    return _record(
        spec=_of(TEXT, "Its path."),
        status=_ref("status"),
        agree=TRUTH,
        inputs=_of(
            {"type": "object", "additionalProperties": _list(COUNT)},
            "Shapes of the inputs that it was run on, by name, without the batch.",
        ),
        reduced=_of(
            {"type": ["boolean", "null"]},
            "Whether these are smaller than its own; null where nobody asked for it.",
        ),
        cached=_of(TRUTH, "Whether an earlier check of the same has found all of this."),
        comparisons=_list(_ref("comparison")),
        first_difference={"anyOf": [{"type": "null"}, _ref("difference")]},
        notes=_list(TEXT),
        diagnostics=_of(
            _list(_ref("diagnostic")), "Faults of the spec, engines that failed, warnings."
        ),
    )


def _comparison() -> dict[str, Schema]:
    return {
        "backends": _of({**_list(TEXT), "minItems": 2, "maxItems": 2}, "The pair."),
        "quantity": {"enum": list(QUANTITIES)},
        "mode": {"enum": list(MODES)},
        "dtype": _of(TEXT, "Of the arithmetic that is judged."),
        "training": _of(TRUTH, "Whether in training mode."),
        "node": _of(TEXT, "The layer."),
        "name": _of(TEXT, "The tensor."),
        "agree": TRUTH,
        "max_error": _of(_ref("number"), "Largest absolute difference."),
        "relative_error": _of(_ref("number"), "The same over the largest absolute value."),
        "bound": _of(_ref("number"), "The bound at the worst element."),
        "worst": {"anyOf": [{"type": "null"}, _ref("worst")]},
        "judged": _of(TRUTH, "False where the answers may rightly differ."),
        "reason?": _of(TEXT, "Why it is not judged, or what is wrong beside numbers."),
        "update?": _of(COUNT, "Of a step: how many updates were done before it."),
        "reference_error?": _of(_ref("number"), "Distance of a plain NumPy evaluation."),
        "headroom?": _of(
            _ref("number"), "Of sums of K terms: the largest error over 8 sqrt(K) u B."
        ),
    }


def _failure() -> dict[str, Schema]:
    """What is known of a difference beside its numbers."""
    null: Schema = {"type": "null"}
    histogram = _record(
        elements=_of(COUNT, "Of the tensor."),
        wrong=_of(COUNT, "Of them outside their bounds."),
        edges=_of(_list({"type": "number"}), "Errors over bounds at which a bin ends."),
        counts=_of(_list(COUNT), "Elements in each bin; the last one is open."),
        bound_zero=_of(COUNT, "Wrong ones where no error is allowed."),
        not_finite=_of(COUNT, "Ones that are infinite or NaN in one of the answers."),
    )
    written = _record(
        backend=TEXT,
        line=PLACE,
        text=_of(TEXT, "That line."),
        command=_of(TEXT, "What writes the file."),
    )
    instance = _record(
        path=TEXT, block=TEXT, file=_of(TEXT, "Where it is used."), line=PLACE, column=PLACE
    )
    minimized = _record(
        directory=TEXT,
        spec=_of(TEXT, "The smallest one that shows it."),
        command=_of(TEXT, "What shows it again there."),
        layers=COUNT,
        inputs={"type": "object", "additionalProperties": _list(COUNT)},
        checks=_of(COUNT, "Networks that were checked."),
        complete=_of(TRUTH, "Whether the search came to its end."),
        stopped=_of(TEXT, "Why it did not; empty if it did."),
        scripts=_of(
            {"type": "object", "additionalProperties": TRUTH},
            "File -> whether it shows the difference by itself.",
        ),
        notes=_list(TEXT),
    )
    return {
        "histogram": {"anyOf": [null, histogram]},
        "hints": _of(_list(TEXT), "Patterns that every element bears out."),
        "alone": _of(
            {"type": ["string", "null"]}, "The back end that all others agree against, if any."
        ),
        "standing": _of(TEXT, "Who agrees with whom; empty of two answers."),
        "emitted": _of(_list(written), "Where `compile` writes the layer."),
        "instances": _of(_list(instance), "The blocks around it, innermost first."),
        "minimized": {"anyOf": [null, minimized]},
    }


def _worst() -> Schema:
    return _record(
        index=_list(COUNT),
        a=_ref("number"),
        b=_ref("number"),
        error=_ref("number"),
        bound=_ref("number"),
    )


def _diagnostic() -> Schema:
    code = "Stable name of the fault; docs/diagnostics.md has a section for each."
    fields = {
        "code": _of(TEXT, code),
        "severity": {"enum": list(get_args(Severity))},
        "message": TEXT,
        **_label(),
        "secondary": _list(_ref("label")),
        "notes": _list(TEXT),
        "help": {"type": ["string", "null"]},
    }
    return _record(**fields)


def _label() -> dict[str, Schema]:
    return {
        "file": {"type": ["string", "null"]},
        "line": _of(PLACE, "Lines and columns count from 1, columns count characters."),
        "column": PLACE,
        "end_line": PLACE,
        "end_column": _of(PLACE, "Behind the last character."),
        "label": {"type": ["string", "null"]},
    }


def _record(**fields: Schema) -> Schema:
    """An object; a field whose name ends in `?` may be missing."""
    return {
        "type": "object",
        "properties": {name.rstrip("?"): part for name, part in fields.items()},
        "required": [name for name in fields if not name.endswith("?")],
        "additionalProperties": False,
    }


def _list(items: Schema) -> Schema:
    return {"type": "array", "items": items}


def _ref(name: str) -> Schema:
    return {"$ref": f"#/$defs/{name}"}


def _of(part: Schema, description: str) -> Schema:
    return {"description": description, **part}
