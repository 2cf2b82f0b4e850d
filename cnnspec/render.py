"""Diagnostics to text: for people, for editors, for programs.

What is shown comes from files that someone else may have written, so no control character of
theirs reaches a terminal, and no line of theirs fills the screen.
"""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Literal

from cnnspec.diagnostics import Diagnostic, Label, Severity, Source, Span
from cnnspec.document import LINE_BREAK

Form = Literal["full", "concise", "json"]

TAB = "    "
MAX_SHOWN = 120  # characters of a source line; a longer one is cut around the label

_RESET = "\x1b[0m"
_STYLES: Mapping[str, str] = {
    "error": "\x1b[1;31m",
    "warning": "\x1b[1;33m",
    "gutter": "\x1b[1;34m",
    "secondary": "\x1b[1;34m",
    "strong": "\x1b[1m",
}


def render(diagnostics: Iterable[Diagnostic], form: Form = "full", *, color: bool = False) -> str:
    """Render diagnostics, in the order given, without a final line break.

    Args:
        diagnostics: what to show.
        form: `full` with source lines and carets, `concise` with one line for each, or `json`
            as one document.
        color: whether to add ANSI colours; only `full` and `concise` have any.
    """
    return _FORMS[form](tuple(diagnostics), _Paint(color))


class _Paint:
    def __init__(self, color: bool) -> None:
        self._color = color

    def __call__(self, text: str, style: str) -> str:
        return f"{_STYLES[style]}{text}{_RESET}" if self._color and text else text


def _full(diagnostics: Sequence[Diagnostic], paint: _Paint) -> str:
    if not diagnostics:
        return ""
    lines = _Lines()
    parts = ["\n".join(_one_full(diagnostic, lines, paint)) for diagnostic in diagnostics]
    return "\n\n".join([*parts, _summary(diagnostics, paint)])


def _one_full(diagnostic: Diagnostic, lines: _Lines, paint: _Paint) -> list[str]:
    out = [_title(diagnostic, paint)]
    labels = [(label, "secondary") for label in diagnostic.secondary]
    if diagnostic.primary is not None:
        labels.insert(0, (diagnostic.primary, diagnostic.severity))
    by_source: dict[tuple[str, int], list[tuple[Label, str]]] = {}
    for label, style in labels:
        source = label.span.source
        by_source.setdefault((source.name, id(source)), []).append((label, style))

    width = max((len(str(label.span.line)) for label, _ in labels), default=0)
    bar = paint(" " * width + " |", "gutter")
    for number, section in enumerate(by_source.values()):
        arrow = "-->" if number == 0 else ":::"
        if number > 0:
            out.append(bar)
        out.append(" " * width + paint(arrow, "gutter") + " " + _place(section[0][0].span))
        out.append(bar)
        out += _section(section, lines, width, paint)
    after = [("note", note) for note in diagnostic.notes]
    if diagnostic.help:
        after.append(("help", diagnostic.help))
    if after and labels:
        out.append(bar)
    for kind, text in after:
        first, *rest = clean(text, keep_breaks=True).split("\n")
        out.append(f"{' ' * width} {paint('=', 'gutter')} {paint(kind, 'strong')}: {first}")
        out += [(" " * (width + len(kind) + 5) + line).rstrip() for line in rest]
    return out


def _section(
    labels: list[tuple[Label, str]], lines: _Lines, width: int, paint: _Paint
) -> list[str]:
    """The source lines of one file that carry labels, each with its marks below it."""
    out = []
    by_line: dict[int, list[tuple[Label, str]]] = {}
    for label, style in sorted(labels, key=lambda each: (each[0].span.line, each[0].span.column)):
        by_line.setdefault(label.span.line, []).append((label, style))

    def gutter(number: int | str) -> str:
        return paint(f"{number:>{width}} |", "gutter")

    above = 0
    for number, marked in by_line.items():
        source = marked[0][0].span.source
        if above and number == above + 2:
            out.append(
                f"{gutter(above + 1)} {_cut(lines.get(source, above + 1), 0, 0)[0]}".rstrip()
            )
        elif above and number > above + 2:
            out.append(paint("...", "gutter"))
        above = number
        text = lines.get(source, number)
        shown = None
        for label, style in marked:
            start, end = _columns(label.span, text)
            line, offset, mark_width = _cut(text, start, end)
            if line != shown:  # a long line is shown again, cut around the next label
                out.append(f"{gutter(number)} {line}".rstrip())
                shown = line
            mark = ("-" if style == "secondary" else "^") * max(mark_width, 1)
            remark = f"{mark} {clean(label.message)}".rstrip()
            out.append(f"{gutter('')} {' ' * offset}{paint(remark, style)}")
    return out


def _columns(span: Span, text: str) -> tuple[int, int]:
    """The part of `text`, its first line, that a span covers, as offsets."""
    start = min(span.column - 1, len(text))
    if span.end_line > span.line:
        return start, max(start, len(text.rstrip()))
    return start, max(start, min(span.end_column - 1, len(text)))


