"""Opens a sequence that ends in an output's final activation, which the loss leaves out."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from cnnspec.backends import text
from cnnspec.backends.variables import Item
from cnnspec.graph import Graph, Node, Scope, Value
from cnnspec.ops.base import Op


def opened(
    graph: Graph,
    body: Sequence[Item],
    folded: Sequence[Node[Op]],
    head: Callable[[str], str],
    last: Callable[[str], str],
    tail: Callable[[str], str] | None = None,
) -> tuple[list[Item], dict[str, str]]:
    """The statements with such sequences called in parts, and the expression of each part.

    Args:
        graph: the network.
        body: its statements.
        folded: the final activations.
        head: from a container's expression to all of it but the last.
        last: to its last, as an object.
        tail: to its last, as something that is called like the container; default `last`.
    """
    found: list[Item] = []
    calls: dict[str, str] = {}
    ends = {node.id: node for node in folded}
    for item in body:
        node = ends.get(item.value.id)
        if not isinstance(item.child, Scope) or node is None:
            found.append(item)
            continue
        container = f"self.{item.child.name}"
        source: Value = item.reads[0]
        path = text.enclosing(graph, node)
        for depth, scope in enumerate(path):
            if len(scope.children) > 1:
                before = scope.children[-2]
                value = before.outputs[0][1] if isinstance(before, Scope) else before
                found.append(_part(f"{scope.path}.head", source, value))
                calls[f"{scope.path}.head"] = head(container)
                source = value
            innermost = depth == len(path) - 1
            container = (tail or last)(container) if innermost else last(container)
        found.append(_part(f"{node.id}.tail", source, node))
        calls[f"{node.id}.tail"] = container
    return found, calls


def _part(path: str, source: Value, value: Value) -> Item:
    scope = Scope(path, "part", None, (), (("input", source),), (("output", value),), ())
    return Item(scope, (source,), value)
