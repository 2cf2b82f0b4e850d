"""Random layers in Keras: its own, or the masks that are the same everywhere."""

from __future__ import annotations

from cnnspec.backends.base import Style
from cnnspec.backends.columns import Spelling
from cnnspec.backends.keras.cells.column import COLUMN
from cnnspec.backends.writer import Code, call
from cnnspec.graph import Node
from cnnspec.ops.dropout import Dropout


@COLUMN(Dropout)
def dropout(node: Node[Dropout], style: Style) -> Spelling:
    """`layers.Dropout`, or the counter-based one with the seed of the spec."""
    if style.random == "framework":
        return Spelling(call("layers.Dropout", node.op.p, name=node.id))
    return Spelling(call("CounterDropout", node.op.p, Code("SEED"), name=node.id))
