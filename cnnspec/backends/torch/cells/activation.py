"""Activations in torch: functions in a forward pass, modules inside a sequence."""

from __future__ import annotations

from cnnspec.backends.base import Style
from cnnspec.backends.columns import Spelling
from cnnspec.backends.precision import is_float32
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
    activation.Relu6: ("nn.ReLU6", "F.relu6"),
    activation.Mish: ("nn.Mish", "F.mish"),
    activation.Softsign: ("nn.Softsign", "F.softsign"),
    activation.LogSigmoid: ("nn.LogSigmoid", "F.logsigmoid"),
    activation.HardTanh: ("nn.Hardtanh", "F.hardtanh"),
    activation.HardSigmoid: ("HardSigmoid", "hard_sigmoid"),
    activation.HardSwish: ("HardSwish", "hard_swish"),
}
NATIVE: dict[type[Op], tuple[str, str]] = {
    activation.HardSigmoid: ("nn.Hardsigmoid", "F.hardsigmoid"),
    activation.HardSwish: ("nn.Hardswish", "F.hardswish"),
}
"""Torch's own where a helper stands for it."""


@COLUMN(*PLAIN)
def plain(node: Node[Op], style: Style) -> Spelling:
    """Those without fields."""
    module, function = PLAIN[type(node.op)]
    if style.layers == "native":
        module, function = NATIVE.get(type(node.op), (module, function))
    where = {"inplace": True} if node.in_place else {}
    return Spelling(call(module, **where), lambda x: call(function, x, **where))


@COLUMN(activation.Softmax)
def softmax(node: Node[activation.Softmax], style: Style) -> Spelling:
    """Over the channels, axis 1."""
    return Spelling(Code("nn.Softmax(dim=1)"), lambda x: call("F.softmax", x, dim=1))


@COLUMN(activation.LogSoftmax)
def log_softmax(node: Node[activation.LogSoftmax], style: Style) -> Spelling:
    """Over the channels, axis 1."""
    return Spelling(Code("nn.LogSoftmax(dim=1)"), lambda x: call("F.log_softmax", x, dim=1))


@COLUMN(activation.Softplus)
def softplus(node: Node[activation.Softplus], style: Style) -> Spelling:
    """From x = 40 on it is x in float64; torch's own threshold of 20 is too low for that."""
    return Spelling(
        call("nn.Softplus", threshold=40), lambda x: call("F.softplus", x, threshold=40)
    )


@COLUMN(activation.GeluTanh)
def gelu_tanh(node: Node[activation.GeluTanh], style: Style) -> Spelling:
    """The approximation that torch has under this name."""
    return Spelling(
        call("nn.GELU", approximate="tanh"), lambda x: call("F.gelu", x, approximate="tanh")
    )


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


@COLUMN(activation.Celu)
def celu(node: Node[activation.Celu], style: Style) -> Spelling:
    """The gradient of torch's own takes alpha for a float32."""
    alpha = [] if node.op.alpha == 1 else [node.op.alpha]
    if is_float32(node.op.alpha) or style.layers == "native":
        return Spelling(call("nn.CELU", *alpha), lambda x: call("F.celu", x, *alpha))
    return Spelling(call("Celu", *alpha), lambda x: call("celu", x, *alpha))
