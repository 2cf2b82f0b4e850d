"""The memory that a network needs while it runs, out of the same counts as those of `summary`.

What `summary` prints is the same in every framework: parameters, what backward needs, what is
alive in inference. Beside these a step holds gradients and an optimizer's buffers, and while
backward runs the gradients of values; what a back end does otherwise is said here.
"""

from __future__ import annotations

import math

from cnnspec.bench.results import Step
from cnnspec.graph import Graph
from cnnspec.liveness import kept_elements, peak_elements
from cnnspec.training import Training

__all__ = ["buffers", "predicted"]

FLOAT32 = 4
KEPT_BESIDES = {
    "numpy": frozenset({"batch_norm", "relu6", "hard_tanh"}),
    "torch": frozenset({"relu6", "hard_tanh"}),
}
"""Ops that keep as many elements as their output has, beyond what their derivative needs.

Those that are cut off at two ends keep their input, where the output would do; NumPy's batch norm
has the input without its mean.
"""


def predicted(graph: Graph, backend: str, batch: int, step: Step) -> int | None:
    """Bytes in float32 that running the network adds to the process; None for other back ends.

    Args:
        graph: with its training, where the step is one.
        backend: its name.
        batch: samples.
        step: what runs.
    """
    if backend not in KEPT_BESIDES:
        return None
    parameters = sum(param.size for param in graph.params().values())
    if step == "inference":
        return FLOAT32 * (parameters + batch * peak_elements(graph))
    trained = sum(param.size for param in graph.params().values() if param.trainable)
    assert graph.training is not None
    held = parameters + (1 + buffers(graph.training)) * trained
    values = kept_elements(graph) + _largest_gradients(graph)
    values += sum(math.prod(n.shape) for n in graph.nodes if n.op.key in KEPT_BESIDES[backend])
    return FLOAT32 * (held + batch * values)


def buffers(training: Training) -> int:
    """Values of the optimizer, and averages, for each parameter."""
    optimizer = training.optimizer
    fields = {name: getattr(optimizer, name) for name in type(optimizer).model_fields}
    count = {"sgd": 0, "adagrad": 1, "rmsprop": 1}.get(optimizer.key, 2)
    count += sum(1 for name in ("momentum", "centered", "amsgrad") if fields.get(name))
    return count + (training.average is not None)


def _largest_gradients(graph: Graph) -> int:
    """Elements of the gradients of a layer's value and inputs, of the layer with the most."""
    return max(
        (
            math.prod(node.shape) + sum(math.prod(shape) for shape in node.input_shapes)
            for node in graph.nodes
        ),
        default=0,
    )
