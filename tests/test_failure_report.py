"""What a report says about a difference: how many elements, in which pattern, who, and where."""

from __future__ import annotations

import itertools
import json
from typing import Any

import numpy as np
import pytest

from cnnspec.backends import Emitted, Style, get
from cnnspec.build import build
from cnnspec.check import SpecReport, check
from cnnspec.check.compare import Comparison, compare
from cnnspec.check.formats.document import to_json
from cnnspec.check.hints import Setting, hints
from cnnspec.check.histogram import Histogram, histogram
from cnnspec.check.majority import standing
from cnnspec.check.report import difference
from cnnspec.document import parse
from cnnspec.graph import Graph
from cnnspec.render import render
from cnnspec.schema import read_spec
from tests.test_check import relocate

IMAGE = Setting(("numpy", "torch"), ("sample", "channel", "height", "width"), (2, 3), {60, 20})
RNG = np.random.default_rng(0)
A = RNG.normal(size=(3, 4, 5, 6))
LIMIT = np.full(A.shape, 1e-12)


def said(b: np.ndarray, a: np.ndarray = A, setting: Setting = IMAGE) -> tuple[str, ...]:
    return hints(a, b, np.full(a.shape, 1e-12), setting)


# --- histogram -----------------------------------------------------------------------------------


def test_elements_are_counted_by_error_over_bound() -> None:
    a = np.zeros(9)
    b = np.array([0.0, 0.5, 1.0, 2.0, 50.0, 5e4, 5e7, 5e12, np.nan])
    found = histogram(a, b, np.ones(9))
    assert found == Histogram((3, 1, 1, 1, 1, 1), 0, 1)
    assert (found.wrong, found.elements) == (6, 9)
    line = found.line()
    assert line.startswith("6 of 9 elements are wrong")
    assert "<=1: 3" in line
    assert "1e6-1e9: 1" in line
    assert "not finite: 1" in line


def test_a_bound_of_zero_has_a_bin_of_its_own() -> None:
    found = histogram(np.zeros(3), np.array([0.0, 1e-300, 1.0]), np.zeros(3), 1.0, 0.0)
    assert (found.exact, found.wrong, found.counts[0]) == (2, 2, 1)
    assert "bound 0: 2" in found.line()


def test_unit_and_floor_scale_a_bound() -> None:
    found = histogram(np.zeros(2), np.array([3.0, 5.0]), np.array([1.0, 1.0]), 2.0, 2.0)
    assert found.counts[:2] == (1, 1)


def test_as_many_are_wrong_as_the_comparison_says() -> None:
    b = A.copy()
    b.reshape(-1)[:7] += 1e-3
    found = histogram(A, b, LIMIT)
    assert found.wrong == 7
    whole = histogram(np.zeros((300, 300)), np.ones((300, 300)), np.array(0.5))
    assert whole.wrong == 90_000  # more than a piece


# --- patterns ------------------------------------------------------------------------------------


def edge(*index: Any) -> np.ndarray:
    b = A.copy()
    b[index] += 1.0 + RNG.normal(size=b[index].shape)
    return b


SQUARE = RNG.normal(size=(3, 4, 5, 5))

PATTERNS = [
    (edge(slice(None), slice(None), slice(None), -1), "width 5 of 6 (the last)"),
    (edge(slice(None), 2), "channel 2 of 4"),
    (edge(slice(None), 0, slice(None), 0), "channel 0 of 4 (the first) and width 0 of 6"),
    (edge(0), "wrong only in sample 0 of 3"),
    (A * 1.25, "1.25 times"),
    (A * 60 / 59, "60/59, as between a biased and an unbiased variance of 60 values"),
    (A * np.sqrt(19 / 20), "the root of 19/20"),
    (np.zeros_like(A), "every element of torch's is zero"),
    (np.full_like(A, np.nan), "every element of torch's is NaN"),
    (A[:, :, ::-1, ::-1], "turned round along all axes of space"),
    (A[:, ::-1], "turned round along channel"),
    (A.swapaxes(2, 3).reshape(A.shape), "with height and width swapped"),
    (np.roll(A, 1, 3), "shifted by one along width"),
    (RNG.permutation(A.reshape(-1)).reshape(A.shape), "in another order"),
    (A - 0.125, "numpy's - 0.125 in every element"),
]


