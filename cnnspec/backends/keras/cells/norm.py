"""Normalisation in Keras."""

from __future__ import annotations

from cnnspec.backends.base import Style
from cnnspec.backends.columns import Spelling
from cnnspec.backends.keras.cells.column import COLUMN
from cnnspec.backends.keras.initial import options
from cnnspec.backends.writer import call
from cnnspec.graph import Node
from cnnspec.ops.norm import BatchNorm


@COLUMN(BatchNorm)
def batch_norm(node: Node[BatchNorm], style: Style) -> Spelling:
    """A subclass, since Keras' own running variance is biased; momentum is of the old value."""
    op = node.op
    chosen: dict[str, object] = {"momentum": 1 - op.momentum, "epsilon": op.eps}
    if not op.affine:
        chosen |= {"center": False, "scale": False}
    chosen |= options(node, "gamma_initializer", "beta_initializer")
    name = "layers.BatchNormalization" if op.running_var == "biased" else "BatchNorm"
    return Spelling(call(name, **chosen, name=node.id))
