"""Norms."""

from __future__ import annotations

from tests.conformance.case import Case
from tests.conformance.network import Network, Unsupported, auxiliary, axis_names, positive


def batch_norm(case: Case) -> Network:
    """BatchNormalization is `batch_norm`; ONNX's running variance is the biased one."""
    x, scale, bias, mean, var = case.inputs
    training = bool(case.attributes["training_mode"])
    network = Network(training=training)
    layer = network.layer(
        "batch_norm",
        network.batch(x),
        eps=case.attributes["epsilon"],
        momentum=1 - case.attributes["momentum"],
        running_var="biased",
    )
    statistics = [f"{layer}.running_mean", f"{layer}.running_var"]
    names = [f"{layer}.weight", f"{layer}.bias", *statistics]
    network.weights = dict(zip(names, (scale, bias, mean, var), strict=True))
    network.output(layer, case.expected)
    if training:
        network.statistics = dict(zip(statistics, list(case.outputs.values())[1:], strict=True))
    return network


def instance_norm(case: Case) -> Network:
    """InstanceNormalization is `instance_norm` with weights."""
    x, scale, bias = case.inputs
    network = Network()
    layer = network.layer(
        "instance_norm", network.batch(x), affine=True, eps=case.attributes["epsilon"]
    )
    network.weights = {f"{layer}.weight": scale, f"{layer}.bias": bias}
    network.output(layer, case.expected)
    return network


def group_norm(case: Case) -> Network:
    """GroupNormalization is `group_norm`, with weights per channel."""
    x, scale, bias = case.inputs
    network = Network()
    layer = network.layer(
        "group_norm",
        network.batch(x),
        groups=case.attributes["num_groups"],
        eps=case.attributes["epsilon"],
    )
    network.weights = {f"{layer}.weight": scale, f"{layer}.bias": bias}
    network.output(layer, case.expected)
    return network


def layer_norm(case: Case) -> Network:
    """LayerNormalization over the axes from one on; over all of them it is a single sample."""
    x, scale, bias = case.inputs
    axis = positive(case.attributes["axis"], x.ndim)
    network = Network()
    source = network.batch(x) if axis else network.sample(x)
    rank = network.inputs[source].ndim - 1
    first = axis - 1 if axis else 0
    layer = network.layer(
        "layer_norm", source, axes=list(axis_names(rank)[first:]), eps=case.attributes["epsilon"]
    )
    network.weights = {f"{layer}.weight": scale, f"{layer}.bias": bias}
    network.output(layer, case.expected if axis else case.expected[None])
    return auxiliary(case, network, "mean and deviation are no outputs of `layer_norm`")


def local_response_norm(case: Case) -> Network:
    """LRN is `local_response_norm`; over an even number of channels the two begin apart."""
    size = case.attributes["size"]
    if size % 2 == 0:
        raise Unsupported("an even `size` of `local_response_norm` begins one channel earlier")
    network = Network()
    layer = network.layer(
        "local_response_norm",
        network.batch(case.inputs[0]),
        size=size,
        alpha=case.attributes["alpha"],
        beta=case.attributes["beta"],
        k=case.attributes["bias"],
    )
    network.output(layer, case.expected)
    return network


CONVERTERS = {
    "BatchNormalization": batch_norm,
    "GroupNormalization": group_norm,
    "InstanceNormalization": instance_norm,
    "LRN": local_response_norm,
    "LayerNormalization": layer_norm,
}
