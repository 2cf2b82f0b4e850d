"""The checker checked: every planted fault is found by default, and its layer named."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from cnnspec.backends.base import Emitted, Place, Range
from cnnspec.check.engines import Engine, engines
from cnnspec.check.selftest.edit import EditError, edited, replaced
from tests.faults.fault import KERAS, NUMPY, TORCH, Fault
from tests.faults.table import FAULTS

EVERY = 16
"""Of the faults of NumPy and torch so many stand for one in the default suite."""
QUICK = {fault.id for fault in [f for f in FAULTS if f.backend != KERAS][::EVERY]}


def entry(fault: Fault) -> Any:
    """Most of them take their time at night."""
    marks = [] if fault.id in QUICK else [pytest.mark.nightly]
    return pytest.param(fault, id=fault.id, marks=marks)


@pytest.fixture(scope="module")
def made() -> Iterator[dict[str, Engine]]:
    with engines([TORCH, KERAS], in_process=True) as found:
        yield found


@pytest.mark.parametrize("fault", [entry(fault) for fault in FAULTS])
def test_a_planted_fault_is_caught_and_named(fault: Fault, made: dict[str, Engine]) -> None:
    report = fault.check(made)
    assert report.status == "disagree", [d.message for d in report.diagnostics]
    assert fault.named_right(report), fault.named(report)


def test_the_table_covers_all_back_ends_and_quantities() -> None:
    assert len(FAULTS) >= 60
    assert len({fault.id for fault in FAULTS}) == len(FAULTS)
    assert min(Counter(fault.backend for fault in FAULTS)[b] for b in (NUMPY, TORCH, KERAS)) >= 20
    quantities = {"forward", "input_gradient", "parameter_gradient", "running_statistics"}
    assert quantities <= {fault.quantity for fault in FAULTS}
    assert {".loss", ".learning_rate"} <= {fault.quantity for fault in FAULTS}


# --- edits --------------------------------------------------------------------------------------

TEXT = "x = conv(x)\ny = add(x, skip)\n"


def emitted() -> Emitted:
    lines = {
        "conv": Place(Range(1, 4, 1, 11), (Range(1, 9, 1, 10),)),
        "add": Place(Range(2, 4, 2, 16), (Range(2, 8, 2, 9), Range(2, 11, 2, 15))),
    }
    return Emitted(TEXT, "torch", "Net", {}, lines, (), ())


def pieces(made: Emitted) -> dict[str, list[str]]:
    """What stands where a node and its inputs are said to stand."""

    def read(place: Range) -> str:
        assert place.line == place.end_line
        return made.text.splitlines()[place.line - 1][place.column : place.end_column]

    return {id: [read(r) for r in (p.range, *p.inputs)] for id, p in made.lines.items()}


@pytest.mark.parametrize(
    ("old", "new", "add"),
    [
        ("skip", "other", ["add(x, other)", "x", "other"]),
        ("x = conv(x)", "z = 1\nx = conv(x)", ["add(x, skip)", "x", "skip"]),
        ("add(x, skip)", "sub(2 * skip, x)", ["sub(2 * skip, x)", "x", "skip"]),
        ("skip", "skip.detach()", ["add(x, skip.detach())", "x", "skip"]),
        ("add(x, skip)", "add(x, skip) + 1", ["add(x, skip) + 1", "x", "skip"]),
    ],
)
def test_layers_are_found_again_in_edited_text(old: str, new: str, add: list[str]) -> None:
    assert pieces(edited(emitted(), replaced(TEXT, old, new)))["add"] == add


def test_an_edit_that_cannot_be_followed_is_refused() -> None:
    with pytest.raises(EditError, match="occurs 3 times, not 1"):
        replaced(TEXT, "x", "z")
    with pytest.raises(EditError, match="cuts through"):
        edited(emitted(), replaced(TEXT, "v(x)\ny = a", "v(x); y = b"))
    with pytest.raises(EditError, match="leaves 0 inputs"):
        edited(emitted(), replaced(TEXT, "add(x, skip)", "add(skip)"))
