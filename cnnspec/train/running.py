"""The `train` command: what the command line asks for, and what it says about it."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence

from cnnspec import document
from cnnspec.backends.base import Dtype
from cnnspec.build import build
from cnnspec.parameters import written
from cnnspec.render import clean, render
from cnnspec.schema import read_spec
from cnnspec.train.interrupt import Interrupted
from cnnspec.train.loop import train
from cnnspec.train.progress import Lines, Remarks, Terminal
from cnnspec.train.rundir import METRICS, WEIGHTS, source_name

__all__ = ["command"]

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
) -> int:
    """Train a network and leave a run directory behind.

    Args:
        spec: the file.
        backend: name of the back end.
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

    Returns:
        The exit status: 0, or 130 where it was interrupted.

    Raises:
        UserError: see `train`.
    """
    built = build(read_spec(document.read(spec), written(parameters)))
    if built.warnings:
        say(render(built.warnings, "full"))
    graph = built.graph
    rundir = os.path.join("runs", f"{graph.name}-{backend}") if directory is None else directory
    shown = Terminal(out, say) if sys.stderr.isatty() else Lines(out, say)
    try:
        train(
            graph,
            backend,
            data,
            epochs=epochs,
            seed=seed,
            dtype=dtype,
            rundir=rundir,
            progress=Remarks(say) if quiet else shown,
            force=force,
            resume=resume,
            checkpoint_every=checkpoint_every,
        )
    except Interrupted as interrupted:
        say(
            f"interrupted at {interrupted}; the same command with `--resume` goes on from there "
            f"in {clean(rundir)}"
        )
        return INTERRUPTED
    except KeyboardInterrupt:
        if os.path.isdir(rundir):
            say(f"interrupted; `--resume` goes on from the last checkpoint in {clean(rundir)}")
        raise
    say(f"wrote {WEIGHTS}, {METRICS} and {source_name(graph, backend)} to {clean(rundir)}")
    return 0
