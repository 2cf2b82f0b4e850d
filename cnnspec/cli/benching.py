"""The `bench` command: options are read here, the work is elsewhere."""

from __future__ import annotations

import gc
from typing import Annotated, Literal

import typer

from cnnspec.cli.app import ForceOption, ParameterOption, SpecArgument, command
from cnnspec.cli.inspecting import told
from cnnspec.cli.reading import load
from cnnspec.cli.terminal import out


@command("bench")
def bench(
    spec: SpecArgument,
    *,
    backends: Annotated[
        list[str] | None,
        typer.Option(
            "--backend",
            "-b",
            metavar="NAME",
            help="numpy, torch, keras or keras:jax; may be given several times.",
            show_default="every one that is installed",
        ),
    ] = None,
    batch: Annotated[
        int, typer.Option("--batch", min=1, metavar="N", help="Samples of a call.")
    ] = 1,
    threads: Annotated[
        int | None,
        typer.Option(
            "--threads",
            min=1,
            max=1024,
            metavar="N",
            help="Of every library.",
            show_default="one for each core",
        ),
    ] = None,
    device: Annotated[
        Literal["cpu", "cuda", "auto"],
        typer.Option("--device", help="auto is the GPU where PyTorch finds one."),
    ] = "cpu",
    seconds: Annotated[
        float,
        typer.Option(
            "--seconds", min=0.01, max=3600, metavar="S", help="That each time is measured for."
        ),
    ] = 1.0,
    training: Annotated[
        bool, typer.Option("--training/--no-training", help="Training steps as well.")
    ] = True,
    layers: Annotated[
        bool, typer.Option("--layers/--no-layers", help="Each layer by itself as well.")
    ] = True,
    form: Annotated[
        Literal["table", "json", "markdown"], typer.Option("--format", help="How to print it.")
    ] = "table",
    output: Annotated[
        str | None,
        typer.Option("--output", "-o", metavar="FILE", help="JSON, besides.", show_default=False),
    ] = None,
    plot: Annotated[
        str | None,
        typer.Option("--plot", metavar="FILE", help="A PNG of it.", show_default=False),
    ] = None,
    timeout: Annotated[
        float,
        typer.Option("--timeout", min=1, metavar="S", help="For each measurement."),
    ] = 600.0,
    force: ForceOption = False,
    parameters: ParameterOption = None,
) -> None:
    """Measure the time and memory of a network in each back end.

    Inference and a training step of what `compile` writes, each in a process of its own: the time
    of a batch, the share of the speed of this machine's matrix products, the peak of resident
    memory beside what the counts of `summary` predict, and the time of each layer by itself.

    Exit status 1 if a back end fails, 2 if it or the device is missing.

    Examples:
      cnnspec bench specs/resnet18.yaml
      cnnspec bench net.yaml --batch 32 --backend torch --no-layers
      cnnspec bench net.yaml --format json --plot bench.png
    """
    from cnnspec.bench import Options
    from cnnspec.bench.command import run

    gc.enable()  # see `cnnspec.__main__`
    options = Options(
        backends=tuple(backends or ()),
        batch=batch,
        threads=threads,
        device=device,
        seconds=seconds,
        training=training,
        layers=layers,
        timeout=timeout,
    )
    status = run(
        load(spec, parameters),
        spec,
        options,
        parameters=parameters or (),
        form=form,
        plot=plot,
        output=output,
        force=force,
        out=out,
        tell=told,
    )
    raise typer.Exit(status)
