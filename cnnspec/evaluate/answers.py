"""What an output says about classes: probabilities, whatever its last layer is."""

from __future__ import annotations

from typing import Literal

import numpy as np

from cnnspec.data.dataset import Array
from cnnspec.graph import Graph, Node, Output

__all__ = ["Kind", "kind_of", "probabilities", "ranked", "softmax"]

Kind = Literal["softmax", "log_softmax", "sigmoid", "logits", "values"]


def kind_of(graph: Graph, output: Output) -> Kind:
    """What the numbers of an output are.

    They are logits where the loss is one of labels, or where the spec has no loss and the output
    is a vector of at least two.
    """
    last = output.value
    if isinstance(last, Node):
        match last.op.key:
            case "softmax":
                return "softmax"
            case "log_softmax":
                return "log_softmax"
            case "sigmoid":
                return "sigmoid"
    if graph.training is not None:
        return "logits" if graph.training.losses[output.name].expects == "labels" else "values"
    return "logits" if len(last.shape) == 1 and last.shape[0] > 1 else "values"


def probabilities(kind: Kind, value: Array) -> Array:
    """Probabilities of the classes, (N, classes), the mean over positions; values stay values."""
    match kind:
        case "log_softmax":
            value = np.exp(value)
        case "logits":
            value = softmax(value)
    return np.asarray(value.reshape(*value.shape[:2], -1).mean(axis=2))


def softmax(logits: Array) -> Array:
    """Over the second axis, without overflow."""
    with np.errstate(under="ignore"):
        exponents = np.exp(logits - logits.max(axis=1, keepdims=True))
        return np.asarray(exponents / exponents.sum(axis=1, keepdims=True))


def ranked(probability: Array, most: int) -> list[int]:
    """The classes of the largest numbers, the largest first, in a tie the first class first."""
    return [int(k) for k in np.argsort(-probability, kind="stable")[:most]]
