"""Opens a sequence that ends in an output's final activation, which the loss leaves out."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from cnnspec.backends.groups import Group
from cnnspec.backends.parts import Part
from cnnspec.backends.text import enclosing
from cnnspec.graph import Graph, Node, Scope
from cnnspec.ops.base import Op


def opened(
    graph: Graph,
    root: Group,
    folded: Mapping[str, Node[Op]],
    head: Callable[[str], str],
    last: Callable[[str], str],
    tail: Callable[[str], str] | None = None,
) -> tuple[list[Part], dict[str, str], dict[str, str]]:
    """The statements with such sequences called in parts.

    Args:
        graph: the network.
        root: its class.
        folded: output -> its final activation.
        head: from a container's expression to all of it but the last.
        last: to its last, as an object.
        tail: to its last, as something that is called like the container; default `last`.

    Returns:
        The statements, the expression that each new one calls, by its name, and for each output
        the key of the value that its loss reads.
    """
    found: list[Part] = []
    calls: dict[str, str] = {}
    logits = dict(root.outputs)
    scope = root.distinct[0]
    ends = {node.id: node for node in folded.values()}
    before_end: dict[str, str] = {}
    for part in root.parts:
        value = part.child.outputs[0][1] if isinstance(part.child, Scope) else part.child
        node = ends.get(value.id)
        if node is None:
            found.append(part)
            continue
        if isinstance(part.child, Node):
            found.append(part)
            before_end[node.id] = part.reads[0]
            continue
        container = f"self.{part.name}"
        source = part.reads[0]
        path = enclosing(graph, node)
        for depth, inner in enumerate(path):
            if len(inner.children) > 1:
                name = f"{inner.path}.head"
                key = f"{part.key}.head{depth}"
                found.append(_part(name, source, key, scope))
                calls[name] = head(container)
                source = key
            innermost = depth == len(path) - 1
            container = (tail or last)(container) if innermost else last(container)
        before_end[node.id] = source
        name = f"{node.id}.tail"
        found.append(_part(name, source, part.key, scope))
        calls[name] = container
    for output, node in folded.items():
        logits[output] = before_end[node.id]
    return found, calls, logits


def _part(name: str, source: str, key: str, scope: Scope) -> Part:
    return Part(name, (scope,), (source,), (key,), (name,))
