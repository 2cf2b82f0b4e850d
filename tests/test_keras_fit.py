"""Keras' own `fit`, with the callback of the emitted file, makes the updates of `train_step`."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

import cnnspec
from cnnspec import backends
from cnnspec.backends import At
from cnnspec.backends.base import FitsEpochs, Part, Session, Style
from cnnspec.graph import Graph
from cnnspec.initializers import initial_weights
from cnnspec.weights import write_weights
from tests.networks import distance

Array = npt.NDArray[Any]

SIZE, COUNT, EPOCHS = 4, 14, 3
PER_EPOCH = 4
"""Updates; the last one has two samples."""

NET = """\
cnnspec: 1
name: small
input: [2, 6, 5]
layers:
  - conv: {name: conv, filters: 3, kernel: 3, bias: false, regularize: {l2: 0.1}}
  - batch_norm
  - relu
  - dropout: {p: 0.4}
  - flatten
  - dense: {name: head, units: 3}
train:
  loss: cross_entropy
  optimizer: {sgd: {lr: 0.1, momentum: 0.9}}
  schedule: {exponential: {gamma: 0.9, every: update}}
  clip: {norm: 1.0}
  average: {decay: 0.9}
"""


def network() -> Graph:
    return cnnspec.load(NET)


def opened(graph: Graph, *, eager: bool = False) -> Any:
    chosen = backends.get("keras")
    emitted = chosen.emit(graph, Style(random="counter"))
    session = chosen.open(emitted, drawn=False, eager=eager)
    session.assign(initial_weights(graph))
    return session


def samples() -> tuple[Array, Array]:
    rng = np.random.default_rng(0)
    return rng.normal(size=(COUNT, 2, 6, 5)), rng.integers(0, 3, COUNT)


def batches(start: int = 0) -> Iterator[Part]:
    x, y = samples()
    for number in range(start, PER_EPOCH):
        those = slice(number * SIZE, (number + 1) * SIZE)
        yield Part({"input": x[those]}, {"output": y[those]})


def everything(session: Session) -> Mapping[str, Array]:
    return {**{n: v.copy() for n, v in session.trained().items()}, **session.state()}


def same(found: Mapping[str, Array], expected: Mapping[str, Array], within: float = 0.0) -> None:
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        assert distance(found[name], value) <= within, name


def by_fit(session: Any, epochs: int = EPOCHS) -> tuple[list[float], list[Mapping[str, Array]]]:
    losses: list[float] = []
    after: list[Mapping[str, Array]] = []

    def told(update: int, loss: float) -> bool:
        assert update == len(losses)
        losses.append(loss)
        after.append(everything(session))
        return False

    for epoch in range(epochs):
        session.fit_epoch(
            batches(),
            first_update=epoch * PER_EPOCH,
            updates_per_epoch=PER_EPOCH,
            count=PER_EPOCH,
            on_batch=told,
        )
    return losses, after


def by_steps(session: Session) -> tuple[list[float], list[Mapping[str, Array]]]:
    losses, after = [], []
    for update in range(EPOCHS * PER_EPOCH):
        given = list(batches())[update % PER_EPOCH]
        at = At(update)
        losses.append(session.step(given.inputs, given.targets, at=at, updates_per_epoch=PER_EPOCH))
        after.append(everything(session))
    return losses, after


def test_every_update_is_that_of_a_training_step() -> None:
    fitted, stepped = opened(network()), opened(network())
    fits: object = fitted
    assert isinstance(fits, FitsEpochs)
    losses, after = by_fit(fitted)
    expected = by_steps(stepped)
    assert distance(np.array(losses), np.array(expected[0])) < 1e-15
    for found, wanted in zip(after, expected[1], strict=True):
        same(found, wanted, 1e-15)  # a size that is known may round in another way
    for session in (fitted, stepped):
        session.close()


@pytest.mark.parametrize("done", [1, 3])
def test_goes_on_inside_an_epoch(done: int) -> None:
    whole, first, second = (opened(network()) for _ in range(3))
    expected = by_fit(whole, 1)
    losses: list[float] = []

    def stop(update: int, loss: float) -> bool:
        losses.append(loss)
        return update == done - 1

    def told(update: int, loss: float) -> bool:
        losses.append(loss)
        return False

    first.fit_epoch(
        batches(), first_update=0, updates_per_epoch=PER_EPOCH, count=PER_EPOCH, on_batch=stop
    )
    assert losses == expected[0][:done]
    same(everything(first), expected[1][done - 1])
    second.assign(dict(first.weights()))
    second.restore(first.state())
    second.fit_epoch(
        batches(done),
        first_update=done,
        updates_per_epoch=PER_EPOCH,
        count=PER_EPOCH - done,
        on_batch=told,
    )
    assert losses == expected[0]
    same(everything(second), expected[1][-1])
    second.fit_epoch(
        batches(4), first_update=4, updates_per_epoch=PER_EPOCH, count=0, on_batch=told
    )
    assert losses == expected[0]
    for session in (whole, first, second):
        session.close()


class Lost(Exception):
    """Of the tests alone."""


@pytest.mark.parametrize("broken", [0, 3])
def test_an_exception_comes_out_as_it_is(broken: int) -> None:
    session = opened(network(), eager=True)

    def given() -> Iterator[Part]:
        for number, each in enumerate(batches()):
            if number == broken:
                raise Lost("the file shrank")
            yield each

    with pytest.raises(Lost, match="shrank"):
        session.fit_epoch(
            given(),
            first_update=0,
            updates_per_epoch=PER_EPOCH,
            count=PER_EPOCH,
            on_batch=lambda *_: False,
        )

    def refuse(update: int, loss: float) -> bool:
        raise Lost("the disk is full")

    taken = batches()
    with pytest.raises(Lost, match="full"):
        session.fit_epoch(
            taken,
            first_update=0,
            updates_per_epoch=PER_EPOCH,
            count=PER_EPOCH,
            on_batch=refuse,
        )
    # Nobody takes batches any more.
    assert isinstance(next(taken, None), Part | None)
    session.close()


ALONE = """\
import sys

