"""Specs with a fault, and the place where its diagnostic has to be."""

from __future__ import annotations

import pytest

from cnnspec.build import Built, build
from cnnspec.diagnostics import Diagnostic, SpecError
from cnnspec.document import parse
from cnnspec.schema import read_spec

MARK = "@@"


def built(text: str) -> Built:
    return build(read_spec(parse(text, "spec.yaml")))


def errors(text: str) -> tuple[Diagnostic, ...]:
    """Every diagnostic of a spec that has to be refused; each has a place in it."""
    with pytest.raises(SpecError) as caught:
        built(text)
    for diagnostic in caught.value.diagnostics:
        assert diagnostic.primary is not None
        _check_style(diagnostic)
    return caught.value.diagnostics


def check_error(text: str, line: int, column: int, code: str) -> Diagnostic:
    """The only diagnostic of a spec, which has this code and starts at this place."""
    found = errors(text)
    assert [(d.code, *place(d)) for d in found] == [(code, line, column)], found
    return found[0]


def check_marked(text: str, code: str) -> Diagnostic:
    """As `check_error`, the place given by a mark in the text."""
    clean, line, column = unmark(text)
    return check_error(clean, line, column, code)


def unmark(text: str) -> tuple[str, int, int]:
    before, mark, after = text.partition(MARK)
    assert mark, "the text has no mark"
    assert MARK not in after, "the text has two marks"
    return before + after, before.count("\n") + 1, len(before.rpartition("\n")[2]) + 1


def place(diagnostic: Diagnostic) -> tuple[int, int]:
    assert diagnostic.primary is not None
    return diagnostic.primary.span.line, diagnostic.primary.span.column


def spec(*layers: str, input: str = "[3, 12, 16]", more: str = "") -> str:
    """A spec with these layers, one on each line from the fourth."""
    head = f"cnnspec: 1\ninput: {input}\nlayers:\n"
    return head + "".join(f"- {layer}\n" for layer in layers) + more


def _check_style(diagnostic: Diagnostic) -> None:
    assert not diagnostic.message.endswith("."), diagnostic.message
    first = diagnostic.message[:1]
    assert not first.isupper(), diagnostic.message
    assert "Input should" not in diagnostic.message, "pydantic's own words"
