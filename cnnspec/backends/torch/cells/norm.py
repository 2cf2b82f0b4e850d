"""Normalisation in torch."""

from __future__ import annotations

from cnnspec.backends.base import Style
from cnnspec.backends.columns import Spelling
from cnnspec.backends.torch.cells.column import COLUMN
from cnnspec.backends.writer import Code, call
from cnnspec.graph import Node
from cnnspec.ops.norm import (
    BatchNorm,
    GroupNorm,
    InstanceNorm,
    LayerNorm,
    LocalResponseNorm,
    Normalize,
)
from cnnspec.ops.reduce import Mean


@COLUMN(BatchNorm)
def batch_norm(node: Node[BatchNorm], style: Style) -> Spelling:
    """`nn.BatchNormNd`, whose running variance is the unbiased one."""
    op, channels = node.op, node.shape[0]
    if op.running_var == "biased":
        options = {} if op.affine else {"affine": False}
        return Spelling(call("BiasedBatchNorm", channels, op.eps, op.momentum, **options))
    changed: dict[str, object] = {}
    if op.eps != 1e-5:
        changed["eps"] = op.eps
    if op.momentum != 0.1:
        changed["momentum"] = op.momentum
    if not op.affine:
        changed["affine"] = False
    rank = max(1, len(node.shape) - 1)
    return Spelling(call(f"nn.BatchNorm{rank}d", channels, **changed))


@COLUMN(LayerNorm)
def layer_norm(node: Node[LayerNorm], style: Style) -> Spelling:
    """`nn.LayerNorm`, which takes the last axes; a helper moves others there."""
    op, axes = node.op, node.op.owned(node.shape)
    sizes = tuple(node.shape[axis] for axis in axes)
    changed: dict[str, object] = {} if op.eps == 1e-5 else {"eps": op.eps}
    if not op.affine:
        changed["elementwise_affine"] = False
    if axes == tuple(range(len(node.shape) - len(axes), len(node.shape))):
        return Spelling(call("nn.LayerNorm", sizes[0] if len(sizes) == 1 else sizes, **changed))
    return Spelling(call("AxesLayerNorm", sizes, tuple(axis + 1 for axis in axes), **changed))


@COLUMN(GroupNorm)
def group_norm(node: Node[GroupNorm], style: Style) -> Spelling:
    """`nn.GroupNorm`."""
    op = node.op
    changed: dict[str, object] = {} if op.eps == 1e-5 else {"eps": op.eps}
    if not op.affine:
        changed["affine"] = False
    return Spelling(call("nn.GroupNorm", op.groups, node.shape[0], **changed))


@COLUMN(InstanceNorm)
def instance_norm(node: Node[InstanceNorm], style: Style) -> Spelling:
    """`nn.InstanceNormNd`, which is not affine either unless told."""
    op, rank = node.op, len(node.shape) - 1
    changed: dict[str, object] = {} if op.eps == 1e-5 else {"eps": op.eps}
    if op.affine:
        changed["affine"] = True
    return Spelling(call(f"nn.InstanceNorm{rank}d", node.shape[0], **changed))


@COLUMN(LocalResponseNorm)
def local_response_norm(node: Node[LocalResponseNorm], style: Style) -> Spelling:
    """`nn.LocalResponseNorm`, which divides alpha by the size as well.

    On three axes it views its input as if it were contiguous, which a permuted or normalised one
    need not be: there a helper copies it first.
    """
    op, rank = node.op, len(node.shape) - 1
    changed: dict[str, object] = {}
    for word, value, default in (
        ("alpha", op.alpha, 1e-4),
        ("beta", op.beta, 0.75),
        ("k", op.k, 1.0),
    ):
        if value != default:
            changed[word] = value
    name = "LocalResponseNorm" if rank == 3 else "nn.LocalResponseNorm"
    return Spelling(
        call(name, op.size, **changed),
        lambda x: call(
            "F.local_response_norm",
            Code(f"{x}.contiguous()") if rank == 3 else x,
            op.size,
            **changed,
        ),
    )


@COLUMN(Normalize)
def normalize(node: Node[Normalize], style: Style) -> Spelling:
    """A helper; torch has it for single images only."""
    return Spelling(call("Normalize", node.op.mean, node.op.std))


@COLUMN(Mean)
def mean(node: Node[Mean], style: Style) -> Spelling:
    """`torch.mean`; a module inside a sequence."""
    axes = tuple(axis + 1 for axis in node.op.positions(node.inputs[0].shape))
    over = axes[0] if len(axes) == 1 else axes
    return Spelling(call("Mean", over), lambda x: call("torch.mean", x, dim=over, keepdim=True))
