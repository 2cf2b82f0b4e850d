"""Activations in Keras: its own layers where they are exact in float64, helpers for the rest."""

from __future__ import annotations

from cnnspec.backends.base import Style
from cnnspec.backends.columns import Spelling
from cnnspec.backends.keras.cells.column import COLUMN
from cnnspec.backends.keras.initial import options
from cnnspec.backends.writer import call
from cnnspec.graph import Node
from cnnspec.ops import activation
from cnnspec.ops.base import Op

FUNCTIONS: dict[type[Op], str] = {
    activation.Tanh: "tanh",
    activation.Sigmoid: "sigmoid",
    activation.Silu: "silu",
    activation.LogSoftmax: "log_softmax",
    activation.Relu6: "relu6",
    activation.Mish: "mish",
    activation.Softplus: "softplus",
    activation.Softsign: "softsign",
    activation.LogSigmoid: "log_sigmoid",
    activation.HardSigmoid: "hard_sigmoid",
    activation.HardSwish: "hard_swish",
}
CLASSES: dict[type[Op], str] = {
    activation.Relu: "layers.ReLU",
    activation.Softmax: "layers.Softmax",
    activation.Selu: "Selu",
    activation.Gelu: "Gelu",
    activation.GeluTanh: "GeluTanh",
    activation.HardTanh: "HardTanh",
}
NATIVE: dict[type[Op], str] = {
    activation.Selu: "selu",
    activation.Gelu: "gelu",
    activation.HardTanh: "hard_tanh",
}
"""Keras' own where a helper stands for it."""


@COLUMN(*FUNCTIONS)
def function(node: Node[Op], style: Style) -> Spelling:
    """`layers.Activation` by name."""
    return Spelling(call("layers.Activation", FUNCTIONS[type(node.op)], name=node.id))


@COLUMN(*CLASSES)
def plain(node: Node[Op], style: Style) -> Spelling:
    """Those without fields; softmax runs over the last axis, which holds the channels."""
    if style.layers == "native" and type(node.op) in NATIVE:
        return Spelling(call("layers.Activation", NATIVE[type(node.op)], name=node.id))
    return Spelling(call(CLASSES[type(node.op)], name=node.id))


@COLUMN(activation.LeakyRelu)
def leaky_relu(node: Node[activation.LeakyRelu], style: Style) -> Spelling:
    """The slope is always written, since frameworks disagree about its default."""
    if style.layers == "native" and node.op.slope >= 0:  # Keras' own refuses others
        return Spelling(call("layers.LeakyReLU", node.op.slope, name=node.id))
    return Spelling(call("LeakyRelu", node.op.slope, name=node.id))


@COLUMN(activation.PRelu)
def prelu(node: Node[activation.PRelu], style: Style) -> Spelling:
    """One slope for each channel, or one for all."""
    return Spelling(
        call("PRelu", node.params[0].shape[0], **options(node, "initializer"), name=node.id)
    )


@COLUMN(activation.Elu, activation.Celu)
def elu(node: Node[activation.Elu | activation.Celu], style: Style) -> Spelling:
    """The default alpha is 1 here and there."""
    alpha = [] if node.op.alpha == 1 else [node.op.alpha]
    if style.layers == "native" and isinstance(node.op, activation.Elu):
        return Spelling(call("layers.ELU", *alpha, name=node.id))
    if style.layers == "native" and not alpha:  # Keras' layer by name has no other alpha
        return Spelling(call("layers.Activation", "celu", name=node.id))
    return Spelling(call(type(node.op).__name__, *alpha, name=node.id))