@pytest.mark.parametrize(("b", "words"), PATTERNS, ids=[words for _, words in PATTERNS])
def test_a_pattern_is_named(b: np.ndarray, words: str) -> None:
    assert any(words in hint for hint in said(b)), said(b)


def test_swapped_axes_of_a_square() -> None:
    assert "height and width swapped" in said(SQUARE.swapaxes(2, 3), SQUARE)[0]


def test_borders_are_named_by_their_sides() -> None:
    b = A.copy()
    b[:, :, -1, :] += RNG.normal(size=b[:, :, -1, :].shape)
    b[:, :, :, -1] += RNG.normal(size=b[:, :, :, -1].shape)
    (hint,) = said(b)
    assert hint == (
        "wrong only at the border: the last of 5 along height, the last of 6 along width"
    )


def test_nothing_is_said_where_there_is_no_pattern() -> None:
    assert said(A + RNG.normal(size=A.shape)) == ()
    b = A.copy()
    b[1, 2, 3, 4] += 1.0  # a single element is in one row, one column and one channel
    assert said(b) == ()


def test_a_factor_that_is_nearly_constant_is_none() -> None:
    noisy = A * (1.25 + 0.01 * RNG.normal(size=A.shape))
    assert said(noisy) == ()
    one = A * (1 + 1e-9)
    assert "1.000000001 times" in said(one)[0]


def test_the_change_of_a_running_statistic_is_looked_at() -> None:
    before, change = RNG.normal(size=8), RNG.normal(size=8)
    setting = Setting(("numpy", "torch"), ("channel",), (), {60}, before)
    (hint,) = hints(before + change, before + change * 60 / 59, np.full(8, 1e-12), setting)
    assert hint.startswith("the change in torch's is")
    assert "60/59" in hint


# --- majority ------------------------------------------------------------------------------------


def comparisons(values: dict[str, float]) -> list[Comparison]:
    return [
        compare(
            np.full(4, a),
            np.full(4, b),
            1e-3,
            backends=(x, y),
            quantity="forward",
            mode="isolated",
            dtype="float64",
            training=False,
            node="conv1",
            name="conv1",
        )
        for (x, a), (y, b) in itertools.combinations(values.items(), 2)
    ]


@pytest.mark.parametrize(
    ("values", "alone", "sentence"),
    [
        ({"numpy": 1, "torch": 2}, None, ""),
        ({"numpy": 1, "torch": 1, "keras": 2}, "keras", "numpy and torch agree"),
        ({"numpy": 2, "torch": 1, "keras": 1}, "numpy", "torch and keras agree"),
        ({"numpy": 1, "torch": 2, "keras": 3}, None, "no two of numpy, torch and keras agree"),
        (
            {"numpy": 1, "torch": 2, "keras": 2, "jax": 1},
            None,
            "numpy and jax against torch and keras",
        ),
        ({"numpy": 1, "torch": 1.0008, "keras": 1.0016}, None, "agrees with another one"),
    ],
)
def test_who_stands_alone(values: dict[str, float], alone: str | None, sentence: str) -> None:
    every = comparisons(values)
    found = standing(next(c for c in every if not c.agree), every)
    assert found.alone == alone
    assert sentence in found.sentence
    assert bool(found.sentence) == bool(sentence)


def test_answers_held_against_one_exact_one() -> None:
    def star(wrong: tuple[str, ...]) -> list[Comparison]:
        made = comparisons({"numpy": 1, "torch": 2 if "torch" in wrong else 1})
        made += comparisons({"numpy": 1, "keras": 2 if "keras" in wrong else 1})
        return made

    every = star(("keras",))
    assert standing(every[1], every).alone == "keras"
    every = star(("keras", "torch"))
    assert standing(every[1], every).alone is None


# --- a report ------------------------------------------------------------------------------------

