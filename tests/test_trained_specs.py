"""The networks of specs/ trained on files of the formats that their `data:` sections name."""

from __future__ import annotations

import csv
import shutil
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

import cnnspec
from cnnspec.cli import main
from cnnspec.train import Result, train
from tests import data_files

SPECS = Path(__file__).parent.parent / "specs"
EXACT = 1e-9
BACKENDS = ("numpy", "torch", "keras")


@pytest.mark.parametrize(
    ("name", "backend"),
    [("mnist_softmax", "numpy"), ("keras_mnist", "keras"), ("cifar10_simple", "torch")],
)
def test_real_loaders(name: str, backend: str, tmp_path: Path) -> None:
    spec = tmp_path / f"{name}.yaml"
    shutil.copyfile(SPECS / f"{name}.yaml", spec)
    if "mnist" in name:
        (tmp_path / "mnist").mkdir()
        data_files.mnist(tmp_path / "mnist", train=150, packed=True, shape=(28, 28))
    else:
        (tmp_path / "cifar-10-batches-bin").mkdir()
        data_files.cifar10(tmp_path / "cifar-10-batches-bin", count=7)
    run = tmp_path / "run"
    assert main(["train", str(spec), "-b", backend, "-o", str(run), "--epochs", "1"]) == 0
    with open(run / "metrics.csv", newline="") as stream:
        (row,) = csv.DictReader(stream)
    assert np.isfinite(float(row["train_loss"]))


@pytest.mark.parametrize("name", ["mnist_mlp", "cifar10_deep"])
def test_files_that_are_not_there(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spec = tmp_path / f"{name}.yaml"
    shutil.copyfile(SPECS / f"{name}.yaml", spec)
    assert main(["train", str(spec), "-b", "numpy", "-o", str(tmp_path / "run")]) == 1
    said = capsys.readouterr().err
    assert "error[data-missing]" in said
    assert "help: put `" in said
    assert not (tmp_path / "run").exists()


def numbers(result: Result) -> npt.NDArray[np.float64]:
    return np.array([list(epoch.values().values()) for epoch in result.history], np.float64)


def curves(name: str, epochs: int | None) -> list[npt.NDArray[np.float64]]:
    """Of every back end."""
    graph = cnnspec.load(SPECS / f"{name}.yaml")
    found = [train(graph, backend, None, epochs=epochs) for backend in BACKENDS]
    for other in found[1:]:
        assert np.abs(numbers(other) - numbers(found[0])).max() <= EXACT
        for key, weight in other.weights.items():
            assert np.abs(weight - found[0].weights[key]).max() <= EXACT
    for result in found:
        accuracy = result.history[-1].test_accuracy
        assert accuracy is not None
        assert epochs is not None or accuracy >= 0.985
    return [numbers(result) for result in found]


def test_curves_with_augmentation_are_equal() -> None:
    curves("digits_augmented", 1)


@pytest.mark.nightly
@pytest.mark.parametrize("name", ["digits", "digits_augmented"])
def test_curves_are_equal_to_the_end(name: str) -> None:
    found = curves(name, None)
    assert len(found[0]) <= 20
