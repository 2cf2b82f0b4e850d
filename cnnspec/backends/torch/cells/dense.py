"""Dense and radial-basis layers in torch."""

from __future__ import annotations

from cnnspec.backends.base import Style
from cnnspec.backends.columns import Spelling
from cnnspec.backends.torch.cells.column import COLUMN
from cnnspec.backends.writer import call
from cnnspec.graph import Node
from cnnspec.ops.dense import Dense
from cnnspec.ops.rbf import Rbf


@COLUMN(Dense)
def dense(node: Node[Dense], style: Style) -> Spelling:
    """`nn.Linear`."""
    options = {} if node.op.bias else {"bias": False}
    return Spelling(call("nn.Linear", node.inputs[0].shape[0], node.op.units, **options))


@COLUMN(Rbf)
def rbf(node: Node[Rbf], style: Style) -> Spelling:
    """A helper; torch has no such layer."""
    return Spelling(call("Rbf", node.inputs[0].shape[0], node.op.units))
