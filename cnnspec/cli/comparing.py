"""The command that compares two specs; it imports no framework."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from cnnspec.cli.app import ParameterOption, command
from cnnspec.cli.reading import load
from cnnspec.cli.terminal import out

BeforeArgument = Annotated[
    str, typer.Argument(metavar="BEFORE", help="A YAML file, or a JSON one.", show_default=False)
]
AfterArgument = Annotated[
    str, typer.Argument(metavar="AFTER", help="The one to compare with it.", show_default=False)
]


@command("diff")
def diff(
    before: BeforeArgument,
    after: AfterArgument,
    *,
    form: Annotated[
        Literal["text", "json", "markdown"], typer.Option("--format", help="How to print it.")
    ] = "text",
    parameters: ParameterOption = None,
) -> None:
    """Show how two networks differ: layers, their fields, shapes, parameters and training.

    Compared is what the specs mean: how they are written makes no difference. A layer that was
    put in does not change those below it, though their shapes may follow. `-p` goes to both specs.

    Exit status 0 if nothing differs, 1 if something does or a spec is wrong, 2 if a file is
    missing.

    Examples:
      cnnspec diff old.yaml new.yaml
      cnnspec diff old.yaml new.yaml --format markdown | pbcopy
      cnnspec diff a.yaml b.yaml --format json | jq .layers.added
    """
    from cnnspec.diff import diff as compare
    from cnnspec.diff import render_diff

    found = compare(load(before, parameters), load(after, parameters))
    out(render_diff(found, form))
    raise typer.Exit(1 if found else 0)
