"""A check's report as SARIF 2.1.0, which code scanning reads.

Diagnostics are results; notes are notifications, as they are no alerts. Paths are relative to the
top of the checkout, under the base `%SRCROOT%`, and columns count characters.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from typing import Any

from cnnspec.check.formats.places import relative, uri
from cnnspec.check.formats.rules import Rule, rules
from cnnspec.check.options import EXIT_STATUS, Report
from cnnspec.check.report import diagnostics_of
from cnnspec.diagnostics import Diagnostic, Label, Span
from cnnspec.document import LINE_BREAK
from cnnspec.render import clean
from cnnspec.version import __version__

BASE = "%SRCROOT%"
SCHEMA = (
    "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
)

Json = dict[str, Any]


def to_sarif(report: Report) -> str:
    """The whole report, as one SARIF log with one run."""
    everything: list[tuple[Diagnostic, str | None]] = [
        *((each, None) for each in report.diagnostics),
        *((each, spec.spec) for spec in report.specs for each in diagnostics_of(spec)),
    ]
    known = rules(diagnostic for diagnostic, _ in everything)
    index = {rule.code: number for number, rule in enumerate(known)}
    notes = [(note, spec.spec) for spec in report.specs for note in spec.notes]
    notes += [("a library of blocks, which is not checked", name) for name in report.libraries]
    run = {
        "tool": {
            "driver": {
                "name": "cnnspec",
                "semanticVersion": __version__,
                "rules": [_rule(rule) for rule in known],
            }
        },
        "columnKind": "unicodeCodePoints",
        "originalUriBaseIds": {BASE: {"description": {"text": "The top of the checkout."}}},
        "invocations": [
            {
                "executionSuccessful": report.status not in ("environment", "engine_failed"),
                "exitCode": EXIT_STATUS[report.status],
                "toolExecutionNotifications": [
                    {
                        "level": "note",
                        "message": _message(note),
                        "locations": [{"physicalLocation": _physical(name)}],
                    }
                    for note, name in notes
                ],
            }
        ],
        "results": [_result(each, spec, index[each.code]) for each, spec in everything],
    }
    return json.dumps({"$schema": SCHEMA, "version": "2.1.0", "runs": [run]}, indent=2)


def _rule(rule: Rule) -> Json:
    made: Json = {"id": rule.code, "shortDescription": {"text": rule.code.replace("-", " ")}}
    if rule.page:
        made["fullDescription"] = {"text": rule.first}
        made["help"] = {"text": rule.page, "markdown": rule.page}
    made["defaultConfiguration"] = {"level": rule.severity}
    return made


def _result(found: Diagnostic, spec: str | None, rule: int) -> Json:
    text = "\n".join(
        [found.message, *found.notes, *([f"Help: {found.help}"] if found.help else [])]
    )
    made: Json = {
        "ruleId": found.code,
        "ruleIndex": rule,
        "level": found.severity,
        "message": _message(text),
        "partialFingerprints": {"cnnspec/1": _fingerprint(found, spec)},
    }
    if found.primary is not None:
        made["locations"] = [_location(found.primary)]
    elif spec is not None:
        made["locations"] = [{"physicalLocation": _physical(spec)}]
    related = [{"id": i, **_location(label)} for i, label in enumerate(found.secondary)]
    if related:
        made["relatedLocations"] = related
    return made


def _location(label: Label) -> Json:
    place = _physical(label.span.source.name)
    place["region"] = _region(label.span)
    return {
        "physicalLocation": place,
        **({"message": _message(label.message)} if label.message else {}),
    }


def _physical(path: str) -> Json:
    reference, inside = uri(path)
    return {"artifactLocation": {"uri": reference, **({"uriBaseId": BASE} if inside else {})}}


def _region(span: Span) -> Json:
    """Both count from 1 and end behind the last character."""
    return {
        "startLine": span.line,
        "startColumn": span.column,
        "endLine": span.end_line,
        "endColumn": span.end_column,
    }


def _message(text: str) -> Json:
    return {"text": clean(text, keep_breaks=True)}


def _fingerprint(found: Diagnostic, spec: str | None) -> str:
    """The same for the same fault, also after other lines were added above it."""
    name, line = spec or "", ""
    if found.primary is not None:
        span = found.primary.span
        name = span.source.name
        lines = LINE_BREAK.split(span.source.text)
        line = lines[span.line - 1].strip() if span.line <= len(lines) else ""
    return _digest((found.code, relative(name) or name, line, found.message))


def _digest(parts: Iterable[str]) -> str:
    text = json.dumps(list(parts))  # which, unlike joining, keeps the parts apart
    return hashlib.sha256(text.encode()).hexdigest()[:32]
