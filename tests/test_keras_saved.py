"""What Keras keeps of a compiled model in its own files, as docs/training.md says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import cnnspec
from cnnspec import backends
from cnnspec.backends.base import Style

# Keras' own conversion of its variables.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

keras: Any = pytest.importorskip("keras")

NET = """\
cnnspec: 1
name: saved
input: [2]
layers:
  - dense: {name: first, units: 3, regularize: {l2: 0.5}}
  - tanh
  - dense: {name: second, units: 2, trainable: false}
train:
  loss: mean_squared_error
  optimizer: {adam: {lr: 0.1}}
  average: {decay: 0.5}
"""
X, Y = np.linspace(-1, 1, 8).reshape(4, 2), np.ones((4, 2))


def stepped(module: Any, model: Any, updates: range) -> list[float]:
    return [float(module.train_step(model, X, Y, update, 1)) for update in updates]


@pytest.fixture
def module() -> Any:
    chosen: Any = backends.get("keras")
    session = chosen.open(chosen.emit(cnnspec.load(NET), Style()))
    yield session.module
    session.close()


def test_a_loaded_model_has_to_be_compiled_again(module: Any, tmp_path: Path) -> None:
    model = module.build_model()
    module.compile_model(model, run_eagerly=True)
    assert len(model.trainable_variables) == 2
    assert len(model.losses) == 1
    model.save(tmp_path / "saved.keras")
    found = keras.models.load_model(tmp_path / "saved.keras", compile=False)
    assert len(found.trainable_variables) == 4
    assert not found.losses
    module.compile_model(found, run_eagerly=True)
    assert len(found.trainable_variables) == 2
    assert stepped(module, found, range(3)) == stepped(module, model, range(3))


def test_weights_of_keras_go_on_with_the_optimizer(module: Any, tmp_path: Path) -> None:
    whole, first, second = (module.build_model() for _ in range(3))
    for model in (whole, first, second):
        model.set_weights(whole.get_weights())
        module.compile_model(model, run_eagerly=True)
    expected = stepped(module, whole, range(6))
    stepped(module, first, range(3))
    first.save_weights(tmp_path / "run.weights.h5")
    second.load_weights(tmp_path / "run.weights.h5")
    assert stepped(module, second, range(3, 6)) == expected[3:]
    for own, other in zip(second.optimizer.averages, whole.optimizer.averages, strict=True):
        assert np.array_equal(own.numpy(), other.numpy())
    frozen = whole.get_layer("second").kernel.numpy()
    assert np.array_equal(second.get_layer("second").kernel.numpy(), frozen)
