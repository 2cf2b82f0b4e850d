"""One update out of several batches is that of one batch, or of the same parts elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

import cnnspec
from cnnspec import backends
from cnnspec.backends import At
from cnnspec.backends.base import Part, Session, Style
from cnnspec.graph import Graph
from cnnspec.initializers import initial_weights
from tests.networks import distance

Array = npt.NDArray[Any]
Batch = tuple[dict[str, Array], dict[str, Array]]

BACKENDS = ("numpy", "torch", "keras")
SIZES = (3, 5, 2)
UPDATES = 3

NET = """\
cnnspec: 1
name: small
input: [2, 6, 5]
layers:
  - conv: {name: conv, filters: 3, kernel: 3, bias: false, regularize: {l1: 0.01, l2: 0.1}}
  - BETWEEN
  - dropout: {p: 0.4}
  - flatten
  - dense: {name: head, units: 3, constrain: {max_norm: 1.5}}
train:
  loss: {cross_entropy: {label_smoothing: 0.1, class_weights: [0.5, 2, 1], weight_norm: sum_w}}
  optimizer: {adam: {lr: 0.02}}
  schedule: {exponential: {gamma: 0.9, every: update}}
  clip: {norm: 1.0}
  average: {decay: 0.9}
"""
PLAIN, NORMALISED = NET.replace("BETWEEN", "tanh"), NET.replace("BETWEEN", "batch_norm")

FROZEN = NORMALISED + "  groups:\n    - {match: 'conv.*', trainable: false}\n"

TWO = """\
cnnspec: 1
name: two
input: [2, 6, 5]
layers:
  - conv: {name: conv, filters: 3, kernel: 3}
  - tanh
  - dropout: {p: 0.4}
  - flatten: {name: flat}
  - dense: {name: policy, units: 3}
  - dense: {name: value, units: 1, from: flat}
outputs: {p: policy, v: value}
train:
  loss:
    p: {cross_entropy: {class_weights: [0.5, 2, 1], weight_norm: sum_w}}
    v: {mean_squared_error: {weight: 0.25}}
  optimizer: {sgd: {lr: 0.1, momentum: 0.9}}
"""


def opened(graph: Graph, backend: str, *, eager: bool = True) -> Session:
    chosen = backends.get(backend)
    emitted = chosen.emit(graph, Style(random="counter"))
    session = chosen.open(emitted, drawn=False, eager=eager)
    session.assign(initial_weights(graph))
    return session


def batch(graph: Graph, update: int, sizes: Sequence[int] = SIZES) -> Batch:
    rng, count = np.random.default_rng(update), sum(sizes)
    targets: dict[str, Array] = {"output": rng.integers(0, 3, count)}
    if len(graph.outputs) == 2:
        targets = {"p": rng.integers(0, 3, count), "v": rng.normal(size=(count, 1))}
    return {"input": rng.normal(size=(count, 2, 6, 5))}, targets


def parts(whole: Batch, sizes: Sequence[int] = SIZES) -> list[Part]:
    starts = [0, *np.cumsum(sizes)]
    return [
        Part(
            {name: value[i:j] for name, value in whole[0].items()},
            {name: value[i:j] for name, value in whole[1].items()},
            int(i),
        )
        for i, j in pairwise(starts)
    ]


def run(
    graph: Graph, backend: str, sizes: Sequence[int] | None, *, eager: bool = True
) -> tuple[list[float], Any]:
    """By `train_step` without sizes, else by parts of them."""
    session, losses = opened(graph, backend, eager=eager), []
    for update in range(UPDATES):
        given = batch(graph, update)
        if sizes is None:
            loss = session.step(*given, at=At(update), updates_per_epoch=2)
        else:
            loss = session.update(parts(given, sizes), at=At(update), updates_per_epoch=2)
        losses.append(loss)
    left = {**session.trained(), **session.state()}
    session.close()
    return losses, left


def farthest(found: Any, expected: Any) -> float:
    assert found[1].keys() == expected[1].keys()
    losses = distance(np.array(found[0]), np.array(expected[0]))
    return max(losses, *(distance(found[1][name], value) for name, value in expected[1].items()))


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("spec", [PLAIN, TWO], ids=["one", "two"])
def test_several_are_one(spec: str, backend: str) -> None:
    graph = cnnspec.load(spec)
    whole = run(graph, backend, None)
    assert farthest(run(graph, backend, SIZES), whole) < 1e-12
    # Masks that all began at the first sample, or means of means, would be elsewhere.
    assert farthest(run(graph, backend, (5, 5)), whole) < 1e-12


@pytest.mark.parametrize("spec", [NORMALISED, FROZEN, TWO], ids=["norm", "frozen", "two"])
def test_one_is_a_training_step(spec: str) -> None:
    graph = cnnspec.load(spec)
    found, expected = (run(graph, "numpy", sizes) for sizes in ((10,), None))
    assert found[0] == expected[0]
    assert all(found[1][n].tobytes() == v.tobytes() for n, v in expected[1].items())
    for backend in BACKENDS[1:]:
        assert farthest(run(graph, backend, (10,)), run(graph, backend, None)) < 1e-15, backend


def test_keras_adds_up_in_a_graph() -> None:
    """As `train` does it; a frozen layer stays frozen, penalties come once."""
    graph = cnnspec.load(FROZEN)
    assert farthest(run(graph, "keras", SIZES, eager=False), run(graph, "keras", SIZES)) < 1e-13


@pytest.mark.parametrize("spec", [NORMALISED, FROZEN], ids=["norm", "frozen"])
@pytest.mark.parametrize("backend", BACKENDS[1:])
def test_back_ends_agree_where_parts_have_their_own_statistics(spec: str, backend: str) -> None:
    graph = cnnspec.load(spec)
    reference = run(graph, "numpy", SIZES)
    found = run(graph, backend, SIZES)
    for name in ("losses", *initial_weights(graph)):
        a, b = (np.array(x[0]) if name == "losses" else x[1][name] for x in (found, reference))
        assert distance(a, b) < 1e-12, name
    assert farthest(run(graph, "numpy", None), reference) > 1e-3
