"""A learnt factor for each channel, in Keras."""

from __future__ import annotations

from cnnspec.backends.base import Style
from cnnspec.backends.columns import Spelling
from cnnspec.backends.keras.cells.column import COLUMN
from cnnspec.backends.keras.initial import options
from cnnspec.backends.writer import call
from cnnspec.graph import Node
from cnnspec.ops.scale import LayerScale


@COLUMN(LayerScale)
def layer_scale(node: Node[LayerScale], style: Style) -> Spelling:
    """Keras sees the number of channels itself."""
    return Spelling(call("LayerScale", **options(node, "initializer"), name=node.id))