SPEC = """\
cnnspec: 1
name: small
input: [2, 6, 5]
define:
  unit:
    parameters: {channels: 4}
    layers:
      - conv: {name: conv1, filters: $channels, kernel: 3, padding: 1}
      - leaky_relu
  outer:
    layers:
      - unit: {name: inner, repeat: 2}
layers:
  - outer: {name: first}
  - flatten
  - dense: {name: fc, units: 3}
"""


def broken(monkeypatch: pytest.MonkeyPatch, backend: str, old: str, new: str) -> None:
    """Plant a fault into what a back end writes, where it writes that."""
    made = get(backend)
    emit = made.emit

    def altered(graph: Graph, style: Style = Style()) -> Emitted:
        emitted = emit(graph, style)
        if old not in emitted.text:
            return emitted
        return relocate(emitted, emitted.text.replace(old, new))

    monkeypatch.setattr(made, "emit", altered)


@pytest.fixture
def report(monkeypatch: pytest.MonkeyPatch) -> SpecReport:
    broken(monkeypatch, "torch", "F.leaky_relu(x, 0.01)", "F.leaky_relu(x, 0.02)")
    graph = build(read_spec(parse(SPEC, "small.yaml"))).graph
    options: dict[str, Any] = {"in_process": True, "dtype": "float64", "steps": 0}
    (found,) = check(graph, backends=("numpy", "torch"), **options).specs
    return found


def test_a_report_names_the_pattern_the_lines_and_both_places(report: SpecReport) -> None:
    found = report.first_difference
    assert found is not None
    assert found.node == "first.inner.0.leaky_relu1"
    text = render([difference(found, report)], "full")
    assert "torch's is 2 times numpy's in every wrong element" in text
    graph = build(read_spec(parse(SPEC, "small.yaml"))).graph
    emitted = get("torch").emit(graph)
    (torch,) = [w for w in found.failure.written if w.backend == "torch"]
    assert emitted.text.splitlines()[torch.line - 1].strip() == torch.text
    assert torch.text == "x = F.leaky_relu(x, 0.02)"
    assert f"torch: line {torch.line} of what `compile -b torch` writes" in text
    places = [(each.path, each.block, each.used.line) for each in found.failure.instances]
    assert places == [("first.inner.0", "unit", 12), ("first", "outer", 14)]


def test_the_place_of_each_instance_is_shown(report: SpecReport) -> None:
    found = report.first_difference
    assert found is not None
    text = render([difference(found, report)], "full")
    assert "--> small.yaml:9:9" in text
    assert "in `first.inner.0`, which is made here" in text
    assert "in `first`, which is made here" in text


def test_the_json_report_carries_it_all(report: SpecReport) -> None:
    from cnnspec.check import Report

    (spec,) = json.loads(to_json(Report([report])))["specs"]
    found = spec["first_difference"]
    assert found["histogram"]["wrong"] == sum(found["histogram"]["counts"][1:])
    assert found["histogram"]["elements"] == 7 * 4 * 6 * 5  # 7 is the first number that is no size
    assert found["alone"] is None
    assert {entry["backend"] for entry in found["emitted"]} == {"numpy", "torch"}
    assert all(entry["line"] > 0 for entry in found["emitted"])
    assert [entry["line"] for entry in found["instances"]] == [12, 14]
    assert found["minimized"] is None


def test_random_layers_are_found_in_the_reproducible_file(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    broken(monkeypatch, "torch", "(1 / (1 - self.p))", "(1 / self.p)")
    text = "cnnspec: 1\nname: small\ninput: [2, 6, 5]\nlayers: [relu, {dropout: {p: 0.3}}]\n"
    graph = build(read_spec(parse(text, "small.yaml"))).graph
    (found,) = check(graph, backends=("numpy", "torch"), in_process=True, dtype="float64").specs
    assert found.first_difference is not None
    written = found.first_difference.failure.written
    assert [w.command for w in written] == [
        "compile -b numpy --reproducible",
        "compile -b torch --reproducible",
    ]
    emitted = get("torch").emit(graph, Style(random="counter"))
    assert emitted.text.splitlines()[written[1].line - 1].strip() == "x = self.dropout1(x)"
