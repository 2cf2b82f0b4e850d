"""Networks of one convolution each, and what a back end computes for them."""

from __future__ import annotations

from typing import Any

import numpy.typing as npt

from cnnspec.backends import get
from cnnspec.backends.base import Dtype
from cnnspec.check import samples
from cnnspec.graph import Graph
from cnnspec.ops.base import Op, Shape
from cnnspec.ops.conv import Conv
from cnnspec.ops.conv_transpose import ConvTranspose
from cnnspec.ops.depthwise_conv import DepthwiseConv, SeparableConv
from cnnspec.testing.networks import text_of
from tests.networks import graph

Array = npt.NDArray[Any]

CASES: dict[str, tuple[type[Op], Shape, dict[str, Any]]] = {
    "strides above the kernel": (ConvTranspose, (3, 4, 3), {"kernel": 2, "stride": 3}),
    "appended zeros": (
        ConvTranspose,
        (4, 3, 4),
        {"kernel": [1, 2], "stride": 3, "output_padding": [2, 1], "groups": 2},
    ),
    "appended zeros of a dilated kernel": (
        ConvTranspose,
        (2, 5),
        {"kernel": 2, "dilation": 3, "output_padding": 2},
    ),
    "strides and dilation with groups": (
        ConvTranspose,
        (4, 3, 4),
        {"kernel": [3, 2], "stride": [2, 3], "dilation": [3, 2], "groups": 4, "padding": [1, 2]},
    ),
    "more cropped than a kernel reaches": (
        ConvTranspose,
        (2, 6, 5),
        {"kernel": 2, "dilation": 2, "padding": [[4, 3], [0, 4]]},
    ),
    "depth in groups": (
        ConvTranspose,
        (4, 2, 3, 4),
        {"kernel": 2, "stride": [1, 2, 2], "groups": 2, "padding": [[1, 0], [0, 1], [0, 0]]},
    ),
    "keras' same": (ConvTranspose, (2, 3, 4, 2), {"kernel": 3, "stride": 2, "padding": "same"}),
    "keras' same with output padding": (
        ConvTranspose,
        (2, 3, 4),
        {"kernel": [4, 3], "stride": 3, "padding": "same", "output_padding": 0},
    ),
    "many channels in a group": (Conv, (12, 5, 4), {"kernel": 3, "groups": 2, "padding": "same"}),
    "few channels in a group": (Conv, (12, 5, 4), {"kernel": 3, "groups": 4, "padding": "same"}),
    "groups with unequal strides": (
        Conv,
        (12, 7, 6),
        {"kernel": 3, "groups": 6, "stride": [1, 2], "padding": 1},
    ),
    "groups with strides and dilation": (
        Conv,
        (6, 9, 8),
        {"kernel": [2, 3], "groups": 2, "stride": [3, 1], "dilation": [1, 2], "padding": "same"},
    ),
    "groups in depth": (Conv, (12, 3, 4, 5), {"kernel": 2, "groups": 2, "stride": [1, 2, 3]}),
    "few in depth": (Conv, (4, 3, 4, 5), {"kernel": 2, "groups": 2, "dilation": [1, 2, 3]}),
    "flipped groups": (Conv, (4, 6, 5), {"kernel": [2, 3], "groups": 2, "flip": True}),
    "flipped groups in one axis": (Conv, (4, 6), {"kernel": 3, "groups": 2, "flip": True}),
    "causal groups": (Conv, (4, 6), {"kernel": 3, "groups": 2, "padding": "causal"}),
    "one channel": (DepthwiseConv, (1, 6, 5), {"kernel": 3, "multiplier": 2}),
    "depthwise with unequal strides": (
        DepthwiseConv,
        (3, 7, 6),
        {"kernel": 3, "stride": [1, 2], "multiplier": 2, "padding": "same"},
    ),
    "depthwise with strides and dilation": (
        DepthwiseConv,
        (3, 9, 8),
        {"kernel": 3, "stride": 2, "dilation": 2, "padding": "same", "multiplier": 3},
    ),
    "depthwise in depth": (
        DepthwiseConv,
        (3, 5, 6, 4),
        {"kernel": [2, 3, 2], "stride": [2, 1, 3], "dilation": [1, 2, 1], "multiplier": 2},
    ),
    "separable with unequal strides": (
        SeparableConv,
        (3, 7, 6),
        {"kernel": 3, "stride": [1, 2], "multiplier": 2, "padding": [[0, 2], [1, 0]]},
    ),
    "separable in depth": (
        SeparableConv,
        (3, 5, 6, 4),
        {"kernel": 2, "stride": [1, 2, 1], "dilation": [2, 1, 1], "bias": False},
    ),
    "separable of one channel": (SeparableConv, (1, 9), {"kernel": 3, "multiplier": 4}),
    "separable and orthogonal": (
        SeparableConv,
        (3, 6, 5),
        {"kernel": 3, "multiplier": 2, "depthwise_init": "orthogonal"},
    ),
}  # fmt: skip


def case(name: str) -> Graph:
    """One of `CASES` as a network."""
    op, shape, fields = CASES[name]
    if "filters" in op.model_fields:
        fields = {"filters": 12, **fields}
    return graph_of(op, shape, fields)


def graph_of(op: type[Op], shape: Shape, fields: dict[str, Any]) -> Graph:
    """A network of one layer, called `layer`."""
    layers = [{op.key: {"name": "layer", **fields}}]
    return graph(text_of({"cnnspec": 1, "name": "net", "input": list(shape), "layers": layers}))


def rounded(values: dict[str, Array], dtype: Dtype) -> dict[str, Array]:
    """The nearest values that a type holds."""
    return {name: value.astype(dtype).astype("float64") for name, value in values.items()}


def computed(network: Graph, backend: str, dtype: Dtype, of: Dtype = "float64") -> dict[str, Array]:
    """Output and gradients of a back end, at values that `of` holds exactly."""
    sample = samples.sample(network, 0, 0, 3)
    session = get(backend).open(get(backend).emit(network), dtype=dtype)
    try:
        session.assign(rounded(samples.weights(network, 0), of))
        found = session.gradients(
            rounded(dict(sample.inputs), of),
            cotangents=rounded(dict(sample.cotangents), of),
            training=False,
        )
    finally:
        session.close()
    return {**found.outputs, **found.inputs, **found.parameters}
