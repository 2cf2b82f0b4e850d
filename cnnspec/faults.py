"""Collects the diagnostics of one phase over one document."""

from __future__ import annotations

from dataclasses import dataclass, field

from cnnspec.diagnostics import Diagnostic, Label, Severity, SpecError
from cnnspec.document import Document, Path
from cnnspec.quote import quoted, shown

__all__ = ["MOST_FAULTS", "Faults", "quoted", "shown"]

MOST_FAULTS = 100
"""After so many errors a phase ends: nobody reads more, and each may cost a search for a name."""


@dataclass(slots=True)
class Faults:
    """Diagnostics of a phase, found so far.

    Attributes:
        document: that their paths refer to.
        found: in the order in which they were added.
    """

    document: Document
    found: list[Diagnostic] = field(default_factory=list)

    def add(
        self,
        code: str,
        path: Path,
        message: str,
        *,
        help: str = "",
        key: bool = False,
        secondary: tuple[Label, ...] = (),
        notes: tuple[str, ...] = (),
        severity: Severity = "error",
    ) -> None:
        """Report a fault of the value at a path, or of the last key in it.

        What the text does not hold, such as the fields of a bare word, is placed at the longest
        part of the path that it does hold.

        Raises:
            SpecError: there are `MOST_FAULTS` errors now.
        """
        span = self.document.key_spans.get(path) if key else None
        span = span or self.document.span(path)
        self.found.append(Diagnostic(code, message, Label(span), secondary, notes, help, severity))
        if severity == "error" and self.errors >= MOST_FAULTS:
            self.raise_any()

    @property
    def errors(self) -> int:
        """How many of them are errors."""
        return sum(d.severity == "error" for d in self.found)

    def sorted(self) -> list[Diagnostic]:
        """All of them, in the order of the text."""
        return sorted(self.found, key=_place)

    def raise_any(self) -> None:
        """Raise SpecError with everything found if there was an error."""
        if self.errors:
            raise SpecError(self.sorted())


def _place(diagnostic: Diagnostic) -> tuple[int, int]:
    label = diagnostic.primary
    return (0, 0) if label is None else (label.span.line, label.span.column)
