"""The order in which layers of shared running statistics are used."""

from __future__ import annotations

from cnnspec.graph import Graph, Node, Value
from cnnspec.ops.base import Op


def earlier_uses(graph: Graph) -> dict[str, tuple[Value, ...]]:
    """For a later use of shared statistics, the use before it, where no wire says so.

    Keras runs a functional model by depth and not in the order of its text, and running
    statistics that are shared move with each use in order.
    """
    last: dict[str, Node[Op]] = {}
    found: dict[str, tuple[Value, ...]] = {}
    shared = {node.weights_id for node in graph.nodes if node.owner is not None}
    for node in graph.nodes:
        if node.weights_id not in shared or not any(param.statistic for param in node.params):
            continue
        previous = last.get(node.weights_id)
        if previous is not None and not _reaches(previous, node):
            found[node.id] = (previous,)
        last[node.weights_id] = node
    return found


def _reaches(source: Value, target: Node[Op]) -> bool:
    """Whether one value goes into another, however many layers lie between."""
    queue: list[Value] = list(target.inputs)
    seen: set[str] = set()
    while queue:
        value = queue.pop()
        if value is source:
            return True
        if isinstance(value, Node) and value.id not in seen:
            seen.add(value.id)
            queue.extend(value.inputs)
    return False
