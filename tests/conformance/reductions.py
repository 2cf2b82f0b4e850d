"""Reductions over any axes: what stays becomes the channels, what goes a pooling's window."""

from __future__ import annotations

from functools import partial
from typing import Any

from tests.conformance.case import Case
from tests.conformance.network import Network, Unsupported, axis_names, count, positive


def mean(case: Case) -> Network:
    """ReduceMean is `mean`."""
    x, network = case.inputs[0], Network()
    layer = network.sample(x)
    names = axis_names(x.ndim)
    layer = network.layer("mean", layer, axes=[names[axis] for axis in _axes(case)])
    if not case.attributes["keepdims"]:
        layer = network.reshape(layer, case.expected.shape)
    network.output_sample(layer, case.expected)
    return network


def pooled(op: str, case: Case, *, power: float | None = None, sign: float = 1.0) -> Network:
    """A pooling over a window that holds all that is reduced."""
    x, network = case.inputs[0], Network(exact=op == "global_max_pool")
    axes = _axes(case)
    if not axes:  # ONNX's way to say that nothing is reduced
        network.exact = True
        network.output_sample(network.sample(x), case.expected)
        return network
    kept = [axis for axis in range(x.ndim) if axis not in axes]
    layer = network.permute(network.sample(x), [*kept, *axes])
    window = count([x.shape[axis] for axis in axes])
    layer = network.reshape(layer, [count([x.shape[axis] for axis in kept]), window])
    if sign < 0:
        layer = network.layer("rescale", layer, scale=sign)
    fields: dict[str, Any] = {} if op == "global_max_pool" else {"kernel": window}
    if power is not None:
        fields["p"] = power
    layer = network.layer(op, layer, **fields)
    if sign < 0:
        layer = network.layer("rescale", layer, scale=sign)
    network.output_sample(network.reshape(layer, case.expected.shape), case.expected)
    return network


def _axes(case: Case) -> list[int]:
    x = case.inputs[0]
    if not x.size:
        raise Unsupported("an empty tensor: sizes are at least 1")
    axes = case.whole(1) or ()
    if not axes and not case.attributes["noop_with_empty_axes"]:
        axes = tuple(range(x.ndim))
    return sorted(positive(axis, x.ndim) for axis in axes)


CONVERTERS = {
    "ReduceL1": partial(pooled, "lp_pool", power=1.0),
    "ReduceL2": partial(pooled, "lp_pool", power=2.0),
    "ReduceMax": partial(pooled, "global_max_pool"),
    "ReduceMean": mean,
    "ReduceMin": partial(pooled, "global_max_pool", sign=-1.0),
    "ReduceSum": partial(pooled, "sum_pool"),
}
