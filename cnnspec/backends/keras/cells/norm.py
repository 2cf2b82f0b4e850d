"""Normalisation in Keras."""

from __future__ import annotations

from typing import Any

from cnnspec.backends.base import Style
from cnnspec.backends.columns import Spelling
from cnnspec.backends.keras.cells.column import COLUMN
from cnnspec.backends.keras.initial import options
from cnnspec.backends.writer import call
from cnnspec.graph import Node
from cnnspec.ops.base import Op, Param
from cnnspec.ops.norm import (
    BatchNorm,
    GroupNorm,
    InstanceNorm,
    LayerNorm,
    LocalResponseNorm,
    Norm,
    Normalize,
    SampleNorm,
)
from cnnspec.ops.reduce import Mean

VARIABLES = {
    "weight": "gamma",
    "bias": "beta",
    "running_mean": "moving_mean",
    "running_var": "moving_variance",
}
"""What Keras' norms call their variables."""


def last(axis: int, rank: int) -> int:
    """An axis of a shape, 0 for the channels, where Keras has it: they come last."""
    return axis if axis else rank + 1


def variable(node: Node[Op], param: Param) -> str | None:
    """The name of a norm's parameter in its Keras layer, None for other ops."""
    if not isinstance(node.op, Norm) or over_space(node):
        return None
    return VARIABLES[param.name]


def letters(param: Param) -> str:
    """The layout of a norm's parameter in its Keras layer: channels last."""
    return param.layout.replace("C", "") + "C" if "C" in param.layout else param.layout


def over_space(node: Node[Op]) -> bool:
    """Whether a layer norm is over axes of space alone.

    Elsewhere the first axis of a parameter is that of the channels, which Keras has last.
    """
    return isinstance(node.op, LayerNorm) and 0 not in node.op.owned(node.shape)


def chosen(node: Node[Any]) -> dict[str, object]:
    """The options of a norm within samples; Keras' default of epsilon is 1e-3."""
    op: SampleNorm = node.op
    options_: dict[str, object] = {"epsilon": op.eps}
    if not op.affine:
        options_ |= {"center": False, "scale": False}
    return options_ | options(node, "gamma_initializer", "beta_initializer")


@COLUMN(BatchNorm)
def batch_norm(node: Node[BatchNorm], style: Style) -> Spelling:
    """A subclass, since Keras' own running variance is biased; momentum is of the old value.

    For the biased one as well: on PyTorch keras 3.15.1 takes E[x^2] - E[x]^2, which cancels.
    """
    op = node.op
    chosen: dict[str, object] = {"momentum": 1 - op.momentum, "epsilon": op.eps}
    if not op.affine:
        chosen |= {"center": False, "scale": False}
    chosen |= options(node, "gamma_initializer", "beta_initializer")
    name = "BiasedBatchNorm" if op.running_var == "biased" else "BatchNorm"
    if style.layers == "native" and op.running_var == "biased":
        name = "layers.BatchNormalization"
    return Spelling(call(name, **chosen, name=node.id))


@COLUMN(LayerNorm)
def layer_norm(node: Node[LayerNorm], style: Style) -> Spelling:
    """Keras' own where the channels are among the axes, by default they are the only one.

    On PyTorch keras 3.15.1 normalises over the last axes, however many of whichever it was given.
    """
    rank = len(node.shape) - 1
    axes = tuple(sorted(last(axis, rank) for axis in node.op.owned(node.shape)))
    name = "SpaceLayerNorm" if over_space(node) else "layers.LayerNormalization"
    over: dict[str, object] = {"axis": axes[0] if len(axes) == 1 else axes}
    if axes == (rank + 1,):
        over = {}
    return Spelling(call(name, **over, **chosen(node), name=node.id))


@COLUMN(GroupNorm)
def group_norm(node: Node[GroupNorm], style: Style) -> Spelling:
    """Keras' own."""
    return Spelling(call("layers.GroupNormalization", node.op.groups, **chosen(node), name=node.id))


@COLUMN(InstanceNorm)
def instance_norm(node: Node[InstanceNorm], style: Style) -> Spelling:
    """A group norm with as many groups as channels, which Keras calls -1."""
    return Spelling(call("layers.GroupNormalization", groups=-1, **chosen(node), name=node.id))


@COLUMN(LocalResponseNorm)
def local_response_norm(node: Node[LocalResponseNorm], style: Style) -> Spelling:
    """A helper; TensorFlow's own has no float64 and does not divide by the size."""
    op = node.op
    changed: dict[str, object] = {}
    for name, value, default in (
        ("alpha", op.alpha, 1e-4),
        ("beta", op.beta, 0.75),
        ("k", op.k, 1.0),
    ):
        if value != default:
            changed[name] = value
    return Spelling(call("LocalResponseNorm", op.size, **changed, name=node.id))


@COLUMN(Normalize)
def normalize(node: Node[Normalize], style: Style) -> Spelling:
    """A helper; Keras' own rounds its numbers to float32."""
    if style.layers == "native":
        variances = tuple(deviation**2 for deviation in node.op.std)
        layer = call("layers.Normalization", mean=node.op.mean, variance=variances, name=node.id)
        return Spelling(layer)
    return Spelling(call("Normalize", node.op.mean, node.op.std, name=node.id))


@COLUMN(Mean)
def mean(node: Node[Mean], style: Style) -> Spelling:
    """A helper over the axes where Keras has them."""
    shape = node.inputs[0].shape
    axes = tuple(sorted(last(axis, len(shape) - 1) for axis in node.op.positions(shape)))
    return Spelling(call("Mean", axes[0] if len(axes) == 1 else axes, name=node.id))
