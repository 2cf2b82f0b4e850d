"""Random layers in NumPy: its own generator, or the masks that are the same everywhere."""

from __future__ import annotations

from cnnspec.backends.base import Style
from cnnspec.backends.columns import Spelling
from cnnspec.backends.numpy.cells.column import COLUMN
from cnnspec.backends.writer import Code, call
from cnnspec.graph import Node
from cnnspec.ops.dropout import AlphaDropout, Dropout, SpatialDropout, StochasticDepth


@COLUMN(Dropout, SpatialDropout, AlphaDropout, StochasticDepth)
def dropout(
    node: Node[Dropout | SpatialDropout | AlphaDropout | StochasticDepth], style: Style
) -> Spelling:
    """With the model's generator, or the seed of the spec."""
    name = type(node.op).__name__
    if style.random == "framework":
        return Spelling(call(name, node.op.p, Code("rng")))
    return Spelling(call(f"Counter{name}", node.op.p, Code("SEED")))
