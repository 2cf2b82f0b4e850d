"""What is said of a diagnostic's code, from the page that documents all of them."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from cnnspec.diagnostics import Diagnostic, Severity

# An installed package has the page beside its modules, a checkout has it in docs/.
_PLACES = (
    Path(__file__).parents[2] / "diagnostics.md",
    Path(__file__).parents[3] / "docs" / "diagnostics.md",
)


@dataclass(frozen=True, slots=True)
class Rule:
    """A code, and its section of the page, empty where there is none (of a plug-in)."""

    code: str
    severity: Severity
    page: str

    @property
    def first(self) -> str:
        """The first paragraph of the section that is no code."""
        paragraphs = re.sub(r"(?ms)^```.*?^```$", "", self.page).strip().split("\n\n")
        return " ".join(paragraphs[0].split())


def rules(diagnostics: Iterable[Diagnostic]) -> list[Rule]:
    """The rules of all diagnostics, each once, by code."""
    severities = {found.code: found.severity for found in diagnostics}
    return [
        Rule(code, severity, sections().get(code, ""))
        for code, severity in sorted(severities.items())
    ]


@cache
def sections() -> dict[str, str]:
    """The section of each code, in Markdown."""
    for place in _PLACES:
        if place.is_file():
            _, *parts = re.split(r"(?m)^## ", place.read_text(encoding="utf-8"))
            titles = (part.partition("\n") for part in parts)
            return {title.strip(): text.strip() for title, _, text in titles}
    return {}
