"""A check's report as Markdown, for a pull request or the summary of a CI step.

Names and messages come from files: in tables they are HTML text, so that nothing of them is
markup, and in details they are code.
"""

from __future__ import annotations

import html
import re

from cnnspec.check.compare import severity
from cnnspec.check.options import Report, SpecReport
from cnnspec.check.report import largest_relative, tally, to_text, verdict
from cnnspec.render import clean, render

MOST_CHARACTERS = 400_000
"""Of details: GitHub takes a summary of at most 1 MiB, of which a character may be two bytes."""

HEAD = "| | spec | outcome | comparisons | largest error | error/bound |\n|---|---|---|--:|--:|--:|"


def to_markdown(report: Report) -> str:
    """A title that counts, a row for each spec, and what `check` prints in details."""
    parts = [f"## cnnspec check: {tally(report) if report.specs else 'nothing was checked'}"]
    if report.diagnostics:
        parts.append(_code(render(report.diagnostics)))
    if report.specs:
        parts.append("\n".join([HEAD, *(_row(spec) for spec in report.specs)]))
    for library in report.libraries:
        parts.append(f"{_cell(library)}: a library of blocks, which is not checked")
    left = MOST_CHARACTERS
    for spec in sorted(report.specs, key=lambda each: each.agree):  # what is wrong comes first
        text = to_text(Report([spec]))
        left -= len(text)
        if left < 0:
            parts.append("More details would be too long for a summary.")
            break
        title = f"<summary>{_cell(spec.spec)}: {_escape(verdict(spec))}</summary>"
        parts.append(f"<details>{title}\n\n{_code(text)}\n\n</details>")
    return "\n\n".join(parts)


def _row(spec: SpecReport) -> str:
    judged = [c for c in spec.comparisons if c.judged]
    numbers = ["", "", ""]
    if judged:
        worst = max(severity(c) for c in judged)
        numbers = [f"{len(judged):,}", f"{largest_relative(judged):.1e}", f"{worst:.2g}"]
    outcome = {"agree": "agree", "disagree": "**disagree**"}.get(spec.status, "")
    cells = [
        "✅" if spec.agree else "❌",
        _cell(spec.spec),
        outcome or f"**{_escape(verdict(spec))}**",
        *numbers,
    ]
    return f"| {' | '.join(cells)} |"


def _cell(text: str) -> str:
    return f"<code>{_escape(text)}</code>"


def _escape(text: str) -> str:
    """Text that is nothing but text, in a table too."""
    plain = html.escape(clean(text))
    return re.sub(r"[|`*_\[\]\\~]", lambda found: f"&#{ord(found.group())};", plain)


def _code(text: str) -> str:
    """A block of code, whatever is in it."""
    longest = max((len(run) for run in re.findall("`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}text\n{text}\n{fence}"
