"""Options for speed: they change how a model runs, and of its numbers the last digits."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import cnnspec
from cnnspec import backends
from cnnspec.backends.base import Style, Tuning
from cnnspec.backends.torch.ranks import TorchRanks
from cnnspec.diagnostics import DataError, SetupError
from cnnspec.graph import Graph
from cnnspec.initializers import initial_weights
from cnnspec.train import Result, train

SPEC = """\
cnnspec: 1
input: [1, 8, 8]
layers:
  - conv: {filters: 6, kernel: 3, bias: false}
  - batch_norm
  - relu
  - dropout: {p: 0.25}
  - flatten
  - dense: {units: 10}
  - softmax
train: {loss: cross_entropy, optimizer: {adam: {lr: 0.01}}, batch: 50}
data: {source: digits, subset: 120}
"""

MIXED = Tuning(precision="bfloat16")


def graph() -> Graph:
    return cnnspec.load(SPEC)


def run(tuning: Tuning | None, backend: str = "torch", **options: Any) -> Result:
    return train(graph(), backend, None, dtype="float32", tuning=tuning, **options)


def apart(a: Result, b: Result) -> float:
    return max(float(np.abs(a.weights[name] - b.weights[name]).max()) for name in a.weights)


@pytest.fixture(scope="module")
def plain() -> Result:
    return run(None)


@pytest.mark.parametrize(
    ("tuning", "least", "most"),
    [
        (Tuning(channels_last=True), 0.0, 1e-4),
        (MIXED, 1e-6, 0.05),
        pytest.param(
            Tuning(compile=True),
            0.0,
            1e-4,
            marks=[
                pytest.mark.nightly,
                # torch's own compiler uses torch.jit, which torch says not to use.
                pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning"),
            ],
        ),
    ],
)
def test_the_numbers_stay_near(plain: Result, tuning: Tuning, least: float, most: float) -> None:
    assert least <= apart(run(tuning), plain) <= most


@pytest.mark.parametrize("backend", ["torch", "keras"])
def test_mixed_precision_is_beside_float32(backend: str) -> None:
    with pytest.raises(SetupError) as caught:
        train(graph(), backend, None, tuning=MIXED)
    assert [each.code for each in caught.value.diagnostics] == ["precision-without-float32"]


def test_keras_computes_products_in_bfloat16_and_keeps_float32() -> None:
    chosen: Any = backends.get("keras")
    session = chosen.open(chosen.emit(graph(), Style(random="counter")), dtype="float32")
    session.tune(MIXED)
    session.assign(initial_weights(graph()))
    computed = {layer.name: layer.compute_dtype for layer in session.model.layers}
    assert computed["conv1"] == computed["dense1"] == computed["dropout1"] == "bfloat16"
    assert computed["batch_norm1"] == "float32"
    rng = np.random.default_rng(0)
    inputs = {"input": rng.normal(size=(6, 1, 8, 8))}
    targets = {"output": rng.integers(0, 10, 6)}
    session.step(inputs, targets)
    optimizer = session.logits.optimizer.variables
    kept = [*session.model.variables, *(v for v in optimizer if v.name != "iteration")]
    assert {str(v.dtype) for v in kept if "seed" not in v.path} == {"float32"}
    found = session.evaluate(inputs, targets)
    (outputs,) = found.outputs.values()
    assert outputs.dtype == np.float32
    # What comes out was a number of eight bits, and the loss was not.
    assert not (outputs.view(np.uint32) & 0xFFFF).any()
    exact = outputs.astype(np.float64)
    terms = np.log(np.exp(exact).sum(1)) - exact[np.arange(6), targets["output"]]
    assert found.losses["output"][0] == pytest.approx(terms.sum(), rel=1e-6)
    session.close()


def test_keras_in_mixed_precision_by_steps_by_fit_and_resumed(
    plain: Result, tmp_path: Path
) -> None:
    mixed = run(MIXED, "keras", epochs=2)
    options: dict[str, Any] = {"fit": True, "rundir": tmp_path / "run"}
    assert 1e-6 <= apart(run(MIXED, "keras", epochs=1, **options), plain) <= 0.05
    assert apart(run(MIXED, "keras", epochs=2, resume=True, **options), mixed) == 0.0
    with pytest.raises(DataError, match="precision was `bfloat16` and is not given"):
        run(None, "keras", resume=True, **options)


def test_batch_norms_of_torch_count_in_float32() -> None:
    """Of several processes, whose sums are added up, and the one with a biased variance."""
    chosen: Any = backends.get("torch")
    biased = cnnspec.load(SPEC.replace("- batch_norm", "- batch_norm: {running_var: biased}"))
    rng = np.random.default_rng(0)
    given = {"input": rng.normal(size=(300, 1, 8, 8)).astype(np.float32)}
    for network in (graph(), biased):
        found = []
        for alone in (True, False):
            session = chosen.open(chosen.emit(network), dtype="float32")
            session.tune(MIXED)
            session.assign(initial_weights(network))
            if not alone:
                ranks: Any = object.__new__(TorchRanks)
                ranks._all_reduce = lambda tensor: None
                TorchRanks.unite(ranks, session)
            session.model.train()
            session.logits(given)
            found.append(session.weights()["batch_norm1.running_var"])
            session.close()
        assert np.abs(found[0] - found[1]).max() < 1e-5


@pytest.mark.parametrize("tuning", [Tuning(channels_last=True), Tuning(compile=True)])
def test_keras_has_no_other_options(tuning: Tuning) -> None:
    with pytest.raises(SetupError) as caught:
        run(tuning, "keras")
    assert [each.code for each in caught.value.diagnostics] == ["no-tuning"]


def test_numpy_has_no_such_options() -> None:
    with pytest.raises(SetupError) as caught:
        train(graph(), "numpy", None, tuning=Tuning(channels_last=True))
    assert [each.code for each in caught.value.diagnostics] == ["no-tuning"]


def test_native_masks_are_the_frameworks_own(plain: Result, tmp_path: Path) -> None:
    found = train(
        graph(), "torch", None, dtype="float32", native_randomness=True, rundir=tmp_path / "run"
    )
    (text,) = [path.read_text() for path in (tmp_path / "run").glob("*_torch.py")]
    assert "nn.Dropout" in text
    assert apart(found, plain) > 1e-4


def test_fit_of_keras_gives_the_same_run() -> None:
    by_steps = train(graph(), "keras", None, epochs=2)
    by_fit = train(graph(), "keras", None, epochs=2, fit=True)
    assert apart(by_steps, by_fit) < 1e-12
    for one, other in zip(by_steps.history, by_fit.history, strict=True):
        assert one.train_loss == pytest.approx(other.train_loss, rel=1e-12)
        assert one.test_accuracy == other.test_accuracy


def test_torch_has_no_fit() -> None:
    with pytest.raises(SetupError) as caught:
        train(graph(), "torch", None, fit=True)
    assert [each.code for each in caught.value.diagnostics] == ["no-fit"]
