"""A check's report as GitHub annotations: workflow commands, one a line.

A runner takes every line that starts with `::` for a command, so what comes from files is escaped
as the runner undoes it, and control characters are shown as escapes.
"""

from __future__ import annotations

from cnnspec.check.formats.places import relative
from cnnspec.check.options import Report
from cnnspec.check.report import diagnostics_of, tally
from cnnspec.diagnostics import Diagnostic
from cnnspec.render import clean


def to_annotations(report: Report) -> str:
    """A line for each diagnostic and note, and a last one that counts."""
    lines = [_line(found, None) for found in report.diagnostics]
    for spec in report.specs:
        lines += [_line(found, spec.spec) for found in diagnostics_of(spec)]
        lines += [command("notice", note, file=_file(spec.spec)) for note in spec.notes]
    lines += [
        command("notice", "a library of blocks, which is not checked", file=_file(library))
        for library in report.libraries
    ]
    if report.specs:
        lines.append(tally(report))
    return "\n".join(lines)


def _line(found: Diagnostic, spec: str | None) -> str:
    """One diagnostic; where it has no place it is the spec's."""
    parts = [found.message, *(f"note: {note}" for note in found.notes)]
    if found.help:
        parts.append(f"help: {found.help}")
    place: dict[str, str | int | None] = {"file": None if spec is None else _file(spec)}
    if found.primary is not None:
        span = found.primary.span
        place = {"file": _file(span.source.name), "line": span.line, "col": span.column}
    return command(found.severity, "\n".join(parts), **place, title=found.code)


def _file(path: str) -> str:
    return relative(path) or path


def command(kind: str, message: str, **properties: str | int | None) -> str:
    """A workflow command; properties that are None are left out.

    Args:
        kind: `error`, `warning` or `notice`.
        message: any text.
        **properties: such as `file`, `line`, `col`, `title`.
    """
    given = ",".join(
        f"{name}={_escape_property(clean(str(value)))}"
        for name, value in properties.items()
        if value is not None
    )
    return f"::{kind}{' ' if given else ''}{given}::{_escape(clean(message, keep_breaks=True))}"


def _escape(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _escape_property(text: str) -> str:
    return _escape(text).replace(":", "%3A").replace(",", "%2C")
