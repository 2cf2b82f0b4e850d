"""Activations, alone or between changes of scale where ONNX has more constants."""

from __future__ import annotations

from functools import partial

import numpy as np

from tests.conformance.case import Case
from tests.conformance.network import Network, Unsupported, count, positive, to_front

SELU = {"alpha": 1.6732632423543772848, "gamma": 1.0507009873554804934}


def plain(op: str, case: Case) -> Network:
    """An activation without fields."""
    return _of_one(case, op)


def with_alpha(op: str, field: str, case: Case) -> Network:
    """An activation with one number."""
    return _of_one(case, op, **{field: case.attributes["alpha"]})


def _of_one(case: Case, op: str, **fields: float) -> Network:
    network = Network(exact=op == "relu")
    layer = network.layer(op, network.sample(case.inputs[0]), **fields)
    network.output_sample(layer, case.expected)
    return network


def gelu(case: Case) -> Network:
    """Gelu, exact or by tanh."""
    return _of_one(case, "gelu_tanh" if case.attributes["approximate"] == "tanh" else "gelu")


def selu(case: Case) -> Network:
    """Selu is `selu` for its own two constants, else `elu` times gamma."""
    wanted = {name: case.attributes[name] for name in SELU}
    if wanted == {name: float(np.float32(value)) for name, value in SELU.items()}:
        return _of_one(case, "selu")
    network = Network()
    layer = network.layer("elu", network.sample(case.inputs[0]), alpha=wanted["alpha"])
    layer = network.layer("rescale", layer, scale=wanted["gamma"])
    network.output_sample(layer, case.expected)
    return network


def hard_sigmoid(case: Case) -> Network:
    """max(0, min(1, alpha x + beta)) is `hard_sigmoid` of 6 (alpha x + beta) - 3."""
    alpha, beta = case.attributes["alpha"], case.attributes["beta"]
    network = Network()
    layer = network.layer(
        "rescale", network.sample(case.inputs[0]), scale=6 * alpha, offset=6 * beta - 3
    )
    network.output_sample(network.layer("hard_sigmoid", layer), case.expected)
    return network


def clip(case: Case) -> Network:
    """Clip is `relu`, `relu6` or `hard_tanh`, shifted and stretched where its ends are others."""
    low, high = (None if case.given(i) is None else float(case.inputs[i]) for i in (1, 2))
    network = Network(exact=True)
    layer = network.sample(case.inputs[0])
    if low is not None and high is not None:
        if low > high:
            raise Unsupported("an interval whose ends are exchanged")
        op, center, half = "hard_tanh", (low + high) / 2, (high - low) / 2
        if (low, high) == (0, 6):
            op, center, half = "relu6", 0.0, 1.0
        network.exact = (center, half) == (0, 1)
        layer = _shifted(network, layer, 1 / half, -center / half)
        layer = _shifted(network, network.layer(op, layer), half, center)
    elif low is not None or high is not None:
        end, sign = (low, 1.0) if low is not None else (high, -1.0)
        assert end is not None
        network.exact = end == 0
        layer = _shifted(network, layer, sign, -sign * end)
        layer = _shifted(network, network.layer("relu", layer), sign, end)
    network.output_sample(layer, case.expected)
    return network


def _shifted(network: Network, source: str, scale: float, offset: float) -> str:
    if (scale, offset) == (1, 0):
        return source
    return network.layer("rescale", source, scale=scale, offset=offset)


def softmax(op: str, case: Case) -> Network:
    """Softmax along any axis, which becomes the channels."""
    x = case.inputs[0]
    there, back = to_front(positive(case.attributes["axis"], x.ndim), x.ndim)
    network = Network()
    layer = network.layer(op, network.permute(network.sample(x), there))
    network.output_sample(network.permute(layer, back), case.expected)
    return network


def prelu(case: Case) -> Network:
    """PRelu with a slope for each element: each element is a channel."""
    x, slope = case.inputs
    network = Network()
    layer = network.reshape(network.sample(x), [count(x.shape)])
    layer = network.layer("prelu", layer)
    network.weights[f"{layer}.weight"] = np.broadcast_to(slope, x.shape).reshape(-1)
    network.output_sample(network.reshape(layer, x.shape), case.expected)
    return network


def swish(case: Case) -> Network:
    """x * sigmoid(alpha x)."""
    network = Network()
    source = network.sample(case.inputs[0])
    network.output_sample(_gated(network, source, case.attributes["alpha"]), case.expected)
    return network


def swiglu(case: Case) -> Network:
    """swish(a) * b."""
    a, b = case.inputs
    network = Network()
    gate = _gated(network, network.sample(a), case.attributes["alpha"])
    network.output_sample(network.layer("multiply", gate, network.sample(b)), case.expected)
    return network


def _gated(network: Network, source: str, alpha: float) -> str:
    if alpha == 1:
        return network.layer("silu", source)
    gate = network.layer("sigmoid", network.layer("rescale", source, scale=alpha))
    return network.layer("multiply", source, gate)


def dropout(case: Case) -> Network:
    """Dropout changes nothing in inference, nor at ratio 0; else its mask is numpy's own."""
    ratio = case.given(1)
    p = case.attributes.get("ratio", 0.5) if ratio is None else float(ratio)
    mode = case.given(2)
    training = mode is not None and bool(mode)
    if training and p:
        raise Unsupported("dropout masks are numpy's own random numbers")
    network = Network(exact=True, training=training)
    layer = network.layer("dropout", network.sample(case.inputs[0]), p=p)
    network.output_sample(layer, case.expected)
    network.left_out = dict.fromkeys(list(case.outputs)[1:], "the mask is no output of `dropout`")
    return network


CONVERTERS = {
    "Celu": partial(with_alpha, "celu", "alpha"),
    "Clip": clip,
    "Dropout": dropout,
    "Elu": partial(with_alpha, "elu", "alpha"),
    "Gelu": gelu,
    "HardSigmoid": hard_sigmoid,
    "HardSwish": partial(plain, "hard_swish"),
    "LeakyRelu": partial(with_alpha, "leaky_relu", "slope"),
    "LogSoftmax": partial(softmax, "log_softmax"),
    "Mish": partial(plain, "mish"),
    "PRelu": prelu,
    "Relu": partial(plain, "relu"),
    "Selu": selu,
    "Sigmoid": partial(plain, "sigmoid"),
    "Softmax": partial(softmax, "softmax"),
    "Softplus": partial(plain, "softplus"),
    "Softsign": partial(plain, "softsign"),
    "SwiGLU": swiglu,
    "Swish": swish,
    "Tanh": partial(plain, "tanh"),
}
