"""Commands that use a trained network: options are read here, the work is elsewhere."""

from __future__ import annotations

import gc
from typing import Annotated, Literal

import typer

from cnnspec.cli.app import DataOption, ParameterOption, SpecArgument, command
from cnnspec.cli.terminal import out, say
from cnnspec.cli.trained import (
    BackendOption,
    BestOption,
    DeviceOption,
    DtypeOption,
    FormOption,
    InvertOption,
    MeanOption,
    RescaleOption,
    ResizeOption,
    StdOption,
    WeightsOption,
    scaling,
)


@command("evaluate")
def evaluate(
    spec: SpecArgument,
    *,
    weights: WeightsOption,
    data: DataOption = None,
    half: Annotated[
        Literal["test", "train", "validation"], typer.Option("--split", help="Which samples.")
    ] = "test",
    form: FormOption = "text",
    best: BestOption = False,
    backend: BackendOption = "numpy",
    dtype: DtypeOption = "float64",
    device: DeviceOption = "cpu",
    parameters: ParameterOption = None,
) -> None:
    """Measure a trained network: loss, accuracy, top-5, each class, and the confusion matrix.

    Examples:
      cnnspec evaluate specs/digits.yaml --weights runs/digits
      cnnspec evaluate net.yaml -w net.safetensors -b keras --split train --format json
    """
    from cnnspec.evaluate.scoring import command as run

    gc.enable()  # see `cnnspec.__main__`
    status = run(
        spec,
        weights=weights,
        best=best,
        data=data,
        half=half,
        backend=backend,
        dtype=dtype,
        device=device,
        form=form,
        out=out,
        parameters=parameters or (),
    )
    raise typer.Exit(status)


@command("predict")
def predict(
    spec: SpecArgument,
    images: Annotated[
        list[str],
        typer.Argument(
            metavar="IMAGE",
            help="PNG, JPEG, .npy, .npz or safetensors, each one sample.",
            show_default=False,
        ),
    ],
    *,
    weights: WeightsOption,
    data: DataOption = None,
    top: Annotated[int, typer.Option("--top", min=1, metavar="K", help="How many classes.")] = 5,
    form: FormOption = "text",
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
) -> None:
    """Say what a trained network takes pictures for.

    Prints the likeliest classes of each, with their probabilities. A file that cannot be used is
    named, the others are answered all the same, and the exit status is 1.

    Examples:
      cnnspec predict net.yaml cat.jpg dog.jpg --weights runs/net --resize
      cnnspec predict mnist.yaml drawn.png -w runs/mnist --resize --invert --top 3
      cnnspec predict net.yaml *.png -w net.safetensors --format json
    """
    from cnnspec.evaluate.predicting import command as run

    gc.enable()  # see `cnnspec.__main__`
    status = run(
        spec,
        weights=weights,
        best=best,
        images=images,
        data=data,
        top=top,
        resize=resize,
        scaling=scaling(rescale, mean, std),
        invert=invert,
        backend=backend,
        dtype=dtype,
        device=device,
        form=form,
        out=out,
        say=say,
        parameters=parameters or (),
    )
    raise typer.Exit(status)
