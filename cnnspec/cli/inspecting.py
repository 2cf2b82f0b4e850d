"""The `features` command: options are read here, the work is elsewhere."""

from __future__ import annotations

import gc
import sys
from typing import Annotated

import typer

from cnnspec.cli.app import DataOption, ForceOption, ParameterOption, SpecArgument, command
from cnnspec.cli.terminal import say
from cnnspec.cli.trained import (
    BackendOption,
    BestOption,
    DeviceOption,
    DtypeOption,
    InvertOption,
    MeanOption,
    RescaleOption,
    ResizeOption,
    StdOption,
    WeightsOption,
    scaling,
)


def told(text: str) -> None:
    """Say what is being done, on one line of a terminal; nothing into a file."""
    if sys.stderr.isatty():
        sys.stderr.write(f"\r\x1b[K{text}\r")
        sys.stderr.flush()


@command("features")
def features(
    spec: SpecArgument,
    *,
    weights: WeightsOption,
    directory: Annotated[
        str,
        typer.Option("--output", "-o", metavar="DIR", help="For the files.", show_default=False),
    ],
    image: Annotated[
        list[str] | None,
        typer.Option(
            "--image",
            "-i",
            metavar="FILE",
            help="PNG, JPEG, .npy, .npz or safetensors; NAME=FILE for each of several inputs.",
            show_default=False,
        ),
    ] = None,
    sample: Annotated[
        int | None,
        typer.Option(
            "--sample",
            min=0,
            metavar="K",
            help="Sample K of the test set of `--data` instead.",
            show_default=False,
        ),
    ] = None,
    data: DataOption = None,
    layers: Annotated[
        str | None,
        typer.Option(
            "--layers",
            metavar="NAMES",
            help="Layers, blocks or patterns with *, separated by commas; or all.",
            show_default="all, or of a large network those with filters",
        ),
    ] = None,
    chosen: Annotated[
        str | None,
        typer.Option(
            "--class",
            metavar="NAME",
            help="The class that is explained, or its number.",
            show_default="the likeliest",
        ),
    ] = None,
    channels: Annotated[
        int,
        typer.Option("--channels", min=1, max=1024, metavar="N", help="Drawn of a layer at most."),
    ] = 64,
    saliency: Annotated[
        bool,
        typer.Option("--saliency/--no-saliency", help="The gradient with respect to the input."),
    ] = True,
    occlusion: Annotated[
        bool, typer.Option("--occlusion/--no-occlusion", help="What covering a part changes.")
    ] = True,
    patch: Annotated[
        int | None,
        typer.Option(
            "--patch",
            min=1,
            metavar="N",
            help="Positions covered along each axis.",
            show_default="a sixth of each axis",
        ),
    ] = None,
    stride: Annotated[
        int | None,
        typer.Option(
            "--stride",
            min=1,
            metavar="N",
            help="From one patch to the next.",
            show_default="half a patch",
        ),
    ] = None,
    resize: ResizeOption = False,
    invert: InvertOption = False,
    rescale: RescaleOption = None,
    mean: MeanOption = None,
    std: StdOption = None,
    best: BestOption = False,
    backend: BackendOption = "numpy",
    dtype: DtypeOption = "float64",
    device: DeviceOption = "cpu",
    parameters: ParameterOption = None,
    force: ForceOption = False,
) -> None:
    """Show filters, feature maps, saliency and occlusion of a trained network.

    Writes a PNG sheet for each, and index.html with all of them in it. Values are those of the
    compiled file, every layer of which is traced.

    Examples:
      cnnspec features specs/digits.yaml -w runs/digits --sample 3 -o features
      cnnspec features net.yaml -w net.safetensors -i cat.jpg --resize --layers 'conv*' -o out
      cnnspec features net.yaml -w net.safetensors -i left=a.png -i right=b.png -o out
    """
    if (sample is None) == (not image):
        raise typer.BadParameter("give either --image or --sample", param_hint="--image")
    from cnnspec.inspect.running import command as run
    from cnnspec.inspect.sheets import Options

    pixels = scaling(rescale, mean, std)
    gc.enable()  # see `cnnspec.__main__`
    status = run(
        spec,
        weights=weights,
        best=best,
        images=image or (),
        sample=sample,
        data=data,
        resize=resize,
        scaling=pixels,
        invert=invert,
        backend=backend,
        dtype=dtype,
        device=device,
        directory=directory,
        options=Options(layers, chosen, channels, saliency, occlusion, patch, stride),
        force=force,
        say=say,
        told=told,
        parameters=parameters or (),
    )
    raise typer.Exit(status)
