"""Activations in torch: functions in a forward pass, modules inside a sequence."""

from __future__ import annotations

from cnnspec.backends.base import Style
from cnnspec.backends.columns import Spelling
from cnnspec.backends.torch.cells.column import COLUMN
from cnnspec.backends.writer import Code, call
from cnnspec.graph import Node
from cnnspec.ops import activation
from cnnspec.ops.base import Op

PLAIN: dict[type[Op], tuple[str, str]] = {
    activation.Relu: ("nn.ReLU", "F.relu"),
    activation.Tanh: ("nn.Tanh", "torch.tanh"),
    activation.Sigmoid: ("nn.Sigmoid", "torch.sigmoid"),
    activation.Selu: ("nn.SELU", "F.selu"),
    activation.Gelu: ("nn.GELU", "F.gelu"),
    activation.Silu: ("nn.SiLU", "F.silu"),
}


@COLUMN(*PLAIN)
def plain(node: Node[Op], style: Style) -> Spelling:
    """Those without fields."""
    module, function = PLAIN[type(node.op)]
    return Spelling(Code(f"{module}()"), lambda x: call(function, x))


@COLUMN(activation.Softmax)
def softmax(node: Node[activation.Softmax], style: Style) -> Spelling:
    """Over the channels, axis 1."""
    return Spelling(Code("nn.Softmax(dim=1)"), lambda x: call("F.softmax", x, dim=1))


@COLUMN(activation.LeakyRelu)
def leaky_relu(node: Node[activation.LeakyRelu], style: Style) -> Spelling:
    """The slope is always written, since frameworks disagree about its default."""
    slope = node.op.slope
    return Spelling(call("nn.LeakyReLU", slope), lambda x: call("F.leaky_relu", x, slope))


@COLUMN(activation.PRelu)
def prelu(node: Node[activation.PRelu], style: Style) -> Spelling:
    """`nn.PReLU`, which starts at 0.25 as here."""
    count = node.params[0].shape[0]
    return Spelling(call("nn.PReLU", *([count] if count > 1 else [])))


@COLUMN(activation.Elu)
def elu(node: Node[activation.Elu], style: Style) -> Spelling:
    """The default alpha is 1 here and there."""
    alpha = [] if node.op.alpha == 1 else [node.op.alpha]
    return Spelling(call("nn.ELU", *alpha), lambda x: call("F.elu", x, *alpha))
