"""Training: what a run begins with, and whether it is a new one or goes on with another."""

from __future__ import annotations

import dataclasses
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from cnnspec import data as sources
from cnnspec import memory
from cnnspec.backends.base import Backend, Dtype, Emitted, FitsEpochs, Session, Style, Tuning
from cnnspec.backends.runtimes import Runnable, runnable
from cnnspec.data import Dataset
from cnnspec.data.dataset import Array
from cnnspec.diagnostics import Diagnostic, SetupError
from cnnspec.graph import Graph
from cnnspec.initializers import initial_weights
from cnnspec.render import render
from cnnspec.train import identity as identities
from cnnspec.train.checkpoint import Checkpoint
from cnnspec.train.devices import require_devices
from cnnspec.train.metrics import Epoch
from cnnspec.train.preflight import require_batches, require_schedule, require_training
from cnnspec.train.progress import Progress
from cnnspec.train.ranks import joined, only_first
from cnnspec.train.run import Run, Stopping
from cnnspec.train.rundir import RunDirectory
from cnnspec.train.updates import UpdatesOf
from cnnspec.version import __version__
from cnnspec.weights import fit as fit_weights

__all__ = ["Result", "train"]


@dataclass(frozen=True, slots=True, eq=False)
class Result:
    """What a run has come to.

    Attributes:
        history: the metrics of every epoch.
        weights: after the last one, by canonical name and in canonical layout.
        confusion: by output, over the test set after the last one; see `OutputScore`.
    """

    history: tuple[Epoch, ...]
    weights: Mapping[str, Array]
    confusion: Mapping[str, Array]


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
    devices: int = 1,
    progress: Progress | None = None,
    force: bool = False,
    resume: bool = False,
    checkpoint_every: int | None = None,
    initial: Mapping[str, Array] | None = None,
    workers: int = 0,
    tuning: Tuning | None = None,
    native_randomness: bool = False,
    fit: bool = False,
) -> Result:
    """Train a network with the training functions of its own emitted file.

    Initial weights, the order of the samples and the masks of random layers depend on the seed
    alone, so in float64 every back end gives the same losses, but for rounding. A run that was
    killed and resumed gives the weights of one that was not.

    Args:
        graph: with a `train:` section.
        backend: "numpy", "torch", "keras", "keras:jax" for another of its engines, the name of a
            plug-in's, or one made by hand.
        data: the name of a source, data made by hand, or None for those of the spec.
        epochs: instead of those of the spec; 0 writes the initial weights.
        seed: instead of the one of the spec.
        dtype: of all arithmetic.
        rundir: a directory for all that docs/training.md lists; with None nothing is written.
        device: as the framework calls it.
        devices: of that kind; each takes a part of every batch.
        progress: is told about every batch and epoch.
        force: whether a directory may be used that is not empty.
        resume: whether to go on with the run in the directory; where there is none, it begins.
        checkpoint_every: updates between checkpoints, besides the one after each epoch.
        initial: weights to start from, by canonical name; by default drawn from the seed.
        workers: processes that read and augment batches ahead.
        tuning: for speed, where the back end has such options.
        native_randomness: whether masks are the framework's own; nobody else has the same ones.
        fit: whether the framework's own loop makes the updates, as `Model.fit` of Keras.

    Returns:
        The metrics of every epoch, and the weights after the last.

    Raises:
        SpecError: the spec has no `train:` section, or the back end cannot express it.
        DataError: the data do not fit the network, a batch is too small for a batch norm, the loss
            is no longer finite, or a checkpoint cannot be used or is of another run.
        SetupError: a framework, library or device is missing, devices cannot share the batches,
            the directory cannot be written, or another run writes to it.
        Interrupted: the process was asked to end; a checkpoint of the completed updates is there.
    """
    section = require_training(graph)
    seed = graph.seed if seed is None else seed
    written = section.epochs
    section = dataclasses.replace(section, epochs=section.epochs if epochs is None else epochs)
    # The masks' seed is a constant in the emitted text.
    graph = dataclasses.replace(graph, seed=seed, training=section)
    progress = Progress() if progress is None else progress
    running = runnable(backend) if isinstance(backend, str) else Runnable(backend.name, backend)
    chosen = running.backend
    require_devices(running, devices, section.batch)
    ranks = joined(chosen, device)
    if ranks is not None and ranks.rank:
        rundir = None  # the first process alone writes
    directory = None if rundir is None else RunDirectory(rundir, force=force, resume=resume)
    data = sources.fit(sources.given(data, graph, seed=seed), graph)
    per_update = section.batch * section.accumulate
    require_batches(graph, section.batch, len(data.train))
    # A shorter run than the spec's may leave its schedule before the end.
    longest = dataclasses.replace(section, epochs=max(section.epochs, written))
    require_schedule(longest, math.ceil(len(data.train) / per_update))
    emitted = chosen.emit(graph, Style(random="framework" if native_randomness else "counter"))
    size = 8 if dtype == "float64" else 4
    needed = memory.session_bytes(graph, section.batch, size)
    memory.require(needed, f"a training step of `{graph.name}`")
    session, device = _opened(running, emitted, dtype, device, devices)
    if dtype == "float64" and running.single:
        progress.remark(f"{running.name} is not all float64: {running.single}")
    try:
        if fit and not isinstance(session, FitsEpochs):
            raise SetupError(
                Diagnostic(
                    "no-fit",
                    f"the back end {chosen.name} has no training loop of its own",
                    help="`--backend keras`, or leave out `--fit`",
                )
            )
        if tuning is not None and tuning != Tuning():
            _tune(session, chosen, tuning)
        if ranks is not None:
            ranks.unite(session)
        begun = Checkpoint(
            epoch=0,
            update=0,
            loss_sum=0.0,
            history=(),
            weights={},
            state={},
            identity=identities.identity(
                graph,
                running.name,
                emitted,
                data,
                dtype=dtype,
                more={**_arithmetic(tuning), **_origin(initial)},
            ),
            surroundings={
                **identities.surroundings(chosen.imports),
                "device": device if devices == 1 else f"{devices} x {device}",
            },
        )
        run = Run(
            session,
            UpdatesOf(session, section.batch, ranks),
            graph,
            data,
            directory,
            progress,
            begun,
            checkpoint_every=checkpoint_every,
            stopping=Stopping.of(section),
            workers=workers,
            ranks=ranks,
            fits=fit,
        )
        if directory is not None:
            directory.open()
        found = _resumed(directory, begun, progress) if directory is not None and resume else None
        found = only_first(ranks, found)
        _assign(session, graph, found, initial)
        if directory is not None:
            if found is None:
                directory.clear()
            options: dict[str, object] = {
                "cnnspec": __version__,
                "network": graph.name,
                "backend": running.name,
                "data": data.name,
                "dtype": dtype,
                "precision": None if tuning is None else tuning.precision,
                "device": device,
                "devices": devices,
                "seed": seed,
                "epochs": section.epochs,
                "checkpoint_every": checkpoint_every,
                "best": run.stopping.monitor,
                "versions": begun.surroundings,
            }
            directory.describe(graph, emitted, options, _described(data), data.classes)
        run.go(found)
        return Result(tuple(run.history), run.weights, run.confusion)
    finally:
        progress.close()
        session.close()
        if directory is not None:
            directory.close()
        if ranks is not None:
            ranks.close()