import keras
import numpy as np

sys.path.insert(0, sys.argv[1])
import small

keras.config.set_floatx("float64")
x, y = np.load("x.npy"), np.load("y.npy")
count = -(-len(x) // 4)


def made():
    model = small.build_model()
    small.load_weights(model, "initial.safetensors")
    small.compile_model(model)
    return model


stepped = made()
for update in range(3 * count):
    those = slice(update % count * 4, (update % count + 1) * 4)
    small.train_step(stepped, x[those], y[those], update, count)
fitted = made()
some = small.Schedule(count)
fitted.fit(x, y, batch_size=4, epochs=2, shuffle=False, verbose=0, callbacks=[some])
more = small.Schedule(count, update=2 * count)
fitted.fit(x, y, batch_size=4, shuffle=False, verbose=0, callbacks=[more])
for a, b in zip(stepped.weights, fitted.weights, strict=True):
    a, b = keras.ops.convert_to_numpy(a), keras.ops.convert_to_numpy(b)
    assert a.dtype == np.float64
    assert np.abs(a - b).max() <= 1e-15 * np.abs(a).max(), a.shape
forgetful = made()
forgetful.fit(x, y, batch_size=4, epochs=3, shuffle=False, verbose=0)
a, b = (keras.ops.convert_to_numpy(m.get_layer("head").kernel) for m in (stepped, forgetful))
assert np.abs(a - b).max() > 1e-3, "the callback does nothing"
"""


@pytest.mark.parametrize(
    "engine",
    [
        "tensorflow",
        pytest.param("jax", marks=pytest.mark.nightly),
        pytest.param("torch", marks=pytest.mark.nightly),
    ],
)
def test_the_file_alone(engine: str, tmp_path: Path) -> None:
    graph = network()
    emitted = backends.get("keras").emit(graph, Style(random="counter"))
    (tmp_path / "small.py").write_text(emitted.text)
    (tmp_path / "alone.py").write_text(ALONE)
    write_weights(str(tmp_path / "initial.safetensors"), initial_weights(graph))
    x, y = samples()
    np.save(tmp_path / "x.npy", np.moveaxis(x, 1, -1))
    np.save(tmp_path / "y.npy", y)
    found = subprocess.run(
        [sys.executable, "alone.py", str(tmp_path)],
        cwd=tmp_path,
        env={**os.environ, "KERAS_BACKEND": engine, "JAX_ENABLE_X64": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert found.returncode == 0, found.stderr[-3000:]
