"""A check's report in the forms that CI reads; all of them from the same diagnostics."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Literal, get_args

from cnnspec.check.formats.annotations import to_annotations
from cnnspec.check.formats.document import to_json
from cnnspec.check.formats.junit import to_junit
from cnnspec.check.formats.markdown import to_markdown
from cnnspec.check.formats.sarif import to_sarif
from cnnspec.check.options import Report
from cnnspec.check.report import to_text

__all__ = ["FORMATS", "Format", "format_report"]

Format = Literal["text", "json", "junit", "sarif", "github", "markdown"]

_WRITERS: Mapping[str, Callable[[Report], str]] = {
    "text": to_text,
    "json": to_json,
    "junit": to_junit,
    "sarif": to_sarif,
    "github": to_annotations,
    "markdown": to_markdown,
}
FORMATS: tuple[Format, ...] = get_args(Format)


def format_report(report: Report, form: str) -> str:
    """The report in one of `FORMATS`, without a final line break."""
    return _WRITERS[form](report).rstrip("\n")
