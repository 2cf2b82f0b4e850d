"""The `finetune` command: options are read here, the work is elsewhere."""

from __future__ import annotations

import gc
import math
from typing import Annotated

import typer

from cnnspec.cli.app import (
    BackendOption,
    CheckpointOption,
    DataOption,
    ForceOption,
    ParameterOption,
    ResumeOption,
    SeedOption,
    SpecArgument,
    command,
    refuse_both,
)
from cnnspec.cli.terminal import out, say
from cnnspec.cli.trained import BestOption, DtypeOption


@command("finetune")
def finetune(
    spec: SpecArgument,
    *,
    weights: Annotated[
        str,
        typer.Option(
            "--weights",
            "-w",
            metavar="FILE",
            help="Of the old network: safetensors, a run directory, or a state dict of torch.",
            show_default=False,
        ),
    ],
    of: Annotated[
        str | None,
        typer.Option(
            "--from",
            metavar="SPEC",
            help="Of the old network, for the order of its layers.",
            show_default="the new one",
        ),
    ] = None,
    drop_after: Annotated[
        str | None,
        typer.Option(
            "--drop-after",
            metavar="LAYER",
            help="Take nothing of what comes after this layer or block of the old network.",
            show_default=False,
        ),
    ] = None,
    freeze: Annotated[
        list[str] | None,
        typer.Option(
            "--freeze",
            metavar="PATTERN",
            help="Do not train these: parameters, layers, blocks, or a pattern with *; may be "
            "given several times.",
            show_default=False,
        ),
    ] = None,
    rate: Annotated[
        list[str] | None,
        typer.Option(
            "--rate",
            metavar="PATTERN=FACTOR",
            help="Train these with so many times the learning rate; may be given several times.",
            show_default=False,
        ),
    ] = None,
    backend: BackendOption,
    data: DataOption = None,
    directory: Annotated[
        str | None,
        typer.Option(
            "--output", "-o", metavar="RUNDIR", help="Of the new run.", show_default=False
        ),
    ] = None,
    dtype: DtypeOption = "float64",
    epochs: Annotated[
        int | None,
        typer.Option(
            "--epochs",
            min=0,
            max=1_000_000,
            metavar="N",
            help="Instead of those of the spec.",
            show_default=False,
        ),
    ] = None,
    best: BestOption = False,
    checkpoint_every: CheckpointOption = None,
    resume: ResumeOption = False,
    parameters: ParameterOption = None,
    seed: SeedOption = None,
    force: ForceOption = False,
) -> None:
    """Train a network that starts from the weights of another one, of any back end.

    Parameters whose names and shapes fit are taken over, the others are drawn; all are listed. A
    shape that differs is an error, unless --drop-after leaves it out.

    Examples:
      cnnspec finetune new.yaml -w runs/old --drop-after features --freeze features -b keras
      cnnspec finetune new.yaml -w resnet18.pth --drop-after avgpool --rate 'layer*=0.1' -b torch
    """
    from cnnspec.finetune import command as run

    refuse_both(resume=resume, force=force)
    gc.enable()  # see `cnnspec.__main__`
    status = run(
        spec,
        weights=weights,
        best=best,
        of=of,
        drop_after=drop_after,
        freeze=freeze or (),
        rates=dict(_rate(text) for text in rate or ()),
        backend=backend,
        data=data,
        directory=directory,
        dtype=dtype,
        epochs=epochs,
        seed=seed,
        force=force,
        resume=resume,
        checkpoint_every=checkpoint_every,
        out=out,
        say=say,
        parameters=parameters or (),
    )
    raise typer.Exit(status)


def _rate(text: str) -> tuple[str, float]:
    pattern, equals, factor = text.rpartition("=")
    try:
        number = float(factor)
    except ValueError:
        number = float("nan")
    if not equals or not pattern or math.isnan(number):
        raise typer.BadParameter(f"{text!r} is not of the form PATTERN=FACTOR", param_hint="--rate")
    return pattern, number
