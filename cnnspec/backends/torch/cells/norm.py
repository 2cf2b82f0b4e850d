"""Normalisation in torch."""

from __future__ import annotations

from cnnspec.backends.base import Style
from cnnspec.backends.columns import Spelling
from cnnspec.backends.torch.cells.column import COLUMN
from cnnspec.backends.writer import call
from cnnspec.graph import Node
from cnnspec.ops.norm import BatchNorm


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
