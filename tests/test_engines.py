"""Back ends on other engines, devices and dtypes, and what is said where one cannot be used."""

from __future__ import annotations

import dataclasses
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cnnspec.backends import get
from cnnspec.backends.base import Runtime
from cnnspec.backends.runtimes import runnable
from cnnspec.build import build
from cnnspec.check import SpecReport, check
from cnnspec.check.command import command
from cnnspec.check.engines import Child
from cnnspec.check.single import rounded
from cnnspec.diagnostics import SetupError
from cnnspec.document import parse
from cnnspec.graph import Graph
from cnnspec.schema import read_spec

SPEC = """\
cnnspec: 1
name: small
input: [2, 6, 5]
layers:
  - conv: {name: conv1, filters: 4, kernel: 3, padding: same, bias: false}
  - batch_norm: {name: bn1}
  - sequence: {name: features, layers: [{conv: {filters: 3, kernel: 2}}, tanh]}
  - dropout: {p: 0.4}
  - flatten
  - dense: {name: fc, units: 6}
train:
  loss: cross_entropy
  optimizer: {adam: {lr: 0.01}}
"""
KINKS = SPEC.replace("tanh", "relu")
ENGINES = ("keras:jax", "keras:torch")


def graph_of(text: str = SPEC) -> Graph:
    return build(read_spec(parse(text, "small.yaml"))).graph


def only(report: Any) -> SpecReport:
    (found,) = report.specs
    assert isinstance(found, SpecReport)
    return found


def refusal(**options: Any) -> Any:
    with pytest.raises(SetupError) as refused:
        check(graph_of(), **options)
    assert refused.value.exit_status == 2
    (found,) = refused.value.diagnostics
    return found


# --- names -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "canonical", "engine"),
    [
        ("keras", "keras", "tensorflow"),
        ("keras:tensorflow", "keras", "tensorflow"),
        ("keras:jax", "keras:jax", "jax"),
        ("numpy", "numpy", None),
    ],
)
def test_names_of_engines(name: str, canonical: str, engine: str | None) -> None:
    found = runnable(name)
    assert (found.name, found.engine) == (canonical, engine)
    assert found.backend is get(canonical.partition(":")[0])
    assert found.default == (":" not in canonical)


@pytest.mark.parametrize("second", ["keras:tensorflow", "keras"])
def test_one_engine_by_two_names_is_listed_twice(second: str) -> None:
    assert refusal(backends=("numpy", "keras", second)).code == "backend-twice"


def test_an_unknown_engine_lists_the_known_ones() -> None:
    found = refusal(backends=("numpy", "keras:jaks"))
    assert found.code == "unknown-engine"
    assert found.message == "backend `keras` has no engine `jaks`"
    assert found.notes == ("there are `keras:tensorflow`, `keras:jax`, `keras:torch`",)
    assert "`jax`" in found.help


def test_a_back_end_without_a_choice_of_engines() -> None:
    found = refusal(backends=("numpy", "torch:cuda"))
    assert found.code == "unknown-engine"
    assert found.notes == ("`torch` runs on nothing else",)


@pytest.mark.parametrize("name", ENGINES)
def test_an_engine_that_rounds_is_not_checked_in_float64(name: str) -> None:
    found = refusal(backends=("numpy", name), dtype="float64")
    assert found.code == "single-engine"
    assert name in found.message
    assert "float32" in found.notes[0]


def test_an_engine_of_its_own_environment_needs_a_process() -> None:
    found = refusal(backends=("numpy", "keras:jax"), in_process=True)
    assert found.code == "engine-process"


def test_a_plug_in_may_offer_engines(monkeypatch: pytest.MonkeyPatch) -> None:
    from cnnspec import backends
    from cnnspec.backends import numpy as own

    toy: Any = type("Toy", (type(own.BACKEND),), {})()
    toy.name = "toy"
    toy.engines = {"one": Runtime("One", "one"), "two": Runtime("Two", "two", {"TOY": "2"}, "why")}
    monkeypatch.setattr(own, "TOY", toy, raising=False)
    monkeypatch.setitem(backends.BUILT_IN, "toy", "cnnspec.backends.numpy:TOY")
    assert runnable("toy:one").name == "toy"
    assert (runnable("toy:two").environment, runnable("toy:two").single) == ({"TOY": "2"}, "why")


