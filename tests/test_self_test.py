"""`check --self-test`: what is planted, what counts, and what is told."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cnnspec.backends import Style, get
from cnnspec.build import build
from cnnspec.check.command import command
from cnnspec.check.options import Options
from cnnspec.check.selftest import command as selftest_command
from cnnspec.check.selftest.choose import in_turn
from cnnspec.check.selftest.edit import edited
from cnnspec.check.selftest.operators import OPERATORS, mutants, operator
from cnnspec.check.selftest.source import Mutant, Source
from cnnspec.check.selftest.trial import Trials, distance
from cnnspec.diagnostics import SetupError
from cnnspec.document import parse
from cnnspec.graph import Graph
from cnnspec.schema import read_spec

FROZEN = """\
cnnspec: 1
input: [3, 8, 8]
layers: [conv: {filters: 3, kernel: 3, trainable: false}, relu]
"""
SPEC = """\
cnnspec: 1
name: small
input: [2, 8, 6]
layers:
  - conv: {name: conv1, filters: 4, kernel: 3, padding: same, stride: [1, 2]}
  - batch_norm: {name: bn1}
  - relu: {name: act1}
  - conv: {name: conv2, filters: 4, kernel: 3, padding: 1}
  - add: {name: sum1, from: [conv2, act1]}
  - max_pool: {name: pool, kernel: 2, stride: 1, padding: [[0, 1], [1, 0]]}
  - leaky_relu: {name: act2, slope: 0.2}
  - dropout: {name: drop, p: 0.4}
  - flatten: {name: flat}
  - dense: {name: fc, units: 5}
train:
  loss: cross_entropy
  optimizer: {sgd: {lr: 0.1, momentum: 0.9, nesterov: true}}
  schedule: {exponential: {gamma: 0.5}}
  epochs: 4
