"""The `finetune` command: weights of another network, a new head, and a run of training."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from cnnspec import document
from cnnspec.backends.base import Dtype
from cnnspec.build import build
from cnnspec.finetune.sources import read_any
from cnnspec.finetune.taking import Taken, grouped, take
from cnnspec.parameters import written
from cnnspec.render import clean, render
from cnnspec.schema import read_spec
from cnnspec.train.running import attend

__all__ = ["command"]

MOST_LISTED = 12


def command(
    spec: str,
    *,
    weights: str,
    best: bool,
    of: str | None,
    drop_after: str | None,
    freeze: Sequence[str],
    rates: Mapping[str, float],
    backend: str,
    data: str | None,
    directory: str | None,
    dtype: Dtype,
    epochs: int | None,
    seed: int | None,
    force: bool,
    out: Callable[[str], None],
    say: Callable[[str], None],
    resume: bool = False,
    checkpoint_every: int | None = None,
    parameters: Sequence[str] = (),
) -> int:
    """Take over weights, say which, train, and leave a run directory behind.

    Args:
        spec: the file of the new network.
        weights: safetensors, a run directory, or a torch state dict, of the old one.
        best: of a run directory the best weights.
        of: the spec file of the old network, for the order of its layers.
        drop_after: a layer of the old network; those after it are not taken.
        freeze: patterns of parameters that are not trained.
        rates: pattern -> factor of the learning rate.
        backend: name of the back end.
        data: name of the source, instead of the data of the spec.
        directory: for the run; by default `runs/NAME-BACKEND`.
        dtype: of all arithmetic.
        epochs: instead of those of the spec.
        seed: instead of the one of the spec.
        force: whether a directory may be used that is not empty.
        out: prints a result.
        say: prints a remark.
        resume: whether to go on with the run in the directory, which began with these weights.
        checkpoint_every: updates between checkpoints, besides the one after each epoch.
        parameters: of the spec, each `name=value`.

    Returns:
        The exit status: 0, or 130 where it was interrupted.

    Raises:
        UserError: see `take`, `grouped` and `train`.
    """
    built = build(read_spec(document.read(spec), written(parameters)))
    if built.warnings:
        say(render(built.warnings, "full"))
    graph = grouped(built.graph, freeze, rates)
    old = None if of is None else build(read_spec(document.read(of))).graph
    found = take(
        graph,
        read_any(weights, best=best),
        of=old,
        drop_after=drop_after,
        seed=seed,
        what=f"`{weights}`",
    )
    for line in told(found):
        say(line)
    return attend(
        graph,
        backend,
        data,
        directory,
        out=out,
        say=say,
        epochs=epochs,
        seed=seed,
        dtype=dtype,
        force=force,
        resume=resume,
        checkpoint_every=checkpoint_every,
        initial=found.weights,
    )


def told(found: Taken) -> list[str]:
    """What became of each parameter, a line for each fate."""
    fates = {
        "taken": found.taken,
        "drawn anew": found.fresh,
        "dropped": found.dropped,
        "not used": found.unused,
    }
    return [f"{fate}: {len(names)} ({_listed(names)})" for fate, names in fates.items() if names]


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(clean(name) for name in names[:MOST_LISTED])
    return f"{shown}, ..." if len(names) > MOST_LISTED else shown
