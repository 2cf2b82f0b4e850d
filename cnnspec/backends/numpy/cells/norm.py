"""Normalisation in NumPy, but for batch norm, and means over axes."""

from __future__ import annotations

from cnnspec.backends.base import Style
from cnnspec.backends.columns import Spelling
from cnnspec.backends.numpy.cells.column import COLUMN, function
from cnnspec.backends.writer import call
from cnnspec.graph import Node
from cnnspec.ops.norm import (
    GroupNorm,
    InstanceNorm,
    LayerNorm,
    LocalResponseNorm,
    Normalize,
    SampleNorm,
)
from cnnspec.ops.reduce import Mean


def changed(op: SampleNorm) -> dict[str, object]:
    """The options that differ from the kernels' defaults."""
    options: dict[str, object] = {} if op.eps == 1e-5 else {"eps": op.eps}
    return options if op.affine else {**options, "affine": False}


@COLUMN(LayerNorm)
def layer_norm(node: Node[LayerNorm], style: Style) -> Spelling:
    """The sizes of the axes, which are the last ones unless it is said."""
    axes = node.op.owned(node.shape)
    options: dict[str, object] = {}
    if axes[-1] != len(node.shape) - 1 or len(axes) != axes[-1] - axes[0] + 1:
        options["axes"] = tuple(axis + 1 for axis in axes)
    sizes = tuple(node.shape[axis] for axis in axes)
    return Spelling(call("LayerNorm", sizes, **options, **changed(node.op)))


@COLUMN(GroupNorm)
def group_norm(node: Node[GroupNorm], style: Style) -> Spelling:
    """Groups first, as in torch."""
    return Spelling(call("GroupNorm", node.op.groups, node.shape[0], **changed(node.op)))


@COLUMN(InstanceNorm)
def instance_norm(node: Node[InstanceNorm], style: Style) -> Spelling:
    """A group norm with one channel in each group."""
    channels = node.shape[0]
    return Spelling(call("GroupNorm", channels, channels, **changed(node.op)))


@COLUMN(LocalResponseNorm)
def local_response_norm(node: Node[LocalResponseNorm], style: Style) -> Spelling:
    """The size is always written, the rest where it differs from the default."""
    op = node.op
    options: dict[str, object] = {}
    for name, value, default in (
        ("alpha", op.alpha, 1e-4),
        ("beta", op.beta, 0.75),
        ("k", op.k, 1.0),
    ):
        if value != default:
            options[name] = value
    return function("local_response_norm", op.size, **options)


@COLUMN(Normalize)
def normalize(node: Node[Normalize], style: Style) -> Spelling:
    """Both as tuples, one number for each channel."""
    return function("normalize", node.op.mean, node.op.std)


@COLUMN(Mean)
def mean(node: Node[Mean], style: Style) -> Spelling:
    """Axes are counted with the batch in front."""
    axes = node.op.positions(node.inputs[0].shape)
    return function("mean_over", tuple(axis + 1 for axis in axes))
