"""Ops with several inputs in Keras."""

from __future__ import annotations

from cnnspec.backends.base import Style
from cnnspec.backends.columns import Spelling
from cnnspec.backends.keras.cells.column import COLUMN
from cnnspec.backends.writer import Code, call
from cnnspec.graph import Node
from cnnspec.ops.merge import Add, Concat


def listed(layer: Code, *xs: Code) -> Code:
    """Keras takes several inputs as one list."""
    return Code(f"{layer}([{', '.join(xs)}])")


@COLUMN(Add)
def add(node: Node[Add], style: Style) -> Spelling:
    """`layers.Add`."""
    return Spelling(call("layers.Add", name=node.id), listed)


@COLUMN(Concat)
def concat(node: Node[Concat], style: Style) -> Spelling:
    """Along the last axis, which holds the channels."""
    return Spelling(call("layers.Concatenate", name=node.id), listed)
