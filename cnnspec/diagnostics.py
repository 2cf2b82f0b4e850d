"""Diagnostics as data: what is wrong, where, and what would mend it; rendering is elsewhere.

A user's mistake raises `UserError` and nothing else. Any other exception is a bug of ours and
keeps its traceback.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

Severity = Literal["error", "warning"]


@dataclass(frozen=True, slots=True, eq=False)
class Source:
    """A text that spans point into.

    Attributes:
        name: the path as the user wrote it, or a name such as `<string>`.
        text: the whole text, decoded.
    """

    name: str
    text: str

    def __repr__(self) -> str:
        return f"Source({self.name!r})"


@dataclass(frozen=True, slots=True)
class Span:
    """A range of characters in a source; lines and columns count from 1, the end is exclusive."""

    source: Source
    line: int
    column: int
    end_line: int
    end_column: int


@dataclass(frozen=True, slots=True)
class Label:
    """A span with a short remark, for example the other place that a clash is with."""

    span: Span
    message: str = ""


@dataclass(frozen=True, slots=True)
class Diagnostic:
    """One fault, stated once.

    Attributes:
        code: stable kebab-case name of the fault; every code has a page in docs/diagnostics.md.
        message: the fault in one line, lower-case, no final full stop, no suggestion.
        primary: where it is, with an optional remark; None where there is no place (a missing
            back end, a weights file, whose place is its name in the message).
        secondary: other places that matter.
        notes: facts that help to understand, such as the shape table up to the failing layer.
        help: what would mend it, with its numbers; empty if nothing can be said.
        severity: warnings never change the exit status, unless `--strict` is given.
    """

    code: str
    message: str
    primary: Label | None = None
    secondary: tuple[Label, ...] = ()
    notes: tuple[str, ...] = ()
    help: str = ""
    severity: Severity = "error"


class UserError(Exception):
    """A mistake in what the user gave; carries every diagnostic of the phase that found it."""

    exit_status = 1

    def __init__(self, diagnostics: Diagnostic | Iterable[Diagnostic]) -> None:
        if isinstance(diagnostics, Diagnostic):
            diagnostics = (diagnostics,)
        self.diagnostics: tuple[Diagnostic, ...] = tuple(diagnostics)
        if not self.diagnostics:
            raise ValueError("a UserError needs at least one diagnostic")
        super().__init__("; ".join(_brief(d) for d in self.diagnostics))

    def __reduce__(self) -> tuple[type[UserError], tuple[tuple[Diagnostic, ...]]]:
        # An exception is sent to another process as its class and arguments.
        return type(self), (self.diagnostics,)


class SpecError(UserError):
    """The spec is wrong; every diagnostic has a position in it."""


class DataError(UserError):
    """Weights, data or a checkpoint are wrong; the message names the file and the key or offset."""


class SetupError(UserError):
    """The surroundings are wrong: a missing back end, an unreadable file, bad usage."""

    exit_status = 2


def _brief(diagnostic: Diagnostic) -> str:
    if diagnostic.primary is None:
        return diagnostic.message
    span = diagnostic.primary.span
    return f"{span.source.name}:{span.line}:{span.column}: {diagnostic.message}"


def closest(word: str, choices: Iterable[str]) -> str | None:
    """The choice that `word` is probably a misspelling of, or None."""
    import difflib

    found = difflib.get_close_matches(word, list(choices), n=1, cutoff=0.6)
    return found[0] if found else None


def did_you_mean(word: str, choices: Sequence[str]) -> str:
    """A help text such as "did you mean `kernel`?", or the list of what there is."""
    guess = closest(word, choices)
    if guess is not None:
        return f"did you mean `{guess}`?"
    return "there is " + ", ".join(f"`{c}`" for c in sorted(choices)) if choices else ""
