"""Options that commands with a trained network share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

import typer

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
