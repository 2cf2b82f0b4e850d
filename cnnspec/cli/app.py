"""The typer application that the command modules add to, and the options that they share."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from typing import Annotated, Any, Literal, TypeVar

import typer

from cnnspec.version import __version__

app = typer.Typer(
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="""Compile one spec of a convolutional network to NumPy, PyTorch and Keras, and prove that
    all of them compute the same.

    Start with `cnnspec new net.yaml`, then `cnnspec summary net.yaml` and
    `cnnspec compile net.yaml --backend torch`.""",
)


CommandT = TypeVar("CommandT", bound=Callable[..., Any])


def command(name: str, within: typer.Typer = app) -> Callable[[CommandT], CommandT]:
    """Add a command; its docstring is its help, and lines under `Examples:` stay as they are."""

    def add(function: CommandT) -> CommandT:
        # A line of its own with this character keeps a paragraph from being filled.
        text = re.sub(r"(?m)^(?=Examples?:$)", "\b\n", inspect.getdoc(function) or "")
        within.command(name, help=text)(function)
        return function

    return add


def refuse_both(*, resume: bool, force: bool) -> None:
    """A run cannot be gone on with and be replaced."""
    if resume and force:
        raise typer.BadParameter(
            "goes on with a run, and --force replaces it", param_hint="--resume"
        )


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"cnnspec {__version__}")
        raise typer.Exit


@app.callback()
def _common(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_version, is_eager=True, help="Print the version."),
    ] = False,
) -> None:
    pass


SpecArgument = Annotated[
    str, typer.Argument(metavar="SPEC", help="A YAML file, or a JSON one.", show_default=False)
]
SpecsArgument = Annotated[
    list[str],
    typer.Argument(metavar="SPEC", help="YAML or JSON files.", show_default=False),
]
ParameterOption = Annotated[
    list[str] | None,
    typer.Option(
        "--parameter",
        "-p",
        metavar="NAME=VALUE",
        help="A value for one of the spec's `parameters:`; may be given several times.",
        show_default=False,
    ),
]
BackendOption = Annotated[
    str,
    typer.Option(
        "--backend", "-b", metavar="NAME", help="numpy, torch or keras.", show_default=False
    ),
]
DataOption = Annotated[
    str | None,
    typer.Option(
        "--data",
        metavar="NAME",
        help="digits: real handwritten ones, 1x8x8; instead of the `data:` of the spec.",
        show_default=False,
    ),
]
CheckpointOption = Annotated[
    int | None,
    typer.Option(
        "--checkpoint-every",
        min=1,
        metavar="N",
        help="Updates between checkpoints, besides the one after each epoch.",
        show_default=False,
    ),
]
ResumeOption = Annotated[
    bool, typer.Option("--resume", help="Go on with the run in RUNDIR, if there is one.")
]
ForceOption = Annotated[bool, typer.Option("--force", help="Replace files that exist.")]
StrictOption = Annotated[
    bool, typer.Option("--strict", help="Exit with status 1 if there are warnings.")
]
OptimizeOption = Annotated[
    Literal["inference"] | None,
    typer.Option(
        "--optimize",
        help="For inference alone: norms go into weights, pads into what reads them, and what only "
        "training needs is left out.",
        show_default=False,
    ),
]
SeedOption = Annotated[
    int | None,
    typer.Option(
        "--seed",
        min=0,
        metavar="N",
        help="Instead of the one of the spec.",
        show_default=False,
    ),
]