def _cut(text: str, start: int, end: int) -> tuple[str, int, int]:
    """What is shown of a line around [start, end): the text, the cells before and those within."""
    left, right = 0, len(text)
    if len(text) > MAX_SHOWN:
        end = min(end, start + MAX_SHOWN - 20)
        left = min(max(0, (start + end - MAX_SHOWN) // 2), len(text) - MAX_SHOWN)
        right = left + MAX_SHOWN
    head, tail = ("..." if left > 0 else ""), ("..." if right < len(text) else "")
    before = head + _cells(text[left:start])
    within = _cells(text[start:end])
    return before + within + _cells(text[end:right]) + tail, _width(before), _width(within)


def _cells(text: str) -> str:
    return clean(text.replace("\t", TAB))


def clean(text: str, *, keep_breaks: bool = False) -> str:
    r"""The text with invisible characters as escapes: `\x1b`, `\u202e`.

    Besides control characters these are the ones that reorder or hide text (Trojan Source,
    CVE-2021-42574), and line separators, which some terminals obey.
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(c if keep_breaks and c == "\n" else _visible(c) for c in text)


def _visible(character: str) -> str:
    if unicodedata.category(character) not in {"Cc", "Cf", "Cs", "Zl", "Zp"}:
        return character
    if character < "\x80":
        return f"\\x{ord(character):02x}"
    return character.encode("ascii", "backslashreplace").decode()


def _width(text: str) -> int:
    """Terminal cells: two for an East Asian wide character, none for a combining mark."""
    if text.isascii():
        return len(text)
    wide = sum(unicodedata.east_asian_width(c) in {"W", "F"} for c in text)
    combining = sum(unicodedata.category(c) in {"Mn", "Me"} for c in text)
    return len(text) + wide - combining


class _Lines:
    """The lines of sources; a text is split once, however many diagnostics point into it."""

    def __init__(self) -> None:
        self._split: dict[int, tuple[Source, list[str]]] = {}  # the source is kept: id() stays its

    def get(self, source: Source, number: int) -> str:
        if id(source) not in self._split:
            self._split[id(source)] = (source, LINE_BREAK.split(source.text))
        lines = self._split[id(source)][1]
        return lines[number - 1] if 0 < number <= len(lines) else ""


def _title(diagnostic: Diagnostic, paint: _Paint) -> str:
    kind = paint(f"{diagnostic.severity}[{diagnostic.code}]", diagnostic.severity)
    return f"{kind}{paint(': ' + clean(diagnostic.message), 'strong')}"


def _place(span: Span) -> str:
    return f"{clean(span.source.name)}:{span.line}:{span.column}"


def _summary(diagnostics: Sequence[Diagnostic], paint: _Paint) -> str:
    counts = []
    severities: tuple[Severity, ...] = ("error", "warning")
    for severity in severities:
        count = sum(diagnostic.severity == severity for diagnostic in diagnostics)
        if count:
            counts.append((severity, f"{count} {severity}{'s' if count > 1 else ''}"))
    names = {d.primary.span.source.name for d in diagnostics if d.primary is not None}
    where = ""
    if names:
        where = f" in {clean(min(names))}" if len(names) == 1 else f" in {len(names)} files"
    worst = counts[0][0]
    text = ", ".join(count for _, count in counts)
    return f"{paint(worst, worst)}{paint(f': {text}{where}', 'strong')}"


def _concise(diagnostics: Sequence[Diagnostic], paint: _Paint) -> str:
    return "\n".join(
        (f"{_place(d.primary.span)}: " if d.primary is not None else "") + _title(d, paint)
        for d in diagnostics
    )


def _json(diagnostics: Sequence[Diagnostic], paint: _Paint) -> str:
    # Escaping everything beyond ASCII keeps lone surrogates of a file name printable.
    return json.dumps({"diagnostics": [_as_json(d) for d in diagnostics]}, indent=2)


def _as_json(diagnostic: Diagnostic) -> dict[str, Any]:
    return {
        "code": diagnostic.code,
        "severity": diagnostic.severity,
        "message": diagnostic.message,
        **_label_as_json(diagnostic.primary),
        "secondary": [_label_as_json(label) for label in diagnostic.secondary],
        "notes": list(diagnostic.notes),
        "help": diagnostic.help or None,
    }


def _label_as_json(label: Label | None) -> dict[str, Any]:
    span = label.span if label is not None else None
    return {
        "file": span.source.name if span is not None else None,
        "line": span.line if span is not None else None,
        "column": span.column if span is not None else None,
        "end_line": span.end_line if span is not None else None,
        "end_column": span.end_column if span is not None else None,
        "label": (label.message if label is not None else "") or None,
    }


_FORMS: Mapping[Form, Callable[[Sequence[Diagnostic], _Paint], str]] = {
    "full": _full,
    "concise": _concise,
    "json": _json,
}
