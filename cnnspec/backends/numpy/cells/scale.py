"""A learnt factor for each channel, in NumPy."""

from __future__ import annotations

from cnnspec.backends.base import Style
from cnnspec.backends.columns import Spelling
from cnnspec.backends.numpy.cells.column import COLUMN
from cnnspec.backends.writer import call
from cnnspec.graph import Node
from cnnspec.ops.scale import LayerScale


@COLUMN(LayerScale)
def layer_scale(node: Node[LayerScale], style: Style) -> Spelling:
    """One weight for each channel."""
    return Spelling(call("LayerScale", node.shape[0]))
