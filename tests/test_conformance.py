"""The node tests of ONNX: each passes, differs with a proof, or is unsupported with a reason."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import replace
from importlib.metadata import version
from typing import Any

import numpy as np
import pytest

pytest.importorskip("onnx", reason="the cases come with onnx: pip install 'cnnspec[onnx]'")

from tests.conformance import absent, convert, judge
from tests.conformance.accounting import BACKENDS, Entry, entries, limits, unexpected
from tests.conformance.differences import DIFFERENCES
from tests.conformance.page import PAGE, page


@pytest.fixture(scope="module")
def found() -> tuple[Entry, ...]:
    return entries()


@pytest.fixture(scope="module")
def sample(found: tuple[Entry, ...]) -> list[Entry]:
    """The first case of each op that passes; one per op is what a pull request has time for."""
    passed = [entry for entry in reversed(found) if entry.state == "passed"]
    return list({entry.case.op: entry for entry in passed}.values())


# --- every case has its place ------------------------------------------------------------------


def test_every_op_is_converted_or_known_to_be_absent(found: tuple[Entry, ...]) -> None:
    ops = {entry.case.op for entry in found}
    assert not set(convert.CONVERTERS) & set(absent.ABSENT)
    assert set(convert.CONVERTERS) | set(absent.ABSENT) == ops


def test_every_case_is_in_one_place(found: tuple[Entry, ...]) -> None:
    names = [entry.case.name for entry in found]
    assert len(set(names)) == len(names)
    for entry in found:
        assert (entry.network is None) == (entry.state == "unsupported")
        assert bool(entry.reason) == (entry.state != "passed")
        if entry.network is not None:
            _require_all_outputs(entry)
    different = {entry.case.name for entry in found if entry.state == "differs"}
    assert different == set(DIFFERENCES)


def _require_all_outputs(entry: Entry) -> None:
    """Each output of the node is judged, or left out by name; none is empty."""
    network = entry.network
    assert network is not None
    judged = len(network.expected) + len(network.statistics) + (network.loss is not None)
    assert judged
    assert judged + len(network.left_out) == len(entry.case.outputs), entry.case.name
    assert all(value.size for value in (*network.expected.values(), *network.statistics.values()))


def test_the_page_is_not_stale(found: tuple[Entry, ...]) -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert page(found, version("onnx")) == text, "`make conformance` writes it anew"


def test_the_page_counts_every_case(found: tuple[Entry, ...]) -> None:
    text = PAGE.read_text(encoding="utf-8")
    states = Counter(entry.state for entry in found)
    labels = ("passed by", "different,", "unsupported")
    counted = [
        re.search(rf"^\| {label}.* \| ([0-9,]+) \|$", text, re.MULTILINE) for label in labels
    ]
    numbers = [int(match[1].replace(",", "")) if match else None for match in counted]
    assert numbers == [states["passed"], states["differs"], states["unsupported"]]
    for entry in found:
        if entry.reason and entry.reason != convert.BODY and entry.case.op in convert.CONVERTERS:
            assert f"`{entry.case.name}`" in text


def test_a_function_body_has_the_data_of_its_case(found: tuple[Entry, ...]) -> None:
    cases = {entry.case.name: entry.case for entry in found}
    bodies = [entry.case for entry in found if entry.reason == convert.BODY]
    assert bodies
    for body in bodies:
        base = cases[body.base]
        assert not base.body
        _same(body.inputs, base.inputs)
        _same(tuple(body.outputs.values()), tuple(base.outputs.values()))


def _same(left: tuple[Any, ...], right: tuple[Any, ...]) -> None:
    assert len(left) == len(right)
    for a, b in zip(left, right, strict=True):
        assert (a is None) == (b is None)
        assert a is None or np.array_equal(a, b, equal_nan=np.asarray(a).dtype.kind == "f")


# --- cases do what their place says ------------------------------------------------------------


@pytest.mark.parametrize("backend", BACKENDS)
def test_one_case_of_each_op_passes(sample: list[Entry], backend: str) -> None:
    assert len(sample) > 60
    assert not unexpected(sample, [backend])


@pytest.mark.nightly
@pytest.mark.parametrize("backend", BACKENDS)
def test_every_case_passes_or_differs(found: tuple[Entry, ...], backend: str) -> None:
    assert not unexpected([entry for entry in found if entry.network is not None], [backend])


@pytest.mark.parametrize("name", DIFFERENCES)
def test_a_difference_is_proven(found: tuple[Entry, ...], name: str) -> None:
    (entry,) = (entry for entry in found if entry.case.name == name)
    difference, case = DIFFERENCES[name], entry.case
    followed = difference.followed(case)
    assert np.abs(followed - case.expected).max() <= difference.tolerance
    assert entry.network is not None
    documented = difference.documented(case)
    right = replace(entry.network, expected={"y0": documented.astype(case.expected.dtype)})
    assert not unexpected([replace(entry, state="passed", network=right)])
    assert not unexpected([entry])  # and the expected values are refused


# --- the judge ---------------------------------------------------------------------------------


def test_a_wrong_element_is_noticed(sample: list[Entry]) -> None:
    """One that is off by twice what ONNX itself would grant; our bounds are narrower mostly."""
    for entry in sample:
        assert entry.network is not None
        for name, value in entry.network.expected.items():
            wrong = value.copy()
            step = 1 if value.dtype.kind in "iu" else 2e-3 * max(1.0, np.abs(value).max())
            wrong.flat[-1] += value.dtype.type(step)
            moved = replace(entry.network, expected=entry.network.expected | {name: wrong})
            refused = [c.name for c in judge.judge(moved, "numpy", limits(entry)) if not c.agree]
            assert refused == [name], entry.case.name


def test_a_wrong_loss_and_a_wrong_statistic_are_noticed(found: tuple[Entry, ...]) -> None:
    networks = {entry.case.name: entry.network for entry in found}
    loss, norm = networks["sce_mean"], networks["batchnorm_example_training_mode"]
    assert loss is not None
    assert loss.loss is not None
    wrong = replace(loss, loss=replace(loss.loss, expected=loss.loss.expected * 1.0001))
    assert [(c.name, c.agree) for c in judge.judge(wrong, "numpy")] == [("loss", False)]
    assert norm is not None
    name = next(iter(norm.statistics))
    wrong = replace(norm, statistics=norm.statistics | {name: norm.statistics[name] * 1.0001})
    assert [c.name for c in judge.judge(wrong, "numpy") if not c.agree] == [name]
