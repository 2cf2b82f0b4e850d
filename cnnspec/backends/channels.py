"""How a block's own text spells the number of channels of each value in it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from cnnspec.graph import Graph, Node, Scope, Value


def spelled_channels(graph: Graph) -> dict[str, str]:
    """For each node the expression of its first input's channels, as the nearest layer gives it.

    A batch norm behind `conv: {filters: $channels}` has `channels`, even where the block's inputs
    have as many in every instance. Nodes behind a constant, or behind an input, are left out.
    """
    found: dict[str, str] = {}
    _walk(graph.root, {}, found)
    return found


def _walk(scope: Scope, known: dict[str, str], found: dict[str, str]) -> None:
    """Add the nodes of a scope; `known` has the values of the block around it, by id."""
    for child in scope.children:
        if isinstance(child, Node):
            first = child.inputs[0]
            if first.id in known:
                found[child.id] = known[first.id]
            numbers = ((getattr(child.op, f, None), e) for f, e in child.expressions.items())
            _note(child, child.inputs[:1], numbers, known)
        elif child.kind == "block":
            _walk(child, {}, found)
            for _, value in child.outputs:
                numbers = ((a.value, a.expression) for a in child.arguments if a.expression)
                _note(value, [v for _, v in child.inputs[:1]], numbers, known)
        else:
            _walk(child, known, found)


def _note(
    value: Value,
    sources: Sequence[Value],
    numbers: Iterable[tuple[object, str | None]],
    known: dict[str, str],
) -> None:
    channels = value.shape[0]
    text = next((text for number, text in numbers if text and number == channels), None)
    for source in sources:
        if text is None and source.shape[0] == channels:
            text = known.get(source.id)
    if text is not None:
        known[value.id] = text
