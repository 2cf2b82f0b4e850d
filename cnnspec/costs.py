"""What a layer costs: arithmetic in inference, and what it keeps for its backward pass.

Multiply-accumulates (MACs) are an op's own column. FLOPs are floating-point operations of the same
layers: two for each MAC, and one for each element that a bias is added to. All other arithmetic is
counted apart, in *other ops*, where an addition, a multiplication, a division, a comparison and an
elementary function such as `exp` are one each:

- pooling: one for each element that a window reads;
- batch norm: two for each element, as its statistics are constants and fold into a scale and a
  shift; norms that take their statistics from the data: five for each element (sum, deviation,
  square, sum, scale), and one each for a learnt weight and bias; local response norm: its
  size and three more for each element;
- activations: one for each element, softmax three (exponential, sum, division);
- merging: one for each element of all inputs but the first, `average` one more for each element;
- `rbf`: three for each centre and feature (difference, square, sum);
- interpolation: one for each element that an element of the output reads;
- what only moves values, or does nothing in inference: none.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

from cnnspec.graph import Node
from cnnspec.ops.adaptive_pool import AdaptivePool
from cnnspec.ops.base import Op, Shape, spatial


def flops(node: Node[Op]) -> int:
    """Floating-point operations of convolutions and dense layers for one sample, else 0."""
    macs = node.op.macs(node.input_shapes, node.shape)
    if not macs:
        return 0
    biased = any(param.name.rpartition(".")[2] == "bias" for param in node.params)
    return 2 * macs + (math.prod(node.shape) if biased else 0)


def other_ops(node: Node[Op]) -> int:
    """Operations of pooling, norms, activations and the like for one sample; see the module."""
    op, inputs, output = node.op, node.input_shapes, node.shape
    if op.key in _MOVES or op.macs(inputs, output):
        return 0
    if op.key in _EACH:
        return math.prod(output) * _EACH[op.key](node)
    if isinstance(op, AdaptivePool):
        along = (sum(end - first for first, end in axis) for axis in op.bins(inputs[0]))
        return output[0] * math.prod(along)
    window = op.window(inputs[0])
    if window is not None:
        return math.prod(output) * math.prod(window.kernel)
    # Whoever makes fewer elements of many reads each once; others do one thing for each they make.
    return max(math.prod(inputs[0]), math.prod(output))


_MOVES = frozenset(
    "alpha_dropout channel_shuffle concat crop dropout flatten pad permute pixel_shuffle "
    "pixel_unshuffle reshape slice spatial_dropout split stochastic_depth".split()
)


def _merged(node: Node[Op]) -> int:
    return len(node.inputs) - 1


def _normalized(node: Node[Op]) -> int:
    return 5 + len([param for param in node.params if not param.statistic])


def _response(node: Node[Op]) -> int:
    size = node.op.fields()["size"]
    assert isinstance(size, int)
    return size + 3


def _taps(node: Node[Op]) -> int:
    along = {"linear": 2, "bilinear": 2, "trilinear": 2, "bicubic": 4}
    taps = along.get(str(node.op.fields()["mode"]), 0)
    return taps ** len(spatial(node.shape)) if taps else 0


_EACH: Mapping[str, Callable[[Node[Op]], int]] = {
    "add": _merged,
    "average": lambda node: len(node.inputs),
    "batch_norm": lambda node: 2,
    "group_norm": _normalized,
    "instance_norm": _normalized,
    "layer_norm": _normalized,
    "local_response_norm": _response,
    "log_softmax": lambda node: 3,
    "maximum": _merged,
    "multiply": _merged,
    "normalize": lambda node: 2,
    "rbf": lambda node: 3 * node.input_shapes[0][0],
    "rescale": lambda node: 2,
    "softmax": lambda node: 3,
    "subtract": _merged,
    "upsample": _taps,
}
"""Operations for each element of the output."""


# --- backward ----------------------------------------------------------------------------------

VIEWS = frozenset({"flatten", "reshape"})
"""Ops whose output is their input in another shape, in the same memory."""

_FROM_OUTPUT = frozenset("hard_tanh log_softmax relu relu6 sigmoid softmax tanh".split())
_FROM_INPUTS = frozenset({"multiply"})
_FROM_NEITHER = frozenset({"normalize", "rescale", "subtract", "upsample"})


def keeps_output(op: Op) -> bool:
    """Whether its derivative is had from its own output."""
    return op.key in _FROM_OUTPUT


def keeps_inputs(node: Node[Op]) -> bool:
    """Whether backward needs its inputs: for its weights' gradients, or because it is not linear.

    What chooses or draws keeps its choices instead.
    """
    op = node.op
    if op.key in _FROM_INPUTS:
        return True
    if keeps_output(op) or op.key in _FROM_NEITHER or op.selects or op.random:
        return False
    return bool(node.params) or op.bound != "linear"


def kept_inside(node: Node[Op]) -> int:
    """Elements that it keeps besides, for one sample.

    That is the mask of a random layer, the indices of a maximum, and what lies between the two
    convolutions of a separable one, each element counted like one of the output's.
    """
    if node.op.random or node.op.selects:
        return math.prod(node.shape)
    if node.op.key == "separable_conv":
        (depthwise, *_) = (p for p in node.params if p.name == "depthwise.weight")
        inner: Shape = (depthwise.shape[0], *spatial(node.shape))
        return math.prod(inner)
    return 0
