"""The training loop: it draws weights and batches, and leaves every update to the emitted file."""

from __future__ import annotations

import dataclasses
import math
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from cnnspec import backends, memory
from cnnspec import data as sources
from cnnspec.backends.base import At, Backend, Dtype, Session, Style
from cnnspec.data import Dataset, order
from cnnspec.data.dataset import Array
from cnnspec.diagnostics import DataError, Diagnostic
from cnnspec.graph import Graph
from cnnspec.initializers import initial_weights
from cnnspec.train.metrics import Epoch, evaluate
from cnnspec.train.preflight import require_batches, require_training
from cnnspec.train.progress import Progress
from cnnspec.train.rundir import RunDirectory

__all__ = ["Result", "train"]


@dataclass(frozen=True, slots=True, eq=False)
class Result:
    """What a run has come to.

    Attributes:
        history: the metrics of every epoch.
        weights: after the last one, by canonical name and in canonical layout.
    """

    history: tuple[Epoch, ...]
    weights: Mapping[str, Array]


def train(
    graph: Graph,
    backend: str | Backend,
    data: str | Dataset | None,
    *,
    epochs: int | None = None,
    seed: int | None = None,
    dtype: Dtype = "float64",
    rundir: str | os.PathLike[str] | None = None,
    device: str = "cpu",
    progress: Progress | None = None,
    force: bool = False,
) -> Result:
    """Train a network with the training functions of its own emitted file.

    Initial weights, the order of the samples and the masks of random layers depend on the seed
    alone, so in float64 every back end gives the same losses, but for rounding.

    Args:
        graph: with a `train:` section.
        backend: "numpy", "torch", "keras", the name of a plug-in's, or one made by hand.
        data: the name of a source, data made by hand, or None for those of the spec.
        epochs: instead of those of the spec; 0 writes the initial weights.
        seed: instead of the one of the spec.
        dtype: of all arithmetic.
        rundir: a directory for weights.safetensors, metrics.csv, the emitted source, the spec and
            run.json; with None nothing is written.
        device: as the framework calls it.
        progress: is told about every batch and epoch.
        force: whether a directory may be used that is not empty.

    Returns:
        The metrics of every epoch, and the weights after the last.

    Raises:
        SpecError: the spec has no `train:` section, or the back end cannot express it.
        DataError: the data do not fit the network, a batch is too small for a batch norm, or the
            loss is no longer finite. What completed epochs have written stays.
        SetupError: a framework or library is missing, or the directory cannot be written.
    """
    section = require_training(graph)
    epochs = section.epochs if epochs is None else epochs
    seed = graph.seed if seed is None else seed
    progress = Progress() if progress is None else progress
    run = None if rundir is None else RunDirectory(rundir, force=force)
    data = sources.fit(sources.given(data, graph, seed=seed), graph)
    require_batches(graph, section.batch, len(data.train))
    # The masks' seed is a constant in the emitted text.
    graph = dataclasses.replace(graph, seed=seed)
    chosen = backends.get(backend) if isinstance(backend, str) else backend
    emitted = chosen.emit(graph, Style(random="counter"))
    size = 8 if dtype == "float64" else 4
    needed = memory.session_bytes(graph, section.batch, size)
    memory.require(needed, f"a training step of `{graph.name}`")
    weights: Mapping[str, Array] = initial_weights(graph)
    session = chosen.open(emitted, dtype=dtype, device=device, eager=False)
    history: list[Epoch] = []
    try:
        session.assign(weights)
        weights = session.weights()
        if run is not None:
            options: dict[str, object] = {
                "network": graph.name,
                "backend": chosen.name,
                "data": data.name,
                "dtype": dtype,
                "device": device,
                "seed": seed,
                "epochs": epochs,
            }
            run.begin(graph, emitted, options)
        for number in range(epochs):
            progress.begin(number + 1, epochs, math.ceil(len(data.train) / section.batch))
            started = time.perf_counter()
            loss = _epoch(session, graph, data, number, progress)
            rate = len(data.train) / (time.perf_counter() - started)
            epoch = _measured(session, graph, data, number, loss)
            weights = session.weights()
            if run is not None:
                run.epoch(epoch, weights)
            history.append(epoch)
            progress.end(epoch, epochs, rate)
        if run is not None and not epochs:
            run.weights(weights)
    finally:
        progress.close()
        session.close()
    return Result(tuple(history), weights)


def _epoch(session: Session, graph: Graph, data: Dataset, number: int, progress: Progress) -> float:
    """All updates of an epoch; the mean of their losses over its samples."""
    assert graph.training is not None
    count, batch = len(data.train), graph.training.batch
    updates = math.ceil(count / batch)
    visited = order(graph.seed, number, count)
    total = 0.0
    for position in range(updates):
        index = visited[position * batch : (position + 1) * batch]
        inputs, targets = data.train.take(index)
        at = At(update=number * updates + position)
        # A loss that overflows is reported below, with the place where it happened.
        with np.errstate(all="ignore"):
            loss = session.step(inputs, targets, at=at, updates_per_epoch=updates)
        _require_finite(loss, f"in epoch {number + 1}, update {position + 1} of {updates}")
        total += loss * len(index)
        progress.advance(loss)
    return total / count


def _measured(session: Session, graph: Graph, data: Dataset, number: int, loss: float) -> Epoch:
    assert graph.training is not None
    training = graph.training
    with np.errstate(all="ignore"):
        trained = evaluate(session, data.train, training, batch=training.batch)
        tested = evaluate(session, data.test, training, batch=training.batch)
    _require_finite(trained.loss, f"after epoch {number + 1}, over the training set")
    _require_finite(tested.loss, f"after epoch {number + 1}, over the test set")
    return Epoch(number + 1, loss, trained.accuracy, tested.loss, tested.accuracy)


def _require_finite(loss: float, where: str) -> None:
    if not math.isfinite(loss):
        raise DataError(
            Diagnostic(
                "loss-not-finite",
                f"the loss is {loss} {where}",
                notes=("the files of the last complete epoch stay as they are",),
                help="a smaller `lr`, or inputs of about unit size",
            )
        )