def _opened(
    running: Runnable, emitted: Emitted, dtype: Dtype, device: str, devices: int
) -> tuple[Session, str]:
    """A session, and its device: "auto" is a GPU where there is one."""
    options: dict[str, Any] = {"dtype": dtype, "eager": False}
    if not running.default:
        options["engine"] = running.engine
    if devices > 1:
        options["devices"] = devices
    if device != "auto":
        return running.backend.open(emitted, device=device, **options), device
    try:
        return running.backend.open(emitted, device="cuda", **options), "cuda"
    except SetupError as error:
        if any(each.code != "unknown-device" for each in error.diagnostics):
            raise
        return running.backend.open(emitted, device="cpu", **options), "cpu"


def _tune(session: Session, chosen: Backend, tuning: Tuning) -> None:
    tune: Any = getattr(session, "tune", None)
    if tune is None:
        raise SetupError(
            Diagnostic(
                "no-tuning",
                f"the back end {chosen.name} has no options for mixed precision, channels last or "
                "compilation",
                help="`--backend torch`",
            )
        )
    tune(tuning)


def _arithmetic(tuning: Tuning | None) -> dict[str, str]:
    """What of it changes more than the last digits."""
    if tuning is None or tuning.precision is None:
        return {}
    return {"precision": tuning.precision}


def _resumed(directory: RunDirectory, begun: Checkpoint, progress: Progress) -> Checkpoint | None:
    """The checkpoint to go on with; None where the directory has none yet."""
    loaded = directory.checkpoints.load()
    for remark in directory.checkpoints.remarks:
        progress.remark(render([remark], "full").rstrip())
        directory.log(remark.message)
    if loaded is None:
        progress.remark(f"`{directory.path}` has no checkpoint yet; the run begins")
        return None
    found, path = loaded
    identities.require_same(found.identity, begun.identity, where=str(path))
    for difference in identities.differences(found.surroundings, begun.surroundings):
        remark_text = f"{difference}, so that the last digits may differ from an undisturbed run's"
        progress.remark(remark_text)
        directory.log(remark_text)
    return found


def _origin(initial: Mapping[str, Array] | None) -> dict[str, str]:
    """Which weights a run began with, where it did not draw them."""
    return (
        {}
        if initial is None
        else {"fingerprint of the first weights": identities.fingerprint(initial)}
    )


def _assign(
    session: Session, graph: Graph, found: Checkpoint | None, initial: Mapping[str, Array] | None
) -> None:
    if found is None:
        drawn = initial_weights(graph) if initial is None else fit_weights(initial, graph)
        session.assign(drawn)
        return
    session.assign(fit_weights(found.weights, graph, what="the weights of the checkpoint"))
    session.restore(found.state)


def _described(data: Dataset) -> dict[str, object]:
    found: dict[str, object] = {
        "name": data.name,
        "train": len(data.train),
        "test": len(data.test),
        "classes": data.classes,
    }
    statistics = {name: dataclasses.asdict(each) for name, each in data.statistics.items()}
    return {**found, "statistics": statistics} if statistics else found
