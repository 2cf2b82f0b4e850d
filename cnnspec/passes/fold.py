"""The weights of an optimized network: each layer's have taken in the norms that followed it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from cnnspec.diagnostics import DataError, Diagnostic
from cnnspec.graph import Node
from cnnspec.ops.base import Op, Param
from cnnspec.passes.inference import Optimized

Array = npt.NDArray[Any]
Sign = Callable[[Array], Array]

__all__ = ["fold", "magnitudes"]


def fold(made: Optimized, weights: Mapping[str, Array]) -> dict[str, Array]:
    """Weights by canonical name of the optimized network, of the types that they had.

    Args:
        made: the network.
        weights: of its original, which fit it.

    Raises:
        DataError: they are not finite once they are folded.
    """
    with np.errstate(all="ignore"):  # what comes out is looked at
        found = _each(made, weights, np.asarray)
    faults = [_fault(name, made) for name, value in found.items() if not np.isfinite(value).all()]
    if faults:
        raise DataError(faults)
    return found


def magnitudes(made: Optimized, weights: Mapping[str, Array]) -> dict[str, Array]:
    """For each element of what `fold` gives, what its terms add up to without their signs.

    Its error is a few roundings of that, however much cancels.
    """
    return _each(made, weights, np.abs)


def _each(made: Optimized, weights: Mapping[str, Array], sign: Sign) -> dict[str, Array]:
    found: dict[str, Array] = {}
    for node in made.graph.nodes:
        source, *given = made.weights.get(node.id, (node,))
        for param in () if node.owner is not None else node.params:
            name = f"{node.id}.{param.name}"
            own = weights.get(f"{source.id}.{param.name}")
            if own is not None and not given:
                found[name] = sign(own)
            else:
                folded = _folded(param, own, given, weights, sign)
                # A bias that is new has the type of the weights beside it.
                like = own if own is not None else weights[f"{source.id}.{source.params[0].name}"]
                found[name] = folded.astype(like.dtype)
    return found


def _folded(
    param: Param,
    own: Array | None,
    given: Sequence[Node[Op]],
    weights: Mapping[str, Array],
    sign: Sign,
) -> Array:
    value = sign(np.zeros(param.shape) if own is None else own.astype(np.float64))
    for node in given:
        factor, mean, shift = (sign(each) for each in _affine(node, weights))
        if param.name.rpartition(".")[2] == "bias":
            value = (value + mean) * factor + shift
        elif not param.name.startswith("depthwise."):  # the pointwise part is behind it
            value = _times(value, factor, param.layout)
    return value


def _affine(node: Node[Op], weights: Mapping[str, Array]) -> tuple[Array, Array, Array]:
    """s, -m and b of s * (x - m) + b, for each channel, in float64."""
    own = {
        param.name: weights[f"{node.weights_id}.{param.name}"].astype(np.float64)
        for param in node.params
    }
    zeros = np.zeros(node.shape[0])
    if "running_var" not in own:
        return own["weight"], zeros, zeros
    eps = float(str(node.op.fields()["eps"]))
    factor = own.get("weight", 1.0) / np.sqrt(own["running_var"] + eps)
    return factor, -own["running_mean"], own.get("bias", zeros)


def _times(value: Array, factor: Array, layout: str) -> Array:
    """Weights times a factor for each output channel."""
    rest = (1,) * (value.ndim - 2)
    if layout.startswith("O"):
        return value * factor.reshape(-1, 1, *rest)
    # (channels, filters / groups, ...): the filters of a group belong to its channels.
    groups = len(factor) // value.shape[1]
    each = np.repeat(factor.reshape(groups, -1), len(value) // groups, axis=0)
    return np.asarray(value * each.reshape(*each.shape, *rest))


def _fault(name: str, made: Optimized) -> Diagnostic:
    id = name
    while id not in made.weights:
        id = id.rpartition(".")[0]
    layers = ", ".join(f"`{node.id}`" for node in made.weights[id][1:])
    return Diagnostic(
        "fold-not-finite",
        f"`{name}` is not finite once {layers} has gone into it",
        help="a running variance below -eps, or too small for the type of the weights",
    )
