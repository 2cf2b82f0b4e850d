"""Options for speed: they change how a model runs, and of its numbers the last digits."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import cnnspec
from cnnspec.backends.base import Tuning
from cnnspec.diagnostics import SetupError
from cnnspec.graph import Graph
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


def graph() -> Graph:
    return cnnspec.load(SPEC)


def run(tuning: Tuning | None) -> Result:
    return train(graph(), "torch", None, dtype="float32", tuning=tuning)


def apart(a: Result, b: Result) -> float:
    return max(float(np.abs(a.weights[name] - b.weights[name]).max()) for name in a.weights)


@pytest.fixture(scope="module")
def plain() -> Result:
    return run(None)


@pytest.mark.parametrize(
    ("tuning", "least", "most"),
    [
        (Tuning(channels_last=True), 0.0, 1e-4),
        (Tuning(precision="bfloat16"), 1e-6, 0.05),
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


def test_mixed_precision_is_beside_float32() -> None:
    with pytest.raises(SetupError) as caught:
        train(graph(), "torch", None, tuning=Tuning(precision="bfloat16"))
    assert [each.code for each in caught.value.diagnostics] == ["precision-without-float32"]


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
