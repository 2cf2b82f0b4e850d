"""Several devices give what one does: on JAX, where `keras.distribution` shares batches out."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from safetensors.numpy import load_file

import cnnspec
from cnnspec.diagnostics import SetupError
from cnnspec.train import train
from tests.networks import distance

NET = """\
cnnspec: 1
name: small
input: [2, 6, 5]
layers:
  - conv: {name: conv, filters: 3, kernel: 3, bias: false, regularize: {l2: 0.1}}
  - BETWEEN
  - relu
  - dropout: {p: 0.4}
  - flatten
  - dense: {name: head, units: 3, constrain: {max_norm: 1.5}}
train:
  loss: {cross_entropy: {class_weights: [0.5, 2, 1], weight_norm: sum_w}}
  optimizer: {sgd: {lr: 0.1, momentum: 0.9}}
  clip: {norm: 1.0}
  average: {decay: 0.9}
"""
PLAIN = NET.replace("  - BETWEEN\n", "")
NORMALISED = NET.replace("BETWEEN", "batch_norm")

TRAINED = """\
cnnspec: 1
name: tiny
input: [1, 8, 8]
layers:
  - conv: {filters: 3, kernel: 3}
  - max_pool: {kernel: 2}
  - relu
  - dropout: {p: 0.25}
  - flatten
  - dense: {units: 10}
train: {loss: cross_entropy, optimizer: {sgd: {lr: 0.1}}, batch: 50, epochs: 2}
data: {source: digits, subset: 120}
"""
COMMAND = (sys.executable, "-m", "cnnspec", "train")


def differences(*cases: tuple[str, str, str, int]) -> list[float]:
    """Between one device and two, for each spec, dtype, way and number of updates."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.jax_devices", json.dumps(cases)],
        capture_output=True,
        text=True,
        check=False,
        cwd=Path(__file__).parents[1],
    )
    assert done.returncode == 0, done.stderr[-3000:]
    found: list[float] = json.loads(done.stdout)
    return found


def test_two_devices_are_one() -> None:
    """The last batch is an uneven one."""
    assert max(differences((PLAIN, "float64", "steps", 3))) < 1e-13


@pytest.mark.nightly
def test_two_devices_are_one_by_fit_and_by_parts_of_an_update() -> None:
    found = differences((PLAIN, "float64", "fit", 3), (PLAIN, "float64", "accumulate", 3))
    assert max(found) < 1e-13, found


@pytest.mark.nightly
def test_two_devices_are_one_to_the_digits_that_keras_has_there() -> None:
    """Batch norm's mean and variance are of the whole batch; Keras rounds them to float32."""
    found = differences(
        (NORMALISED, "float64", "steps", 6),
        (NORMALISED, "float32", "steps", 6),
        (NORMALISED, "float32", "fit", 6),
    )
    assert max(found) < 1e-5, found


@pytest.mark.parametrize(
    ("backend", "devices", "code"),
    [
        ("keras", 2, "one-device-only"),
        ("keras:torch", 2, "one-device-only"),
        ("torch", 2, "one-device-only"),
        ("numpy", 3, "one-device-only"),
        ("keras:jax", 4, "uneven-devices"),
    ],
)
def test_devices_that_would_not_share_the_work(backend: str, devices: int, code: str) -> None:
    with pytest.raises(SetupError) as caught:
        train(cnnspec.load(TRAINED), backend, None, devices=devices)
    assert [each.code for each in caught.value.diagnostics] == [code]


def test_more_devices_than_there_are() -> None:
    from cnnspec.backends.keras.devices import slices

    with pytest.raises(SetupError, match=r"2 devices of the kind `cpu` .* there are 1") as caught:
        slices("cpu", 2)
    assert [each.code for each in caught.value.diagnostics] == ["too-few-devices"]


@pytest.mark.nightly
def test_a_run_on_two_devices_goes_on_with_one(tmp_path: Path) -> None:
    (tmp_path / "tiny.yaml").write_text(TRAINED)

    def trained(run: str, *options: str, backend: str = "keras:jax") -> str:
        done = subprocess.run(
            [*COMMAND, "tiny.yaml", "-b", backend, "-o", run, *options],
            capture_output=True,
            text=True,
            check=False,
            cwd=tmp_path,
            env={
                **os.environ,
                "KERAS_BACKEND": "tensorflow",  # the engine that is asked for comes first
                "PYTHONPATH": str(Path(__file__).parents[1]),
            },
        )
        (tmp_path / "status").write_text(str(done.returncode))
        return done.stderr

    trained("one")
    two = trained("two", "--devices", "2", "--epochs", "1", "--fit")
    assert "keras:jax is not all float64" in two
    again = trained("two", "--resume")
    assert "the device was `2 x cpu` and is `cpu`" in again
    runs = [load_file(tmp_path / run / "weights.safetensors") for run in ("one", "two")]
    assert all(distance(runs[0][name], runs[1][name]) < 1e-12 for name in runs[0])
    assert json.loads((tmp_path / "two" / "run.json").read_text())["backend"] == "keras:jax"
    other = trained("two", "--resume", backend="keras")
    assert "the back end was `keras:jax` and is `keras`" in other
    assert (tmp_path / "status").read_text() == "1"
