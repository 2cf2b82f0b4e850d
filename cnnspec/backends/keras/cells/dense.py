"""Dense and radial-basis layers in Keras."""

from __future__ import annotations

from cnnspec.backends.base import Style
from cnnspec.backends.columns import Spelling
from cnnspec.backends.keras.cells.column import COLUMN
from cnnspec.backends.keras.initial import options
from cnnspec.backends.writer import call
from cnnspec.graph import Node
from cnnspec.ops.dense import Dense
from cnnspec.ops.rbf import Rbf


@COLUMN(Dense)
def dense(node: Node[Dense], style: Style) -> Spelling:
    """`layers.Dense`."""
    chosen: dict[str, object] = {} if node.op.bias else {"use_bias": False}
    chosen |= options(node, "kernel_initializer")
    return Spelling(call("layers.Dense", node.op.units, **chosen, name=node.id))


@COLUMN(Rbf)
def rbf(node: Node[Rbf], style: Style) -> Spelling:
    """A helper; Keras has no such layer."""
    return Spelling(call("Rbf", node.op.units, **options(node, "initializer"), name=node.id))
