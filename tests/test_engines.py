"""Back ends on other engines, devices and dtypes, and what is said where one cannot be used."""

from __future__ import annotations

import json
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
    found = refusal(backends=("numpy", "keras:jaxx"))
    assert found.code == "unknown-engine"
    assert found.message == "backend `keras` has no engine `jaxx`"
    assert found.notes == ("there are `keras:tensorflow`, `keras:jax`, `keras:torch`",)
    assert found.help == "did you mean `keras:jax`?"


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


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ({"dtype": "float16"}, "unknown-dtype"),
        ({"device": "tpu"}, "unknown-device"),
        ({"dtype": "bfloat16", "sources": {"torch": (__file__, None)}}, "source-unused"),
    ],
)
def test_what_nothing_is_checked_on(options: dict[str, Any], code: str) -> None:
    assert refusal(backends=("numpy", "torch"), **options).code == code


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
} | {("float32", "end_to_end", "step"), ("float32", "initial", "initializer")}


TINY = """\
cnnspec: 1
name: tiny
input: [3]
layers:
  - sequence: {name: head, layers: [batch_norm, {dense: {units: 2}}]}
train: {loss: mean_squared_error, optimizer: {sgd: {lr: 0.01}}}
"""


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("keras:jax", TINY),  # which compiles every op for every shape
        ("keras:torch", SPEC),
        pytest.param("keras:jax", SPEC, marks=pytest.mark.nightly),
    ],
)
def test_engines_of_keras_agree(name: str, text: str) -> None:
    """Names with dots, a batch norm, masks, and one update."""
    found = only(check(graph_of(text), backends=("numpy", name)))
    assert found.agree, found.first_difference
    assert judged(found, name) == FLOAT32
    rates = [c for c in found.comparisons if c.backends == ("spec", name)]
    assert [c.name for c in rates if c.quantity == "step"] == ["learning_rate"]
    (note,) = [note for note in found.notes if "float32 alone" in note]
    assert note.startswith(f"{name}: ")


@pytest.mark.nightly
@pytest.mark.parametrize("name", ["keras:torch", "keras:jax"])
@pytest.mark.parametrize("spec", ["lenet5", "two_towers", "mini_resnet", "keras_mnist"])
def test_specs_agree_on_every_engine(spec: str, name: str) -> None:
    path = Path(__file__).parents[1] / "specs" / f"{spec}.yaml"
    found = only(check(path, backends=("numpy", name), reduce=True))
    assert found.agree, found.first_difference


@pytest.mark.nightly
@pytest.mark.parametrize("name", ENGINES)
def test_a_compiled_step_gives_the_same_verdict(name: str) -> None:
    found = only(check(graph_of(), backends=("numpy", name), graph=True))
    assert found.agree, found.first_difference
    assert judged(found, name) == FLOAT32


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
        ("return 0.01", "return 0.011", "", "step"),
    ],
)
def test_a_fault_in_a_file_is_found_on_every_engine(
    tmp_path: Path, name: str, old: str, new: str, node: str, quantity: str
) -> None:
    source = {name: (str(edited(tmp_path, old, new)), None)}
    found = only(check(graph_of(), backends=("numpy", name), sources=source))
    assert found.status == "disagree"
    assert found.first_difference is not None
    first = found.first_difference
    assert first.comparison.quantity == quantity
    assert first.comparison.backends[1] == name
    assert node in ("", first.node)


ENGINES_DIFFER = """\
cnnspec: 1
name: differing
input: [4, 6, 7]
layers:
  - maximum: {name: ties, from: [input, input]}
  - avg_pool: {name: uneven, kernel: 3, stride: 2, padding: same}
  - layer_norm: {name: front, axes: [height]}
  - batch_norm: {name: biased, running_var: biased}
"""


@pytest.mark.nightly
@pytest.mark.parametrize("name", ENGINES)
def test_what_engines_of_keras_do_differently_is_written_out(name: str) -> None:
    """Keras' own layers for these are wrong on PyTorch, or share gradients on both."""
    found = only(check(graph_of(ENGINES_DIFFER), backends=("numpy", "keras", name)))
    assert found.agree, found.first_difference


# --- dtypes, devices, weights ------------------------------------------------------------------


def test_bfloat16_is_the_upper_half_of_float32() -> None:
    found = rounded(np.array([1 + 2**-8, 1 + 3 * 2**-8, 1 + 2**-8 + 2**-20, -0.1, 0.0]), "bfloat16")
    assert found.tolist() == [1.0, 1 + 2**-6, 1 + 2**-7, -0.10009765625, 0.0]
    assert found.dtype == np.float32


def test_bfloat16_is_judged_layer_by_layer() -> None:
    found = only(check(graph_of(), backends=("numpy", "torch"), dtype="bfloat16", in_process=True))
    assert found.agree, found.first_difference
    assert {(c.dtype, c.mode, c.backends) for c in found.comparisons} == {
        ("bfloat16", "isolated", ("numpy", "torch"))
    }
    assert max(c.max_error for c in found.comparisons) > 1e-4  # it is no float32


def test_a_device_that_is_not_there() -> None:
    torch = pytest.importorskip("torch")
    if torch.cuda.is_available():
        pytest.skip("there is one")
    report = check(graph_of(), backends=("numpy", "torch"), device="cuda", in_process=True)
    assert report.status == "environment"
    (found,) = only(report).diagnostics
    assert (found.code, "no GPU" in found.message) == ("unknown-device", True)