def test_an_engine_that_is_not_installed_says_what_installs_it(tmp_path: Path) -> None:
    (tmp_path / "jax.py").write_text("raise ImportError('No module named jax')\n")
    child = Child(
        "keras:jax", environment={**runnable("keras:jax").environment, "PYTHONPATH": str(tmp_path)}
    )
    emitted = get("keras").emit(graph_of())
    try:
        future = child.submit(
            "open", key="k", backend="keras", emitted=emitted, dtype="float32", engine="jax"
        )
        with pytest.raises(SetupError) as refused:
            future.result()
    finally:
        child.close()
    (found,) = refused.value.diagnostics
    assert found.code == "backend-missing"
    assert found.message == "the keras backend needs Keras and JAX, which cannot be imported"
    assert found.help == "pip install 'cnnspec[jax]'"
    assert refused.value.exit_status == 2


# --- what is compared ------------------------------------------------------------------------


def judged(found: SpecReport, backend: str) -> set[tuple[str, str, str]]:
    return {
        (c.dtype, c.mode, c.quantity)
        for c in found.comparisons
        if c.backends[1] == backend and c.judged and c.name != "learning_rate"
    }


FLOAT32 = {
    ("float32", mode, quantity)
    for mode in ("isolated", "end_to_end")
    for quantity in ("forward", "input_gradient", "parameter_gradient", "running_statistics")
} | {("float32", "end_to_end", "step")}


def test_all_engines_of_keras_agree() -> None:
    """Names with dots, a batch norm, masks, and one update, on both engines at once."""
    found = only(check(graph_of(), backends=("numpy", *ENGINES)))
    assert found.agree, found.first_difference
    for name in ENGINES:
        assert judged(found, name) == FLOAT32
        rates = [c for c in found.comparisons if c.backends == ("spec", name)]
        assert [c.name for c in rates] == ["learning_rate"]
    (note,) = [note for note in found.notes if "float32 alone" in note]
    assert note.startswith("keras:jax, keras:torch: ")


@pytest.mark.nightly
def test_gradients_behind_a_kink_are_reported_in_float32() -> None:
    """A hundred thousand pre-activations: some lie within a few roundings of 0."""
    text = KINKS.replace("[2, 6, 5]", "[2, 90, 91]")
    found = only(check(graph_of(text), backends=("numpy", "keras:torch")))
    assert found.agree, found.first_difference
    unjudged = [c for c in found.comparisons if not c.judged]
    assert {c.reason for c in unjudged} == {"in float32 a decision could flip"}
    assert ("float32", "end_to_end", "forward") in judged(found, "keras:torch")
    assert ("float32", "end_to_end", "parameter_gradient") not in judged(found, "keras:torch")
    assert {c.name for c in unjudged if c.quantity == "step"} >= {"fc.weight", "conv1.weight"}


def edited(tmp_path: Path, old: str, new: str) -> Path:
    text = get("keras").emit(graph_of()).text
    assert old in text
    file = tmp_path / "edited.py"
    file.write_text(text.replace(old, new, 1))
    return file


@pytest.mark.nightly
@pytest.mark.parametrize("name", ENGINES)
@pytest.mark.parametrize(
    ("old", "new", "node", "quantity"),
    [
        ("epsilon=1e-05", "epsilon=1e-02", "bn1", "forward"),
        ("momentum=0.9, epsilon", "momentum=0.8, epsilon", "bn1", "running_statistics"),
        ("0.01, betas", "0.02, betas", "", "step"),
        ("return 0.01", "return 0.011", "", "step"),
    ],
)
def test_a_fault_in_a_file_is_found_on_every_engine(
    tmp_path: Path, name: str, old: str, new: str, node: str, quantity: str
) -> None:
    if old == "0.01, betas":
        pytest.skip("`train_step` sets the learning rate before each update")
    source = {name: (str(edited(tmp_path, old, new)), None)}
    found = only(check(graph_of(), backends=("numpy", name), sources=source))
    assert found.status == "disagree"
    assert found.first_difference is not None
    first = found.first_difference
    assert first.comparison.quantity == quantity
    assert first.comparison.backends[1] == name
    assert node in ("", first.node)


def test_the_maximum_is_the_reports_own() -> None:
    assert get("keras").emit(graph_of(MAXIMUM)).text.count("layers.Maximum") == 0


MAXIMUM = """\
cnnspec: 1
name: ties
input: [3]
layers:
  - dense: {name: a, units: 4}
  - maximum: {name: most, from: [a, a]}
"""
