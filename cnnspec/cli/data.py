"""Commands that look at data: options are read here, the work is elsewhere."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from cnnspec.cli.app import (
    DataOption,
    ForceOption,
    ParameterOption,
    SeedOption,
    SpecArgument,
    app,
    command,
)
from cnnspec.cli.reading import load
from cnnspec.cli.terminal import out, say

looking = typer.Typer(
    rich_markup_mode=None,
    no_args_is_help=True,
    help="Look at the data that a spec names.",
)
app.add_typer(looking, name="data")


@command("preview", looking)
def preview(
    spec: SpecArgument,
    *,
    output: Annotated[
        str,
        typer.Option(
            "--output", "-o", metavar="FILE", help="A PNG file to write.", show_default=False
        ),
    ],
    epoch: Annotated[
        int,
        typer.Option("--epoch", min=0, max=1_000_000_000, metavar="E", help="The first, from 0."),
    ] = 0,
    count: Annotated[
        int, typer.Option("--count", min=1, max=100, metavar="N", help="Samples.")
    ] = 8,
    epochs: Annotated[
        int, typer.Option("--epochs", min=1, max=20, metavar="N", help="So many epochs.")
    ] = 5,
    data: DataOption = None,
    parameters: ParameterOption = None,
    seed: SeedOption = None,
    force: ForceOption = False,
) -> None:
    """Write a sheet of training samples, untouched and augmented.

    A row is a sample, and a column an epoch, which shows it as a training run of this seed sees it.

    Examples:
      cnnspec data preview net.yaml -o sheet.png
      cnnspec data preview net.yaml -o sheet.png --epoch 10 --count 16 --force
    """
    graph = load(spec, parameters)
    from cnnspec.data.showing import preview as write

    say(
        write(
            graph,
            output,
            data=data,
            epoch=epoch,
            count=count,
            variants=epochs,
            seed=seed,
            force=force,
        )
    )


@command("info", looking)
def info(
    spec: SpecArgument,
    *,
    form: Annotated[Literal["text", "json"], typer.Option("--format", help="How.")] = "text",
    data: DataOption = None,
    parameters: ParameterOption = None,
) -> None:
    """Print sizes, classes, shapes, statistics of each channel, and files that were left out.

    Examples:
      cnnspec data info net.yaml
    """
    graph = load(spec, parameters)
    from cnnspec.data.showing import described

    out(described(graph, data=data, form=form))