def weights_file(tmp_path: Path, **changed: Any) -> str:
    from safetensors.numpy import save_file

    from cnnspec.check import samples

    state = {**samples.weights(graph_of(), 3), **changed}
    save_file({n: v for n, v in state.items() if v is not None}, tmp_path / "w.safetensors")
    return str(tmp_path / "w.safetensors")


def run(tmp_path: Path, **options: Any) -> tuple[int, list[str]]:
    (tmp_path / "small.yaml").write_text(SPEC)
    said: list[str] = []
    given: dict[str, Any] = {
        "backends": ("numpy", "torch"),
        "form": "json",
        "dtype": "float64",
        "seed": None,
        "steps": 1,
        "inputs": None,
        "save": None,
        "sources": (),
        "in_process": True,
        "out": said.append,
        "say": said.append,
        **options,
    }
    return command([str(tmp_path / "small.yaml")], **given), said


def test_weights_of_a_file_are_those_that_are_checked(tmp_path: Path) -> None:
    found = run(tmp_path, weights=weights_file(tmp_path))
    others = run(tmp_path)
    assert (found[0], others[0]) == (0, 0)
    a, b = (json.loads(said[0])["specs"][0]["comparisons"] for _, said in (found, others))
    assert [c["name"] for c in a] == [c["name"] for c in b]
    assert [c["worst"] for c in a] != [c["worst"] for c in b]


@pytest.mark.parametrize(
    ("changed", "code", "words"),
    [
        ({"fc.bias": np.array([0, 1, np.nan, 0, 0, 0])}, "weight-not-finite", "at index [2]"),
        ({"fc.bias": np.full(6, np.inf)}, "weight-not-finite", "inf"),
        ({"fc.bias": None}, "weight-missing", "`fc.bias`"),
        ({"fc.more": np.zeros(2)}, "weight-unexpected", "`fc.more`"),
        ({"fc.bias": np.zeros(5)}, "weight-shape", "[5]"),
        ({"fc.bias": np.zeros(6, np.int64)}, "weight-dtype", "i64"),
    ],
)
def test_wrong_weights_are_named(
    tmp_path: Path, changed: dict[str, Any], code: str, words: str
) -> None:
    status, said = run(tmp_path, weights=weights_file(tmp_path, **changed))
    (found,) = json.loads(said[0])["specs"][0]["diagnostics"]
    assert (status, found["code"]) == (1, code)
    assert words in found["message"]


def test_weights_that_are_no_file(tmp_path: Path) -> None:
    status, said = run(tmp_path, weights=str(tmp_path / "nowhere"))
    assert (status, "file-not-found" in said[0]) == (2, True)
    (tmp_path / "w").write_bytes(b"nonsense")
    status, said = run(tmp_path, weights=str(tmp_path / "w"))
    assert (status, "weights-format" in said[0]) == (1, True)


@pytest.mark.parametrize(
    ("value", "code", "words"),
    [
        (np.full((3, 2, 6, 5), np.nan), "not-finite", "`input` is nan at index [0, 0, 0, 0]"),
        (
            np.where(np.arange(180) == 31, -np.inf, 0.0).reshape(3, 2, 6, 5),
            "not-finite",
            "`input` is -inf at index [0, 1, 0, 1]",
        ),
        (np.zeros((3, 2, 5, 6)), "bad-inputs", "shape 3x2x5x6"),
        (np.zeros((1, 2, 6, 5)), "bad-inputs", "fewer than 2 samples"),
        (np.zeros((3, 2, 6, 5), bool), "bad-inputs", "dtype bool"),
        (np.zeros((3, 2, 6, 5), complex), "bad-inputs", "dtype complex128"),
    ],
)
def test_wrong_inputs_are_named_from_python_too(value: Any, code: str, words: str) -> None:
    report = check(
        graph_of(), backends=("numpy", "torch"), inputs={"input": value}, in_process=True
    )
    assert report.status == "invalid_data"
    (found,) = only(report).diagnostics
    assert (found.code, words in found.message) == (code, True)


# --- after training ----------------------------------------------------------------------------


def test_inference_after_training_is_compared() -> None:
    options: dict[str, Any] = {"backends": ("numpy", "torch"), "dtype": "float64"}
    found = only(check(graph_of(), in_process=True, **options))
    (after,) = [c for c in found.comparisons if c.mode == "after_training"]
    assert (after.quantity, after.name, after.training, after.update) == (
        "forward",
        "output",
        False,
        4,
    )
    assert after.agree
    assert after.judged
    assert after.bound < 1e-9
    none = only(check(graph_of(), in_process=True, steps=0, **options))
    assert not [c for c in none.comparisons if c.mode == "after_training"]


def test_a_fault_of_inference_after_training_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """A model that forgets in inference what it has learned since it was built."""
    from cnnspec.backends.torch.session import TorchSession

    forward = TorchSession.forward

    def stale(self: Any, inputs: Any, **options: Any) -> Any:
        return {
            name: value * (1 + 1e-7) for name, value in forward(self, inputs, **options).items()
        }

    monkeypatch.setattr(TorchSession, "forward", stale)
    found = only(check(graph_of(), backends=("numpy", "torch"), dtype="float64", in_process=True))
    assert found.status == "disagree"
    assert found.first_difference is not None
    assert found.first_difference.comparison.mode == "after_training"
