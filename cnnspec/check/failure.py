"""What a report says about the first difference beside its numbers: who, where, what pattern."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from cnnspec.backends import Style, get
from cnnspec.check.evidence import Details
from cnnspec.check.majority import Standing
from cnnspec.diagnostics import Label, Span, UserError
from cnnspec.graph import Graph, Scope

if TYPE_CHECKING:
    from cnnspec.check.compare import Comparison
    from cnnspec.check.options import Difference, Options


@dataclass(frozen=True, slots=True)
class Written:
    """Where `compile` writes a layer.

    Attributes:
        backend: the back end.
        line: of the file, from 1.
        text: that line, without the spaces around it.
        command: what writes the file.
    """

    backend: str
    line: int
    text: str
    command: str


@dataclass(frozen=True, slots=True)
class Instance:
    """An instance of a block that a layer is in: its path, the block, and where it was used."""

    path: str
    block: str
    used: Span


@dataclass(frozen=True, slots=True)
class Failure:
    """What is known about a difference beside its comparison.

    Attributes:
        details: histogram and patterns; None where shapes differ.
        standing: who agrees with whom.
        written: the layer's line in the files of the back ends that differ.
        instances: the blocks around it, innermost first.
    """

    details: Details | None = None
    standing: Standing = field(default_factory=Standing)
    written: tuple[Written, ...] = ()
    instances: tuple[Instance, ...] = ()


def style_of(options: Options) -> Style:
    """How the text is written that is checked."""
    return Style(random="counter", layers=options.layers)


def written(graph: Graph, found: Comparison, options: Options) -> tuple[Written, ...]:
    """The layer's line in each file that a user can compile; a file of his own he has."""
    random = any(node.op.random for node in graph.nodes)
    lines = []
    for name in found.backends:
        if name in options.sources or name not in options.backends:
            continue
        try:
            emitted = get(name.partition(":")[0]).emit(graph, style_of(options))  # of any engine
        except UserError:
            continue
        place = emitted.lines.get(found.node)
        if place is not None:
            text = emitted.text.splitlines()[place.range.line - 1].strip()
            command = f"compile -b {name}{' --reproducible' if random else ''}"
            command += " --native" if options.layers == "native" else ""
            lines.append(Written(name, place.range.line, text, command))
    return tuple(lines)


def instances(graph: Graph, node: str) -> tuple[Instance, ...]:
    """The blocks around a layer, innermost first, where they were written in a file."""
    try:
        origin = graph.node(node).origin
    except KeyError:
        return ()
    if origin is None:
        return ()
    blocks = [scope for scope in around(graph.root, node) if scope.kind == "block"]
    return tuple(
        Instance(scope.path, scope.block or "", span)
        for scope, span in zip(reversed(blocks), origin.expanded, strict=False)
    )


def around(scope: Scope, node: str) -> Iterator[Scope]:
    """The scopes that a node is in, outermost first, without the network itself."""
    for child in scope.children:
        if not isinstance(child, Scope):
            continue
        if child.kind == "instances" or node.startswith(f"{child.path}."):
            inner = list(around(child, node))
            if child.kind != "instances" or inner:
                yield from (child, *inner)
                return


# --- in a report ---------------------------------------------------------------------------------


def labels(found: Difference) -> tuple[Label, ...]:
    """The places where the blocks around the layer are used."""
    return tuple(
        Label(each.used, f"in `{each.path}`, which is made here")
        for each in found.failure.instances
    )


def notes(found: Difference) -> list[str]:
    """For people, the most useful first."""
    failure, said = found.failure, []
    if failure.details is not None:
        said.append(failure.details.histogram.line())
        said += failure.details.hints
    if failure.standing.sentence:
        said.append(failure.standing.sentence)
    said += [
        f"{each.backend}: line {each.line} of what `{each.command}` writes: {each.text}"
        for each in failure.written
    ]
    return said


def fields(found: Difference) -> dict[str, Any]:
    """For programs."""
    failure = found.failure
    details = failure.details
    made: Mapping[str, Any] | None = found.minimized
    return {
        "histogram": None if details is None else details.histogram.json(),
        "hints": [] if details is None else list(details.hints),
        "alone": failure.standing.alone,
        "standing": failure.standing.sentence,
        "emitted": [
            {"backend": w.backend, "line": w.line, "text": w.text, "command": w.command}
            for w in failure.written
        ],
        "instances": [
            {
                "path": each.path,
                "block": each.block,
                "file": each.used.source.name,
                "line": each.used.line,
                "column": each.used.column,
            }
            for each in failure.instances
        ],
        "minimized": None if made is None else dict(made),
    }
