"""The `train` command: what the command line asks for, and what it says about it."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from cnnspec import document
from cnnspec.backends.base import Dtype, LostWorker, Tuning
from cnnspec.build import build
from cnnspec.diagnostics import Diagnostic, SetupError, UserError
from cnnspec.graph import Graph
from cnnspec.parameters import written
from cnnspec.render import clean, render
from cnnspec.schema import read_spec
from cnnspec.train.interrupt import Interrupted
from cnnspec.train.loop import train
from cnnspec.train.progress import Lines, Remarks, Terminal
from cnnspec.train.ranks import first
from cnnspec.train.rundir import METRICS, WEIGHTS, source_name

__all__ = ["attend", "command"]

PATIENCE = 5.0
"""Seconds that a process which has nothing to say leaves to the one that has."""

INTERRUPTED = 130


def command(
    spec: str,
    *,
    backend: str,
    data: str | None,
    directory: str | None,
    dtype: Dtype,
    epochs: int | None,
    seed: int | None,
    force: bool,
    out: Callable[[str], None],
    say: Callable[[str], None],
    quiet: bool = False,
    resume: bool = False,
    checkpoint_every: int | None = None,
    parameters: Sequence[str] = (),
    device: str = "cpu",
    devices: int = 1,
    workers: int = 0,
    tuning: Tuning | None = None,
    native_randomness: bool = False,
    fit: bool = False,
) -> int:
    """Train a network and leave a run directory behind.

    Args:
        spec: the file.
        backend: name of the back end, and of its engine behind a colon.
        data: name of the source, instead of the data of the spec.
        directory: for the run; by default `runs/NAME-BACKEND`.
        dtype: of all arithmetic.
        epochs: instead of those of the spec.
        seed: instead of the one of the spec.
        force: whether a directory may be used that is not empty.
        out: prints a result.
        say: prints a remark.
        quiet: whether to leave out the lines of the epochs and the bar.
        resume: whether to go on with the run in the directory.
        checkpoint_every: updates between checkpoints, besides the one after each epoch.
        parameters: of the spec, each `name=value`.
        device: as the framework calls it, or "auto".
        devices: of that kind; each takes a part of every batch.
        workers: processes that read and augment batches ahead.
        tuning: for speed, where the back end has such options.
        native_randomness: whether masks are the framework's own.
        fit: whether the framework's own loop makes the updates.

    Returns:
        The exit status: 0, or 130 where it was interrupted.

    Raises:
        UserError: see `train`.
    """
    options: dict[str, Any] = {
        "epochs": epochs,
        "seed": seed,
        "dtype": dtype,
        "force": force,
        "resume": resume,
        "checkpoint_every": checkpoint_every,
        "device": device,
        "devices": devices,
        "workers": workers,
        "tuning": tuning,
        "native_randomness": native_randomness,
        "fit": fit,
    }
    if not first():
        return _beside(spec, backend, data, parameters, options)
    built = build(read_spec(document.read(spec), written(parameters)))
    if built.warnings:
        say(render(built.warnings, "full"))
    return attend(built.graph, backend, data, directory, out=out, say=say, quiet=quiet, **options)


def attend(
    graph: Graph,
    backend: str,
    data: str | None,
    directory: str | None,
    *,
    out: Callable[[str], None],
    say: Callable[[str], None],
    quiet: bool = False,
    **options: Any,
) -> int:
    """Train, show how it goes, and say what there is in the end.

    Args:
        graph: with a `train:` section.
        backend: see `command`.
        data: see `command`.
        directory: see `command`.
        out: see `command`.
        say: see `command`.
        quiet: see `command`.
        options: of `train`.

    Returns:
        The exit status: 0, or 130 where it was interrupted.

    Raises:
        UserError: see `train`.
    """
    own = backend.replace(":", "-")
    rundir = os.path.join("runs", f"{graph.name}-{own}") if directory is None else directory
    shown = Terminal(out, say) if sys.stderr.isatty() else Lines(out, say)
    progress = Remarks(say) if quiet else shown
    try:
        train(graph, backend, data, rundir=rundir, progress=progress, **options)
    except Interrupted as interrupted:
        say(
            f"interrupted at {interrupted}; the same command with `--resume` goes on from there "
            f"in {clean(rundir)}"
        )
        return INTERRUPTED
    except LostWorker:
        raise SetupError(
            Diagnostic(
                "worker-lost",
                "another process of this run has ended or does not answer",
                notes=(f"`{clean(rundir)}` has the last checkpoint",),
                help="the same command with `--resume` goes on from there",
            )
        ) from None
    except KeyboardInterrupt:
        if os.path.isdir(rundir):
            say(f"interrupted; `--resume` goes on from the last checkpoint in {clean(rundir)}")
        raise
    name = backend.partition(":")[0]
    say(f"wrote {WEIGHTS}, {METRICS} and {source_name(graph, name)} to {clean(rundir)}")
    return 0


def _beside(
    spec: str,
    backend: str,
    data: str | None,
    parameters: Sequence[str],
    options: Mapping[str, Any],
) -> int:
    """The same in a process that is not the first: it writes nothing, and says nothing."""
    try:
        graph = build(read_spec(document.read(spec), written(parameters))).graph
        train(graph, backend, data, **options)
    except Interrupted:
        return INTERRUPTED
    except (LostWorker, UserError):
        # torchrun ends all processes with the first that fails, and the one that speaks has to
        # say why before that.
        time.sleep(PATIENCE)
        return 1
    return 0
