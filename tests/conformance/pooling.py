"""Pooling over windows and over all of space."""

from __future__ import annotations

from functools import partial
from typing import Any

from tests.conformance.case import Case
from tests.conformance.convolution import padding
from tests.conformance.network import Network, Unsupported, auxiliary


def pool(op: str, case: Case) -> Network:
    """A pooling over windows."""
    x, attributes, network = case.inputs[0], case.attributes, Network(exact=op == "max_pool")
    kernel = attributes["kernel_shape"]
    dilation = attributes.get("dilations", [1] * len(kernel))
    fields: dict[str, Any] = {
        "kernel": kernel,
        "stride": attributes.get("strides", 1),
        "padding": padding(case, len(kernel)),
        "ceil_mode": bool(attributes["ceil_mode"]),
    }
    if op == "max_pool":
        fields["dilation"] = dilation
    elif set(dilation) != {1}:
        raise Unsupported(f"`{op}` has no dilation")
    if op == "avg_pool":
        fields["count_include_pad"] = bool(attributes["count_include_pad"])
    if op == "lp_pool":
        fields["p"] = attributes["p"]
    network.output(network.layer(op, network.batch(x), **fields), case.expected)
    return auxiliary(case, network, "the places of the maxima are no output of `max_pool`")


def global_pool(op: str, case: Case) -> Network:
    """A pooling over all of space."""
    network = Network(exact=op == "global_max_pool")
    network.output(network.layer(op, network.batch(case.inputs[0])), case.expected)
    return network


CONVERTERS = {
    "AveragePool": partial(pool, "avg_pool"),
    "LpPool": partial(pool, "lp_pool"),
    "MaxPool": partial(pool, "max_pool"),
    "GlobalAveragePool": partial(global_pool, "global_avg_pool"),
    "GlobalMaxPool": partial(global_pool, "global_max_pool"),
}
