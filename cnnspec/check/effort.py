"""How much of everything is enough: samples, updates, and perturbed runs."""

from __future__ import annotations

from cnnspec.graph import Graph, Value

COSTLY, LARGE, DEEP = 10**9, 2 * 10**7, 100
"""Multiply-accumulates of a batch of three, weights, or nodes, from which on one is costly."""

BATCH, COSTLY_BATCH = 3, 2
"""The smallest batch: where two do, three show nothing more but take half as long again."""

STEPS, COSTLY_STEPS = 5, 2
"""Updates that are compared where nobody says how many: momentum shows from the second on."""

REPLICATES, COSTLY_REPLICATES = (8, 5), (4, 2)
"""Of each layer on its own, and of a whole pass or training run.

The root mean square over a tensor steadies them, all the more where tensors are large.
"""


def costly(graph: Graph) -> bool:
    """Whether a pass or an update takes seconds, so that fewer of them have to do."""
    weights = sum(param.size for param in graph.params().values())
    if weights >= LARGE or len(graph.nodes) >= DEEP:
        return True
    return BATCH * sum(graph.macs(node) for node in graph.nodes) >= COSTLY


def batch_size(graph: Graph) -> int:
    """The smallest number that will do, and is no channel count and no size in the network.

    In a costly one, of its inputs and outputs: values that are mixed up inside differ anyway.
    """
    outputs = tuple(output.value for output in graph.outputs)
    values: tuple[Value, ...] = (*graph.inputs, *(outputs if costly(graph) else graph.nodes))
    taken = {size for value in values for size in value.shape}
    size = COSTLY_BATCH if costly(graph) else BATCH
    while size in taken:
        size += 1
    return size


def replicates(graph: Graph) -> tuple[int, int]:
    """How often a layer on its own, and a whole pass or run, is perturbed."""
    return COSTLY_REPLICATES if costly(graph) else REPLICATES


def steps(graph: Graph) -> int:
    """How many updates are compared."""
    return COSTLY_STEPS if costly(graph) else STEPS
