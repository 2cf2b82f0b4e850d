"""Commands that only read a spec, or print what cnnspec knows; they import no framework."""

from __future__ import annotations

import gc
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from cnnspec.cli import validating
from cnnspec.cli.app import (
    ForceOption,
    OptimizeOption,
    ParameterOption,
    SpecArgument,
    SpecsArgument,
    StrictOption,
    command,
)
from cnnspec.cli.terminal import out, report, say
from cnnspec.cli.validating import printable, read

if TYPE_CHECKING:
    from cnnspec.graph import Graph

TableOption = Annotated[
    Literal["table", "json", "markdown"], typer.Option("--format", help="How to print it.")
]


def load(path: str, parameters: Sequence[str] | None = None, *, strict: bool = False) -> Graph:
    """The graph of a file; warnings are printed, and under `strict` they end the command."""
    built = read(path, parameters)
    gc.enable()  # see `cnnspec.__main__`
    if built.warnings:
        report(built.warnings)
        if strict:
            raise typer.Exit(1)
    return built.graph


@command("validate")
def validate(
    specs: SpecsArgument,
    *,
    form: Annotated[
        Literal["full", "concise", "json"],
        typer.Option(
            "--format",
            help="full shows the source, concise is a line for each fault, json goes to the "
            "standard output.",
        ),
    ] = "full",
    parameters: ParameterOption = None,
    strict: StrictOption = False,
) -> None:
    """Check specs: their form, names, wires and shapes.

    All faults of a phase are reported together, each with its place and, where there is one, what
    would mend it. No framework is needed.

    Examples:
      cnnspec validate net.yaml
      cnnspec validate specs/*.yaml --strict
      cnnspec validate net.yaml --format json
    """
    raise typer.Exit(validating.validate(specs, form, parameters, strict=strict))


@command("summary")
def summary(
    spec: SpecArgument,
    *,
    form: Annotated[
        Literal["table", "json", "markdown", "csv"],
        typer.Option("--format", help="How to print it; json has everything."),
    ] = "table",
    depth: Annotated[
        int | None,
        typer.Option(
            "--depth",
            min=0,
            metavar="N",
            help="Add up what has more than N parts in its name in its block or sequence; 0 is one "
            "row for the network.",
            show_default=False,
        ),
    ] = None,
    batch: Annotated[
        int, typer.Option("--batch", min=1, metavar="N", help="For the memory of activations.")
    ] = 1,
    columns: Annotated[
        str | None,
        typer.Option(
            "--columns", metavar="NAMES", help="Separated by commas, or all.", show_default=False
        ),
    ] = None,
    parameters: ParameterOption = None,
    strict: StrictOption = False,
) -> None:
    """Show each layer's output shape, parameters, work and receptive field.

    Work is counted for one sample in inference: multiply-accumulates (MACs) of convolutions and
    dense layers, FLOPs of the same, and all other operations apart. Below the table is the memory
    of parameters and activations.

    Examples:
      cnnspec summary net.yaml
      cnnspec summary net.yaml --depth 1 --batch 32
      cnnspec summary net.yaml --columns layer,flops,other_ops,field,stride
      cnnspec summary net.yaml --format markdown > net.md
      cnnspec summary net.yaml --format json | jq .macs
    """
    from cnnspec.summary import summarize
    from cnnspec.summary_text import COLUMNS, render_summary

    names = None
    if columns is not None:
        names = list(COLUMNS) if columns == "all" else [n.strip() for n in columns.split(",")]
        unknown = [name for name in names if name not in COLUMNS]
        if unknown:
            raise typer.BadParameter(
                f"there is no column {unknown[0]!r}; there is {', '.join(COLUMNS)}",
                param_hint="--columns",
            )
    found = summarize(load(spec, parameters, strict=strict), depth=depth, batch=batch)
    out(render_summary(found, form, names))


@command("explain")
def explain(
    spec: SpecArgument,
    layer: Annotated[
        str | None,
        typer.Argument(
            metavar="LAYER", help="Its full name; by default every layer.", show_default=False
        ),
    ] = None,
    parameters: ParameterOption = None,
) -> None:
    """Show how each output size comes about.

    That is the formula with the numbers in it, what is left unread at the borders, which paddings
    would fit, and the receptive field.

    Examples:
      cnnspec explain net.yaml
      cnnspec explain net.yaml conv2
      cnnspec explain net.yaml layer2.0.conv1
    """
    from cnnspec.explain import explain as explained

    out(explained(load(spec, parameters), layer))


@command("expand")
def expand(
    spec: SpecArgument, parameters: ParameterOption = None, optimize: OptimizeOption = None
) -> None:
    """Print the spec with every default filled in.

    Every name, input and field is written out, and it is one file. Blocks are kept, without
    parameters: there is one for each way in which a block is used.

    Examples:
      cnnspec expand net.yaml
      cnnspec expand net.yaml -p width=128
      cnnspec expand net.yaml > net.full.yaml
      cnnspec expand net.yaml --optimize inference
    """
    from cnnspec.expand import expand as expanded

    graph = load(spec, parameters)
    if optimize is not None:
        from cnnspec.optimize import optimize as optimized

        graph = optimized(graph)
    out(expanded(graph).rstrip("\n"))


@command("ops")
def ops(form: TableOption = "table") -> None:
    """List the ops, and which back end has them.

    Examples:
      cnnspec ops
      cnnspec ops --format markdown
    """
    from cnnspec.cli.matrix import matrix, render_matrix

    out(render_matrix(matrix(), form))


@command("schema")
def schema() -> None:
    """Print the JSON Schema of specs, for editors.

    An editor that knows it completes and checks a spec while it is typed.

    Example:
      cnnspec schema > cnnspec.schema.json
      and as the first line of a spec:
      # yaml-language-server: $schema=cnnspec.schema.json
    """
    import json

    from cnnspec.json_schema import json_schema

    out(json.dumps(json_schema(), indent=2))


@command("new")
def new(
    file: Annotated[
        str | None,
        typer.Argument(metavar="FILE", help="By default the standard output.", show_default=False),
    ] = None,
    force: ForceOption = False,
) -> None:
    """Write a small spec with comments to start from.

    Examples:
      cnnspec new net.yaml
      cnnspec new | less
    """
    from cnnspec.starter import STARTER

    if file is None:
        out(STARTER.rstrip("\n"))
        return
    from cnnspec.files import write_text

    write_text(file, STARTER, force=force)
    say(f"wrote {printable(file)}; next: cnnspec summary {printable(file)}")