"""
BOTH = ("numpy", "torch")


def graph_of(text: str = SPEC) -> Graph:
    return build(read_spec(parse(text, "small.yaml"))).graph


def source_of(backend: str) -> Source:
    graph = graph_of()
    return Source(get(backend).emit(graph, Style(random="counter")), graph)


def run(tmp_path: Path, **options: Any) -> tuple[int, list[str]]:
    spec = tmp_path / "small.yaml"
    spec.write_text(SPEC)
    said: list[str] = []
    given: dict[str, Any] = {
        "backends": BOTH,
        "form": "text",
        "dtype": "float64",
        "seed": None,
        "steps": 2,
        "inputs": None,
        "save": None,
        "sources": (),
        "in_process": True,
        "self_test": 2,
        "out": said.append,
        "say": said.append,
        **options,
    }
    return command([str(spec)], **given), said


EXPECTED = {
    "numpy": {
        "axes or sides exchanged", "comparison at its bound", "constant of a formula",
        "flag turned", "geometry changed", "loss divided otherwise", "number changed",
        "number of the optimizer", "number of the schedule", "order of elements",
        "schedule one update ahead", "sign of a term", "term of a gradient left out",
        "training and inference mixed up", "wired to another value",
    },
    "torch": {
        "another activation", "bias left out", "eps of another framework",
        "number of the optimizer", "order of elements", "schedule one update ahead",
        "an update in inference mode", "wired to another value",
    },
    "keras": {
        "axes or sides exchanged", "number changed", "number of the optimizer",
        "schedule one update ahead", "sign of a term", "training and inference mixed up",
        "wired to another value",
    },
}  # fmt: skip


@pytest.mark.parametrize("backend", EXPECTED)
def test_the_operators_that_apply_to_a_network_are_found(backend: str) -> None:
    found = mutants(source_of(backend))
    wanted = EXPECTED[backend] - ({"flag turned"} if backend == "numpy" else set())
    assert wanted <= set(found)


@pytest.mark.parametrize("backend", EXPECTED)
def test_a_mutant_says_what_it_changes_and_whose_that_is(backend: str) -> None:
    source = source_of(backend)
    known = {node.id for node in source.graph.nodes}
    for each in mutants(source).values():
        for mutant in each:
            assert mutant.backend == backend
            assert set(mutant.nodes) <= known
            assert bool(mutant.nodes) == (mutant.kind != "training")
            for edit in mutant.edits:
                old = source.text.data[edit.start : edit.end].decode()
                assert f"{old} -> {edit.new}" in mutant.change


def test_nothing_is_planted_into_updates_that_are_never_made() -> None:
    graph = build(read_spec(parse(FROZEN, "frozen.yaml"))).graph
    found = mutants(Source(get("torch").emit(graph, Style()), graph))
    assert found
    assert all(mutant.kind != "training" for each in found.values() for mutant in each)


def test_a_wire_goes_to_a_value_of_the_same_shape() -> None:
    found = mutants(source_of("torch"))["wired to another value"]
    assert {("sum1",)} <= {mutant.nodes for mutant in found}
    for mutant in found:
        planted = edited(source_of("torch").emitted, mutant.edits)
        assert planted.text != source_of("torch").emitted.text


def test_two_operators_of_one_name_are_refused() -> None:
    name = next(iter(OPERATORS))
    with pytest.raises(ValueError, match="two operators are called"):
        operator(name)(lambda source: iter(()))


def test_every_back_end_operator_and_layer_has_its_turn() -> None:
    found = {name: mutants(source_of(name)) for name in BOTH}
    first = [m for m, _ in zip(in_turn(found, 0), range(30), strict=False)]
    assert [m.backend for m in first[:4]] == ["numpy", "torch", "numpy", "torch"]
    of_numpy = [m.operator for m in first if m.backend == "numpy"]
    assert len(set(of_numpy)) == min(len(of_numpy), len(found["numpy"]))
    assert first == [m for m, _ in zip(in_turn(found, 0), range(30), strict=False)]
    assert first != [m for m, _ in zip(in_turn(found, 1), range(30), strict=False)]
    every = sum(len(each) for operators in found.values() for each in operators.values())
    assert len(list(in_turn(found, 0))) == every


def trials() -> Trials:
    graph = graph_of()
    return Trials(graph, "small.yaml", Options(backends=BOTH, in_process=True, steps=2), {})


def planted(old: str, new: str, backend: str = "numpy") -> Mutant:
    from cnnspec.check.selftest.edit import replaced

    source = source_of(backend)
    edits = tuple(replaced(source.emitted.text, old, new))
    return Mutant("test", backend, edits, 1, f"{old} -> {new}", "helper", ("act2",))


@pytest.mark.parametrize(
    ("old", "new", "outcome"),
    [
        ("leaky_relu(x, 0.2)", "leaky_relu(x, 0.1)", "caught"),
        ("leaky_relu(x, 0.2)", "leaky_relu(x, 0.2 * 1)", "no effect"),
        ("np.where(x > 0, g, slope * g)", "np.where(x > 0, g, slope * g * 3 / 3)", "rounding only"),
        ("leaky_relu(x, 0.2)", "leaky_relu(x, 0.2, 0.3)", "refused"),
        ("leaky_relu(x, 0.2)", "leaky_relu(x, 0.2", "refused"),
    ],
)
def test_what_becomes_of_a_mutant(old: str, new: str, outcome: str) -> None:
    from cnnspec.check.engines import InProcess

    runner = trials()
    runner.engines["torch"] = InProcess("torch")
    trial = runner.run(planted(old, new))
    assert trial.outcome == outcome
    assert trial.right == (outcome == "caught")


def test_a_fault_that_the_check_does_not_see_escapes(monkeypatch: pytest.MonkeyPatch) -> None:
    from cnnspec.check.options import SpecReport

    runner = trials()
    monkeypatch.setattr(runner, "_check", lambda mutant: SpecReport("small.yaml"))
    trial = runner.run(planted("leaky_relu(x, 0.2)", "leaky_relu(x, 0.1)"))
    assert trial.outcome == "escaped"


def test_distances_are_counted_in_units_of_the_last_place() -> None:
    a, b = ("", "values", "a"), ("", "values", "b")
    one = {a: np.array([1.0, -2.0]), b: np.array([0.0])}
    assert distance(one, dict(one)) == 0
    assert distance(one, {**one, b: np.array([-0.0])}) == 0
    assert distance(one, {**one, a: np.array([1.0, -2.0 * (1 + 2.0**-52)])}) == 2
    assert distance(one, {**one, b: np.array([1e-300])}) == np.inf
    assert distance(one, {**one, a: np.array([1.0])}) == np.inf
    assert distance(one, {a: one[a]}) == np.inf


def test_the_table_and_the_exit_status(tmp_path: Path) -> None:
    status, said = run(tmp_path)
    text = "\n".join(said)
    assert status == 0, text
    assert "2 of 2 caught, layer named right 2 of 2" in said[-1]
    assert "operator" in text
    assert "numpy:" in text
    assert "torch:" in text


def test_the_document(tmp_path: Path) -> None:
    status, (text,) = run(tmp_path, form="json", self_test=1)
    assert status == 0
    (spec,) = json.loads(text)["specs"]
    assert (spec["status"], spec["planted"], spec["caught"]) == ("agree", 1, 1)
    promised = "operator backend line change layers spec_lines outcome node quantity seconds"
    assert all(set(promised.split()) <= set(fault) for fault in spec["faults"])


def test_an_escape_is_an_exit_status(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def escape(self: Trials, mutant: Mutant) -> Any:
        from cnnspec.check.selftest.trial import Trial

        return dataclasses.replace(Trial(mutant, "escaped"))

    monkeypatch.setattr(Trials, "run", escape)
    status, said = run(tmp_path)
    assert status == 1
    assert "ESCAPED" in "\n".join(said)
    assert "0 of 2 caught" in said[-1]


def test_a_spec_that_is_wrong_is_told_and_nothing_is_planted(tmp_path: Path) -> None:
    (tmp_path / "small.yaml").write_text("cnnspec: 1\n")
    said: list[str] = []
    status = command(
        [str(tmp_path / "small.yaml")],
        backends=BOTH,
        form="text",
        dtype=None,
        seed=None,
        steps=None,
        inputs=None,
        save=None,
        sources=(),
        in_process=True,
        self_test=3,
        out=said.append,
    )
    assert status == 1
    assert "the spec is wrong" in said[0]


def test_it_goes_alone(tmp_path: Path) -> None:
    with pytest.raises(SetupError) as caught:
        run(tmp_path, save=str(tmp_path / "out"))
    assert [d.code for d in caught.value.diagnostics] == ["self-test-alone"]


def test_a_text_without_a_place_for_a_fault_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(selftest_command, "mutants", lambda source: {})
    with pytest.raises(SetupError, match="no fault could be planted"):
        run(tmp_path)


@pytest.mark.nightly
@pytest.mark.parametrize("backend", ["torch", "keras"])
def test_faults_of_every_operator_are_caught(tmp_path: Path, backend: str) -> None:
    status, said = run(tmp_path, backends=("numpy", backend), self_test=60)
    assert status == 0, "\n".join(said)
