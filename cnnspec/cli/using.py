"""Commands that use a trained network: options are read here, the work is elsewhere."""

from __future__ import annotations

import gc
import sys
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from cnnspec.cli.app import (
    DataOption,
    ForceOption,
    ParameterOption,
    SeedOption,
    SpecArgument,
    command,
)
from cnnspec.cli.app import BackendOption as TrainedIn
from cnnspec.cli.terminal import out, say

if TYPE_CHECKING:
    from cnnspec.images import Scaling

Dtype = Literal["float64", "float32"]

WeightsOption = Annotated[
    str,
    typer.Option(
        "--weights",
        "-w",
        metavar="FILE",
        help="A safetensors file, or a run directory.",
        show_default=False,
    ),
]
BestOption = Annotated[
    bool, typer.Option("--best", help="Of a run directory the weights of the best epoch.")
]
BackendOption = Annotated[
    str, typer.Option("--backend", "-b", metavar="NAME", help="numpy, torch or keras.")
]
DtypeOption = Annotated[Dtype, typer.Option("--dtype", help="Of all arithmetic.")]
DeviceOption = Annotated[
    Literal["cpu", "cuda"], typer.Option("--device", help="Of all back ends but NumPy.")
]
FormOption = Annotated[Literal["text", "json"], typer.Option("--format", help="How to print it.")]
ResizeOption = Annotated[
    bool,
    typer.Option("--resize", help="Resize pictures of another size, instead of refusing them."),
]
InvertOption = Annotated[
    bool, typer.Option("--invert", help="Take 1 - p of each pixel p: for dark strokes on white.")
]
RescaleOption = Annotated[
    str | None,
    typer.Option(
        "--rescale",
        metavar="LOW,HIGH",
        help="What black and white become.",
        show_default="as the spec's `data:` says, else 0,1",
    ),
]
MeanOption = Annotated[
    str | None,
    typer.Option(
        "--mean",
        metavar="NUMBERS",
        help="Taken from each channel, after `--rescale`.",
        show_default=False,
    ),
]
StdOption = Annotated[
    str | None,
    typer.Option(
        "--std", metavar="NUMBERS", help="That each channel is divided by.", show_default=False
    ),
]


def scaling(rescale: str | None, mean: str | None, std: str | None) -> Scaling | None:
    """How pixels become inputs, as the options say; None where they say nothing."""
    if rescale is None and mean is None and std is None:
        return None
    from cnnspec.images import Scaling

    ends = _numbers("--rescale", rescale) or (0.0, 1.0)
    if len(ends) != 2:
        raise typer.BadParameter("two numbers, such as -1,1", param_hint="--rescale")
    return Scaling(ends[0], ends[1], _numbers("--mean", mean), _numbers("--std", std))


def _numbers(option: str, text: str | None) -> tuple[float, ...]:
    if text is None:
        return ()
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError:
        raise typer.BadParameter(
            f"{text!r} is not numbers with commas between them", param_hint=option
        ) from None


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
    backend: TrainedIn,
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
    if not equals or not pattern or number != number:
        raise typer.BadParameter(f"{text!r} is not of the form PATTERN=FACTOR", param_hint="--rate")
    return pattern, number
