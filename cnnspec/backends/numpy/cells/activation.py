"""Activations in NumPy."""

from __future__ import annotations

from cnnspec.backends.base import Style
from cnnspec.backends.columns import Spelling
from cnnspec.backends.numpy.cells.column import COLUMN, function
from cnnspec.graph import Node
from cnnspec.ops import activation
from cnnspec.ops.base import Op


@COLUMN(
    activation.Relu,
    activation.Tanh,
    activation.Sigmoid,
    activation.Softmax,
    activation.Selu,
    activation.Gelu,
    activation.Silu,
    activation.LogSoftmax,
    activation.Relu6,
    activation.GeluTanh,
    activation.Mish,
    activation.Softplus,
    activation.Softsign,
    activation.LogSigmoid,
    activation.HardSigmoid,
    activation.HardSwish,
    activation.HardTanh,
)
def plain(node: Node[Op], style: Style) -> Spelling:
    """Those without fields; the kernel has the op's name."""
    return function(node.op.key)


@COLUMN(activation.LeakyRelu)
def leaky_relu(node: Node[activation.LeakyRelu], style: Style) -> Spelling:
    """The slope is always written, since frameworks disagree about its default."""
    return function("leaky_relu", node.op.slope)


@COLUMN(activation.Elu, activation.Celu)
def elu(node: Node[activation.Elu | activation.Celu], style: Style) -> Spelling:
    """The default alpha is 1 here and there."""
    return function(node.op.key, *([] if node.op.alpha == 1 else [node.op.alpha]))
