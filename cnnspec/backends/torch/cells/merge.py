"""Ops with several inputs in torch."""

from __future__ import annotations

from cnnspec.backends.base import Style
from cnnspec.backends.columns import Spelling
from cnnspec.backends.torch.cells.column import COLUMN
from cnnspec.backends.writer import Code
from cnnspec.graph import Node
from cnnspec.ops.merge import Add, Concat


@COLUMN(Add)
def add(node: Node[Add], style: Style) -> Spelling:
    """`a + b`."""
    return Spelling(call=lambda *xs: Code(" + ".join(xs)))


@COLUMN(Concat)
def concat(node: Node[Concat], style: Style) -> Spelling:
    """Along the channels, axis 1."""
    return Spelling(call=lambda *xs: Code(f"torch.cat([{', '.join(xs)}], dim=1)"))
