"""Collects the diagnostics of one phase: over one document, or over several and their blocks."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field

from cnnspec.diagnostics import Diagnostic, Label, Severity, Span, SpecError
from cnnspec.document import Document, Path
from cnnspec.quote import quoted, shown

__all__ = ["MOST_FAULTS", "Faults", "quoted", "shown"]

MOST_FAULTS = 100
"""After so many errors a phase ends: nobody reads more, and each may cost a search for a name."""

MOST_USES = 8
"""So many places of use are shown for a fault inside blocks of blocks."""


@dataclass(slots=True, eq=False)
class Faults:
    """Diagnostics of a phase, found so far.

    Attributes:
        document: that their paths refer to.
        found: in the order in which they were added.
        expanded: where the block was used that they are found in, innermost first.
        told: codes and places of what was found inside blocks: it is told for one instance.
    """

    document: Document
    found: list[Diagnostic] = field(default_factory=list)
    expanded: tuple[Span, ...] = ()
    told: set[tuple[str, Span]] = field(default_factory=set)

    def of(self, document: Document, expanded: tuple[Span, ...] = ()) -> Faults:
        """The same collection, for another document or an instance of a block."""
        return Faults(document, self.found, expanded, self.told)

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
        within: tuple[int, int] | None = None,
    ) -> None:
        """Report a fault of the value at a path, or of the last key in it.

        What the text does not hold, such as the fields of a bare word, is placed at the longest
        part of the path that it does hold. Of a string, `within` are the characters at fault.

        Raises:
            SpecError: there are `MOST_FAULTS` errors now.
        """
        span = self.document.key_spans.get(path) if key else None
        span = span or self.document.span(path)
        if within is not None:
            span = self.document.part(path, *within)
        if self.expanded:
            if (code, span) in self.told:
                return
            self.told.add((code, span))
            uses = self.expanded[:MOST_USES]
            secondary = (*secondary, *(Label(use, "used here") for use in uses))
        self.found.append(Diagnostic(code, message, Label(span), secondary, notes, help, severity))
        if severity == "error" and self.errors >= MOST_FAULTS:
            self.raise_any()

    def pass_on(self, error: SpecError, label: Label) -> None:
        """Take over what another phase has found, with a label that says why it was looked for.

        Raises:
            SpecError: there are `MOST_FAULTS` errors now.
        """
        for diagnostic in error.diagnostics:
            secondary = (*diagnostic.secondary, label)
            self.found.append(dataclasses.replace(diagnostic, secondary=secondary))
        if self.errors >= MOST_FAULTS:
            self.raise_any()

    @property
    def errors(self) -> int:
        """How many of them are errors."""
        return sum(d.severity == "error" for d in self.found)

    def sorted(self) -> list[Diagnostic]:
        """All of them, in the order of the text."""
        order = {self.document.name: 0}  # the root's first
        for diagnostic in self.found:
            if diagnostic.primary is not None:
                order.setdefault(diagnostic.primary.span.source.name, len(order))
        return sorted(self.found, key=lambda each: _place(each, order))

    def raise_any(self) -> None:
        """Raise SpecError with everything found if there was an error."""
        if self.errors:
            raise SpecError(self.sorted())


def _place(diagnostic: Diagnostic, order: Mapping[str, int]) -> tuple[int, int, int]:
    label = diagnostic.primary
    if label is None:
        return (0, 0, 0)
    return order[label.span.source.name], label.span.line, label.span.column
