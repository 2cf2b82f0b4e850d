"""What `validate` does; it does not import typer, whose start takes as long as all of this."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from cnnspec.cli.terminal import out, report
from cnnspec.diagnostics import Diagnostic, UserError

if TYPE_CHECKING:
    from cnnspec.build import Built
    from cnnspec.graph import Graph
    from cnnspec.render import Form

__all__ = ["is_plain", "printable", "read", "validate"]


def is_plain(arguments: Sequence[str]) -> bool:
    """Whether a command line is `validate` and names of files, with no option."""
    return (
        arguments[:1] == ["validate"]
        and len(arguments) > 1
        and not any(argument.startswith("-") for argument in arguments)
    )


def validate(
    specs: Sequence[str],
    form: Form = "full",
    parameters: Sequence[str] | None = None,
    *,
    strict: bool = False,
) -> int:
    """Check the specs in these files, print what is found, and return the exit status.

    Args:
        specs: names of files.
        form: how diagnostics are printed.
        parameters: those of `-p`.
        strict: whether warnings make the status 1.
    """
    found: list[Diagnostic] = []
    status = 0
    for path in specs:
        try:
            built = read(path, parameters)
        except UserError as error:
            found += error.diagnostics
            status = max(status, error.exit_status)
            continue
        found += built.warnings
        if strict and built.warnings:
            status = max(status, 1)
        if form != "json":
            out(f"{printable(path)}: ok, {_counts(built.graph)}")
    if form == "json":
        from cnnspec.render import render

        out(render(found, "json"))
    elif found:
        report(found, form)
    return status


def read(path: str, parameters: Sequence[str] | None = None) -> Built:
    """The graph of a file, and the warnings found on the way; `parameters` are those of `-p`."""
    from cnnspec import document
    from cnnspec.build import build
    from cnnspec.parameters import written
    from cnnspec.schema import read_spec

    return build(read_spec(document.read(path), written(parameters or ())))


def printable(path: str) -> str:
    """A file's name without control characters."""
    if path.isascii() and path.isprintable():
        return path
    from cnnspec.render import clean

    return clean(path)


def _counts(graph: Graph) -> str:
    weights = sum(param.size for param in graph.params().values())
    return f"{_plural(len(graph.nodes), 'layer')}, {_plural(weights, 'parameter')}"


def _plural(count: int, what: str) -> str:
    return f"{count:,} {what}{'' if count == 1 else 's'}"
