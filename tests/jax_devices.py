"""Run by test_devices.py in a process whose Keras is on JAX: prints what several devices change."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

import cnnspec
from cnnspec.backends.base import At, Part, Style
from cnnspec.backends.runtimes import runnable
from cnnspec.initializers import initial_weights
from tests.networks import distance

Array = npt.NDArray[Any]

PER_EPOCH, SIZE, COUNT = 3, 6, 15
"""Batches of 6, 6 and 3 samples: the last one has no two equal parts."""


def batch(update: int) -> Part:
    rng = np.random.default_rng(update % PER_EPOCH)
    count = min(SIZE, COUNT - SIZE * (update % PER_EPOCH))
    return Part({"input": rng.normal(size=(count, 2, 6, 5))}, {"output": rng.integers(0, 3, count)})


def run(spec: str, dtype: Any, devices: int, how: str, updates: int) -> dict[str, Array]:
    """Losses, weights, state and an evaluation after some updates."""
    graph = cnnspec.load(spec)
    backend: Any = runnable("keras:jax").backend
    session = backend.open(
        backend.emit(graph, Style(random="counter")),
        dtype=dtype,
        engine="jax",
        devices=devices,
        eager=how == "accumulate",
        drawn=False,
    )
    session.assign(initial_weights(graph))
    losses: list[float] = []

    def told(_: int, loss: float) -> bool:
        losses.append(loss)
        return False

    def batches() -> Iterator[Part]:
        for update in range(updates):
            yield batch(update)

    if how == "fit":
        for first in range(0, updates, PER_EPOCH):
            rest = (batch(first + i) for i in range(PER_EPOCH))
            session.fit_epoch(
                rest,
                first_update=first,
                updates_per_epoch=PER_EPOCH,
                count=PER_EPOCH,
                on_batch=told,
            )
    elif how == "accumulate":
        parts = [Part(each.inputs, each.targets, SIZE * i) for i, each in enumerate(batches())]
        losses.append(session.update(parts, at=At(0), updates_per_epoch=PER_EPOCH))
    else:
        for update, given in enumerate(batches()):
            at = At(update)
            before = session.weights()
            kept = {name: value.copy() for name, value in before.items()}
            loss = session.step(given.inputs, given.targets, at=at, updates_per_epoch=PER_EPOCH)
            losses.append(loss)
            # The step gives its buffers away, and these are no longer those.
            assert all(np.array_equal(before[name], kept[name]) for name in kept)
    if devices > 1:
        kernel = next(iter(session.model.trainable_variables)).value
        assert len(kernel.sharding.device_set) == devices, kernel.sharding
        inputs = session.inputs(batch(0).inputs)["input"]
        assert {s.data.shape[0] for s in inputs.addressable_shards} == {SIZE // devices}
    last = batch(0)
    scored = session.evaluate(last.inputs, last.targets)
    found: dict[str, Array] = {n: np.array(v) for n, v in session.trained().items()}
    found |= session.state()
    found |= {f"output/{n}": v for n, v in scored.outputs.items()}
    found["losses"] = np.array(losses)
    session.close()
    return found


def apart(a: Mapping[str, Array], b: Mapping[str, Array]) -> float:
    assert a.keys() == b.keys()
    return max(distance(np.asarray(a[name]), np.asarray(b[name])) for name in a)


def main() -> None:
    """Each case: the largest difference between one device and two."""
    cases = json.loads(sys.argv[1])
    found = []
    for spec, dtype, how, updates in cases:
        two = run(spec, dtype, 2, how, updates)
        found.append(apart(two, run(spec, dtype, 1, how, updates)))
    print(json.dumps(found))


if __name__ == "__main__":
    main()
