"""A session's state: another one that is given it goes on as if it were the first."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
import pytest

import cnnspec
from cnnspec import backends
from cnnspec.backends import At
from cnnspec.backends.base import Session, Style
from cnnspec.diagnostics import DataError
from cnnspec.initializers import initial_weights
from cnnspec.training import OPTIMIZERS

BACKENDS = ("numpy", "torch", "keras")

NET = """\
cnnspec: 1
name: small
input: [2, 6, 5]
layers:
  - conv: {name: conv, filters: 3, kernel: 3, bias: false}
  - batch_norm
  - relu
  - separable_conv: {name: apart, filters: 4, kernel: 2}
  - dropout: {p: 0.3}
  - flatten
  - dense: {name: head, units: 3}
train:
  loss: cross_entropy
  optimizer: OPTIMIZER
  schedule: {exponential: {gamma: 0.9, every: update}}
"""

WRITTEN = {
    "sgd": ["{sgd: {lr: 0.1}}", "{sgd: {lr: 0.1, momentum: 0.9, dampening: 0.1}}"],
    "adam": ["{adam: {lr: 0.01, weight_decay: 0.01}}"],
}
"""By key; an optimizer that is not listed is tried with its defaults."""

EVERY = [text for key in OPTIMIZERS for text in WRITTEN.get(key, [f"{{{key}: {{lr: 0.01}}}}"])]

Arrays = Mapping[str, np.ndarray[Any, Any]]


def opened(optimizer: str, backend: str, dtype: Literal["float64", "float32"]) -> Session:
    graph = cnnspec.load(NET.replace("OPTIMIZER", optimizer))
    chosen = backends.get(backend)
    emitted = chosen.emit(graph, Style(random="counter"))
    session = chosen.open(emitted, dtype=dtype, drawn=False, eager=True)
    session.assign(initial_weights(graph))
    return session


def steps(session: Session, start: int, stop: int) -> list[float]:
    losses = []
    for update in range(start, stop):
        rng = np.random.default_rng(update)
        x, y = rng.normal(size=(5, 2, 6, 5)), rng.integers(0, 3, 5)
        at = At(update)
        losses.append(session.step({"input": x}, {"output": y}, at=at, updates_per_epoch=4))
    return losses


def equal(found: Arrays, expected: Arrays) -> bool:
    return found.keys() == expected.keys() and all(
        found[n].dtype == v.dtype
        and found[n].shape == v.shape
        and found[n].tobytes() == v.tobytes()
        for n, v in expected.items()
    )


@pytest.mark.parametrize("dtype", ["float64", pytest.param("float32", marks=pytest.mark.nightly)])
@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("optimizer", EVERY)
def test_goes_on_as_if_nothing_had_happened(
    optimizer: str, backend: str, dtype: Literal["float64", "float32"]
) -> None:
    whole = opened(optimizer, backend, dtype)
    losses = steps(whole, 0, 6)

    first = opened(optimizer, backend, dtype)
    assert first.state() == {}
    before = steps(first, 0, 3)
    weights, state = dict(first.weights()), first.state()
    kept = {name: value.copy() for name, value in state.items()}
    second = opened(optimizer, backend, dtype)
    second.assign(weights)
    second.restore(state)
    assert equal(second.state(), kept)
    assert before + steps(second, 3, 6) == losses
    assert equal(dict(second.weights()), dict(whole.weights()))
    assert equal(second.state(), whole.state())
    assert equal(state, kept), "the state is the session's own memory"
    # Without its state an optimizer that has one would have gone another way.
    plain = opened(optimizer, backend, dtype)
    plain.assign(weights)
    steps(plain, 3, 6)
    stateless = optimizer == "{sgd: {lr: 0.1}}"
    assert equal(dict(plain.weights()), dict(whole.weights())) == stateless
    for session in (whole, first, second, plain):
        session.close()


@pytest.mark.parametrize("backend", BACKENDS)
def test_layouts_are_canonical(backend: str) -> None:
    optimizer = "{sgd: {lr: 0.1, momentum: 0.9}}"
    session, reference = (
        opened(optimizer, backend, "float64"),
        opened(optimizer, "numpy", "float64"),
    )
    steps(session, 0, 3)
    steps(reference, 0, 3)
    expected = {key.partition("/")[2]: value for key, value in reference.state().items()}
    found = session.state()
    for name, value in expected.items():
        (own,) = (v for key, v in found.items() if key.endswith(f"/{name}"))
        assert own.shape == value.shape
        assert np.abs(own - value).max() <= 1e-13 * np.abs(value).max()


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(
    ("old", "new", "shape"),
    [
        ("conv.weight", "conw.weight", None),
        ("conv.weight", "conv.weight", (3, 2, 9)),
        ("conv.weight", "conv.weight", (0,)),
    ],
)
def test_state_of_another_network(
    backend: str, old: str, new: str, shape: tuple[int, ...] | None
) -> None:
    session = opened("{adam: {lr: 0.1}}", backend, "float64")
    steps(session, 0, 1)
    state = {
        key.replace(old, new): (
            np.zeros(shape)
            if shape is not None and key.endswith(f"/{old}") and value.ndim
            else value
        )
        for key, value in session.state().items()
    }
    with pytest.raises(DataError) as caught:
        session.restore(state)
    (fault,) = caught.value.diagnostics
    assert fault.code == "state-does-not-fit"
    assert new in fault.message


def test_state_of_another_optimizer() -> None:
    for backend in ("numpy", "keras"):  # torch makes its entries when it needs them
        session = opened("{adam: {lr: 0.1}}", backend, "float64")
        steps(session, 0, 1)
        other = opened("{sgd: {lr: 0.1, momentum: 0.9}}", backend, "float64")
        with pytest.raises(DataError, match="optimizer's state does not fit"):
            other.restore(session.state())
    torch = opened("{adam: {lr: 0.1}}", "torch", "float64")
    with pytest.raises(DataError, match="no such parameter"):
        torch.restore({"step/batch_norm1.running_mean": np.array(1.0)})
