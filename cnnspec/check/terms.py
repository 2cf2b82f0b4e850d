"""How large the terms are that may cancel inside a layer without its input's perturbation showing.

The terms of an elementwise derivative, such as 1 - y^2, are of the order of 1: what is lost is in
proportion to the cotangent, not to the result. A norm over two elements gives plus and minus one,
whatever these are: moving them moves neither its value nor its gradient, while each is computed
from terms of ordinary size, which are rounded; and x * scale - mean * scale, as some back ends
compute it, loses what x has in common with its mean.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from cnnspec.graph import Node
from cnnspec.ops.base import Op, Shape
from cnnspec.ops.norm import BatchNorm, SampleNorm

Array = npt.NDArray[Any]

FEW = 8
"""Values of a channel up to which a batch norm's may all be near plus or minus one; of more it is
the perturbation that shows, and what is counted without need hides faults."""


@dataclass(frozen=True, slots=True)
class Terms:
    """Magnitudes of terms, in units of which roundings inside a layer are counted.

    Attributes:
        value: of the layer's value.
        own: of the gradient of its first input.
        weight: of the gradient of its weight.
    """

    value: Array | float
    own: Array | float
    weight: Array | float


def terms(
    node: Node[Op],
    given: Sequence[Array],
    cotangent: Array,
    weights: Mapping[str, Array],
    *,
    training: bool,
) -> Terms:
    """What may cancel inside a layer whose bound is by perturbation.

    Args:
        node: the layer.
        given: its inputs.
        cotangent: of its value.
        weights: of the network, by canonical name.
        training: the mode.
    """
    x, op = given[0], node.op
    if isinstance(op, SampleNorm):
        view, axes = op.common(x.shape[1:])
        weight = weights.get(f"{node.weights_id}.weight")
        return _norm(x, cotangent, view, axes, op.eps, weight, op.owned(x.shape[1:]))
    if isinstance(op, BatchNorm) and training and x.size <= FEW * x.shape[1]:
        view, axes = op.common(x.shape[1:])
        weight = weights.get(f"{node.weights_id}.weight")
        return _norm(x, cotangent, view, axes, op.eps, weight, (0,))
    return Terms(
        value=np.abs(x) if op.cancels else 0.0,
        own=np.abs(cotangent) if x.shape == cotangent.shape else 0.0,
        weight=0.0,
    )


def sums(
    node: Node[Op],
    given: Sequence[Array],
    cotangent: Array,
    weights: Mapping[str, Array],
    *,
    training: bool,
) -> dict[str, Array]:
    """2 K B of what a norm adds up in any order: its parameters' gradients and its statistics.

    Roundings of a running sum are alike where its terms are (a padding's zeros turned into
    constants, the gradient of a mean): they grow with K and not with its root, whatever
    perturbations of the terms on their own do.

    Args:
        node: the layer.
        given: its inputs.
        cotangent: of its value.
        weights: of the network, by canonical name.
        training: the mode.

    Returns:
        By the parameter's short name, in units of u; nothing for what is no norm.
    """
    x, op = given[0], node.op
    if not isinstance(op, BatchNorm | SampleNorm) or not node.params:
        return {}
    shape = x.shape[1:]
    view, axes = op.common(shape)
    sets = x.reshape(len(x), *view)
    per_channel = (1, -1, *(1 for _ in shape[1:]))
    if isinstance(op, BatchNorm) and not training:
        mean, var = (
            weights[f"{node.weights_id}.{name}"].reshape(per_channel)
            for name in ("running_mean", "running_var")
        )
    else:
        mean, var = sets.mean(axes, keepdims=True), sets.var(axes, keepdims=True)
    raw = ((np.abs(sets) + np.abs(mean)) / np.sqrt(var + op.eps)).reshape(x.shape)
    owned = (0,) if isinstance(op, BatchNorm) else op.owned(shape)
    others = tuple(i for i in range(x.ndim) if i - 1 not in owned)
    length = 2 * math.prod(x.shape[i] for i in others)
    found = {
        "weight": length * (np.abs(cotangent) * raw).sum(others),
        "bias": length * np.abs(cotangent).sum(others),
    }
    if isinstance(op, BatchNorm) and training:
        share = op.momentum * length
        found["running_mean"] = share * np.abs(x).mean(axes)
        found["running_var"] = share * sets.var(axes, ddof=min(1, length // 2 - 1))
    return found


def _norm(
    x: Array,
    cotangent: Array,
    view: Shape,
    axes: tuple[int, ...],
    eps: float,
    weight: Array | None,
    owned: tuple[int, ...],
) -> Terms:
    """Of a mean and a variance along axes of (batch, *view), with a weight of some axes."""
    shape = x.shape[1:]
    factor: Array = np.ones(())
    if weight is not None:
        factor = np.abs(weight).reshape([n if i in owned else 1 for i, n in enumerate(shape)])
    sets = x.reshape(len(x), *view)
    largest = np.abs(cotangent * factor).reshape(sets.shape).max(axes, keepdims=True)
    mean = sets.mean(axes, keepdims=True)
    inverse = 1 / np.sqrt(sets.var(axes, keepdims=True) + eps)
    # Before the mean is taken away: the input and its mean, in standard deviations.
    raw = (np.abs(sets) + np.abs(mean)) * inverse
    deviation = np.abs(sets - mean) * inverse
    own = inverse * largest * (2 + raw.max(axes, keepdims=True) * (1 + deviation))
    others = tuple(i for i in range(x.ndim) if i - 1 not in owned)
    raw = raw.reshape(x.shape)
    return Terms(
        value=raw * factor,
        own=own.reshape(x.shape),
        weight=(np.abs(cotangent) * raw).sum(others),
    )
