"""Ops with several inputs in NumPy."""

from __future__ import annotations

from cnnspec.backends.base import Style
from cnnspec.backends.columns import Spelling
from cnnspec.backends.numpy.cells.column import COLUMN
from cnnspec.backends.writer import call
from cnnspec.graph import Node
from cnnspec.ops.base import Op
from cnnspec.ops.merge import Add, Average, Concat, Maximum, Multiply, Subtract


@COLUMN(Add, Average, Concat, Maximum, Subtract)
def merge(node: Node[Op], style: Style) -> Spelling:
    """The kernel has the op's name."""
    return Spelling(call=lambda *xs: call(node.op.key, *xs))


@COLUMN(Multiply)
def multiply(node: Node[Multiply], style: Style) -> Spelling:
    """The product."""
    return Spelling(call=lambda *xs: call("product", *xs))
