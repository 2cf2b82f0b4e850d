"""Convolutions and products with a matrix of weights."""

from __future__ import annotations

from typing import Any

import numpy as np

from tests.conformance.case import Array, Case
from tests.conformance.network import Network, count, one_sample

WORDS = {"VALID": "valid", "SAME_UPPER": "same", "SAME_LOWER": "same_lower"}
"""What a spec calls ONNX's automatic paddings."""


def pairs(pads: Any, axes: int) -> list[list[int]]:
    """ONNX's pads, all starts and then all ends, as a [before, after] pair for each axis."""
    values = [int(value) for value in pads or [0] * 2 * axes]
    return [[values[axis], values[axis + axes]] for axis in range(axes)]


def padding(case: Case, axes: int) -> Any:
    """The padding of a convolution or pooling as a spec has it."""
    word = WORDS.get(case.attributes["auto_pad"])
    return word or pairs(case.attributes.get("pads"), axes)


def conv(case: Case) -> Network:
    """Conv is `conv`."""
    x, weight, bias = case.inputs[0], case.inputs[1], case.given(2)
    axes, network = x.ndim - 2, Network()
    layer = network.layer(
        "conv",
        network.batch(x),
        filters=weight.shape[0],
        kernel=list(weight.shape[2:]),
        stride=case.attributes.get("strides", 1),
        dilation=case.attributes.get("dilations", 1),
        padding=padding(case, axes),
        groups=case.attributes["group"],
        bias=bias is not None,
    )
    _weigh(network, layer, weight, bias)
    network.output(layer, case.expected)
    return network


def conv_transpose(case: Case) -> Network:
    """ConvTranspose is `conv_transpose`, with the crops that ONNX derives from a wanted shape."""
    x, weight, bias = case.inputs[0], case.inputs[1], case.given(2)
    axes, attributes = x.ndim - 2, case.attributes
    stride = attributes.get("strides", [1] * axes)
    dilation = attributes.get("dilations", [1] * axes)
    more = attributes.get("output_padding", [0] * axes)
    crops = pairs(attributes.get("pads"), axes)
    wanted = attributes.get("output_shape")
    word = attributes["auto_pad"]
    if word.startswith("SAME"):
        wanted = [n * s for n, s in zip(x.shape[2:], stride, strict=True)]
    if wanted:
        crops = []
        for axis, size in enumerate(wanted[-axes:]):
            extent = (weight.shape[2 + axis] - 1) * dilation[axis] + 1
            total = (x.shape[2 + axis] - 1) * stride[axis] + more[axis] + extent - size
            less, rest = total // 2, total - total // 2
            # Where it is odd, the larger half is at the start, unless SAME_UPPER says the end.
            crops.append([less, rest] if word == "SAME_UPPER" else [rest, less])
    # What is to be appended, and not cropped, is `output_padding` in a spec.
    more = [m + max(-after, 0) for m, (_, after) in zip(more, crops, strict=True)]
    crops = [[before, max(after, 0)] for before, after in crops]
    network = Network()
    layer = network.layer(
        "conv_transpose",
        network.batch(x),
        filters=weight.shape[1] * attributes["group"],
        kernel=list(weight.shape[2:]),
        stride=stride,
        dilation=dilation,
        padding=crops,
        output_padding=more,
        groups=attributes["group"],
        bias=bias is not None,
    )
    _weigh(network, layer, weight, bias)
    network.output(layer, case.expected)
    return network


def causal_conv(case: Case) -> Network:
    """CausalConvWithState is a depthwise convolution behind its state, or behind zeros."""
    x, weight = case.inputs[0], case.inputs[1]
    bias, past = case.given(2), case.given(3)
    before = weight.shape[2] - 1
    network = Network()
    source = network.batch(x)
    if past is not None:
        state = network.permute(network.batch(past), (1, 0))
        joined = network.layer("concat", state, network.permute(source, (1, 0)))
        source = network.permute(joined, (1, 0))
    else:
        source = network.layer("pad", source, padding=[[before, 0]])
    layer = network.layer("depthwise_conv", source, kernel=[weight.shape[2]], bias=bias is not None)
    _weigh(network, layer, weight, bias)
    if case.attributes["activation"] in ("silu", "swish"):
        layer = network.layer("silu", layer)
    network.output(layer, case.outputs["output"])
    if before:
        state = network.layer("slice", source, length=[-before, None])
        network.output(state, case.outputs["present_state"])
    else:
        network.left_out["present_state"] = "an empty tensor"
    return network


def gemm(case: Case) -> Network:
    """Gemm is `dense` over the rows of A; B holds the weights, and C its bias where it is a row."""
    a, b, c = case.inputs[0], case.inputs[1], case.given(2)
    alpha, beta = case.attributes["alpha"], case.attributes["beta"]
    rows = a.T if case.attributes["transA"] else a
    weight = b if case.attributes["transB"] else b.T
    network = Network()
    source = network.batch(rows)
    units = weight.shape[0]
    bias = None
    if c is not None and (c.ndim < 2 or c.shape[0] == 1) and alpha == beta == 1:
        bias = np.broadcast_to(c.reshape(-1), units)
    layer = network.layer("dense", source, units=units, bias=bias is not None)
    _weigh(network, layer, weight, bias)
    if alpha != 1:
        layer = network.layer("rescale", layer, scale=alpha)
    if c is not None and bias is None:
        other = network.batch(np.broadcast_to(c, (len(rows), units)))
        if beta != 1:
            other = network.layer("rescale", other, scale=beta)
        layer = network.layer("add", layer, other)
    network.output(layer, case.expected)
    return network


def matmul(case: Case) -> Network:
    """MatMul by one matrix is `dense`, by several a grouped convolution of kernel 1."""
    a, b = case.inputs
    left = a[None] if a.ndim == 1 else a
    right = b[:, None] if b.ndim == 1 else b
    network = Network()
    if right.ndim == 2:
        layer = network.layer(
            "dense",
            network.batch(left.reshape(-1, left.shape[-1])),
            units=right.shape[1],
            bias=False,
        )
        _weigh(network, layer, right.T)
        network.output(layer, case.expected.reshape(-1, right.shape[1]))
        return network
    outer = np.broadcast_shapes(left.shape[:-2], right.shape[:-2])
    groups = count(outer)
    left = np.broadcast_to(left, (*outer, *left.shape[-2:])).reshape(groups, *left.shape[-2:])
    right = np.broadcast_to(right, (*outer, *right.shape[-2:])).reshape(groups, *right.shape[-2:])
    (_, rows, inner), columns = left.shape, right.shape[2]
    source = network.permute(network.sample(left), (0, 2, 1))
    source = network.reshape(source, (groups * inner, rows))
    layer = network.layer(
        "conv", source, filters=groups * columns, kernel=1, groups=groups, bias=False
    )
    _weigh(network, layer, right.transpose(0, 2, 1).reshape(groups * columns, inner, 1))
    layer = network.permute(network.reshape(layer, (groups, columns, rows)), (0, 2, 1))
    network.output(layer, one_sample(case.expected.reshape(groups, rows, columns)))
    return network


def _weigh(network: Network, layer: str, weight: Array, bias: Array | None = None) -> None:
    network.weights[f"{layer}.weight"] = weight
    if bias is not None:
        network.weights[f"{layer}.bias"] = bias


CONVERTERS = {
    "CausalConvWithState": causal_conv,
    "Conv": conv,
    "ConvTranspose": conv_transpose,
    "Gemm": gemm,
    "MatMul": matmul,
}
