"""The command that looks for networks on which back ends disagree."""

from __future__ import annotations

import os
import sys
from typing import Annotated, Literal

import typer

from cnnspec.cli.app import ForceOption, command
from cnnspec.cli.terminal import out

__all__: list[str] = []


@command("fuzz")
def fuzz(
    *,
    examples: Annotated[
        int | None,
        typer.Option(
            "--examples",
            "-n",
            min=1,
            max=100_000_000,
            metavar="N",
            help="Number of networks.",
            show_default="100, or as many as --seconds allow",
        ),
    ] = None,
    seconds: Annotated[
        float | None,
        typer.Option(
            "--seconds",
            min=0,
            max=1e7,
            metavar="S",
            help="Begin no network after this time.",
            show_default=False,
        ),
    ] = None,
    most_nodes: Annotated[
        int,
        typer.Option(
            "--max-nodes", min=1, max=1000, metavar="N", help="Layers that a network may have."
        ),
    ] = 16,
    seed: Annotated[
        int, typer.Option("--seed", min=0, metavar="N", help="Equal seeds give equal networks.")
    ] = 0,
    ops: Annotated[
        str,
        typer.Option(
            "--ops",
            metavar="NAMES",
            help="Ops that every network has, separated by commas.",
            show_default=False,
        ),
    ] = "",
    backends: Annotated[
        str, typer.Option("--backends", metavar="NAMES", help="Separated by commas.")
    ] = "numpy,torch,keras",
    dtype: Annotated[
        Literal["float64", "float32", "both"] | None,
        typer.Option(
            "--dtype",
            help="Of the arithmetic.",
            show_default="float64; float32 for engines that have no other",
        ),
    ] = None,
    steps: Annotated[
        int, typer.Option("--steps", min=0, max=1000, metavar="K", help="Training steps.")
    ] = 2,
    native: Annotated[
        bool,
        typer.Option(
            "--native",
            help="Trust the frameworks' own layers wherever there is one, to judge them.",
        ),
    ] = False,
    jobs: Annotated[
        int | None,
        typer.Option(
            "--jobs",
            "-j",
            min=1,
            max=256,
            metavar="N",
            help="Networks that are checked at once.",
            show_default="one for each core",
        ),
    ] = None,
    directory: Annotated[
        str | None,
        typer.Option(
            "--output",
            "-o",
            metavar="DIR",
            help="Write each case there, as a spec that `check` replays.",
            show_default=False,
        ),
    ] = None,
    form: Annotated[
        Literal["text", "json"], typer.Option("--format", help="How to print the report.")
    ] = "text",
    force: ForceOption = False,
) -> None:
    """Check random networks, and shrink those on which back ends disagree.

    Networks have all ops and options over one to three dimensions, several inputs and outputs,
    shared layers and blocks. What is found is shrunk to a minimal spec; known faults of the
    frameworks are counted apart (docs/framework-faults.md).

    Exit status 0 if nothing was found, 1 if something was, 2 if a back end is missing.

    Examples:
      cnnspec fuzz
      cnnspec fuzz --seconds 600 --seed 1 -o found/
      cnnspec fuzz --backends numpy,torch --examples 5000 --ops conv_transpose,add
      cnnspec fuzz --native --backends numpy,keras:torch
    """
    from cnnspec import threads

    threads.single()  # before NumPy is imported
    from cnnspec.fuzz import FuzzOptions
    from cnnspec.fuzz.command import command as run
    from cnnspec.fuzz.options import EXAMPLES, usual_dtypes

    if examples is None and seconds is None:
        examples = EXAMPLES
    names = _names(backends, "--backends")
    dtypes = ("float64", "float32") if dtype == "both" else (dtype,) if dtype else None
    options = FuzzOptions(
        backends=names,
        examples=examples,
        seconds=seconds,
        most_nodes=most_nodes,
        seed=seed,
        ops=_names(ops, "--ops") if ops else (),
        dtypes=dtypes or usual_dtypes(names),
        steps=steps,
        layers="native" if native else "exact",
        jobs=jobs or len(os.sched_getaffinity(0)),
    )
    terminal = sys.stderr.isatty() and os.environ.get("TERM") != "dumb"
    status = run(options, form=form, directory=directory, force=force, out=out, terminal=terminal)
    raise typer.Exit(status)


def _names(text: str, option: str) -> tuple[str, ...]:
    """Names separated by commas."""
    found = tuple(name.strip() for name in text.split(",") if name.strip())
    if not found:
        raise typer.BadParameter("name at least one", param_hint=option)
    return found
