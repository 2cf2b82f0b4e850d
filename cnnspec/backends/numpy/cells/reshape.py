"""Ops that move or scale values in NumPy."""

from __future__ import annotations

from cnnspec.backends.base import Style
from cnnspec.backends.columns import Spelling
from cnnspec.backends.numpy.cells.column import COLUMN, function
from cnnspec.graph import Node
from cnnspec.ops.reshape import Flatten, Rescale


@COLUMN(Flatten)
def flatten(node: Node[Flatten], style: Style) -> Spelling:
    """Channels first."""
    return function("flatten")


@COLUMN(Rescale)
def rescale(node: Node[Rescale], style: Style) -> Spelling:
    """What differs from the defaults."""
    options: dict[str, object] = {"scale": node.op.scale}
    if node.op.offset:
        options["offset"] = node.op.offset
    return function("rescale", **options)
