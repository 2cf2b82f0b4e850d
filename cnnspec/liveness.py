"""Memory of activations: what training keeps for backward, and the most that inference holds.

Counted in elements for one sample, of values as the graph has them: no layer works in place, and
no buffer of a framework is counted. A flatten or reshape is a view of its input; in inference
so is what a random layer passes on.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

from cnnspec.costs import VIEWS, keeps_inputs, keeps_output, kept_inside
from cnnspec.graph import Graph, Node, Value
from cnnspec.ops.base import Op


def inference_nodes(graph: Graph) -> tuple[Node[Op], ...]:
    """The layers behind the outputs that are not for training only, in order."""
    found = {output.value.id for output in graph.outputs if not output.training_only}
    for node in reversed(graph.nodes):
        if node.id in found:
            found.update(value.id for value in node.inputs)
    return tuple(node for node in graph.nodes if node.id in found)


def kept_elements(graph: Graph) -> int:
    """Elements that training keeps for backward, for one sample.

    That is every value that some layer's derivative is had from, its inputs or its output, once
    however many layers need it; the outputs; masks and indices.
    """
    homes = _homes(graph, graph.nodes, inference=False)
    kept = {homes[output.value.id] for output in graph.outputs}
    inside = 0
    for node in graph.nodes:
        inside += kept_inside(node)
        if keeps_output(node.op):
            kept.add(homes[node.id])
        elif keeps_inputs(node):
            kept.update(homes[value.id] for value in node.inputs)
    values: list[Value] = [*graph.inputs, *graph.nodes]
    return inside + sum(math.prod(value.shape) for value in values if value.id in kept)


def peak_elements(graph: Graph) -> int:
    """The most elements that are alive at once in inference, for one sample.

    Layers run in the order of the graph. A value lives from the layer that makes it, the inputs
    from the start, to the last layer that reads it; outputs live to the end. While a layer runs,
    both what it reads and what it makes are alive.
    """
    nodes = inference_nodes(graph)
    homes = _homes(graph, nodes, inference=True)
    values: list[Value] = [*graph.inputs, *nodes]
    sizes = {value.id: math.prod(value.shape) for value in values}
    last = {homes[v.id]: number for number, node in enumerate(nodes) for v in node.inputs}
    for output in graph.outputs:
        if not output.training_only:
            last[homes[output.value.id]] = len(nodes)
    live = peak = sum(sizes[entry.id] for entry in graph.inputs)
    for number, node in enumerate(nodes):
        if homes[node.id] == node.id:
            live += sizes[node.id]
            peak = max(peak, live)
        for home in {homes[value.id] for value in node.inputs}:
            if last[home] == number:
                live -= sizes[home]
    return peak


def _homes(graph: Graph, nodes: Iterable[Node[Op]], *, inference: bool) -> dict[str, str]:
    """For the id of each value, that of the one whose memory it is in."""
    homes = {entry.id: entry.id for entry in graph.inputs}
    for node in nodes:
        view = node.op.key in VIEWS or (inference and node.op.random)
        homes[node.id] = homes[node.inputs[0].id] if view else node.id
    return homes
