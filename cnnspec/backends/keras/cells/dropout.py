"""Random layers in Keras: its own, or the masks that are the same everywhere."""

from __future__ import annotations

from cnnspec.backends.base import Style
from cnnspec.backends.columns import Spelling
from cnnspec.backends.keras.cells.column import COLUMN
from cnnspec.backends.writer import Code, call
from cnnspec.graph import Node
from cnnspec.ops.dropout import AlphaDropout, Dropout, SpatialDropout, StochasticDepth


@COLUMN(Dropout)
def dropout(node: Node[Dropout], style: Style) -> Spelling:
    """`layers.Dropout`, or the counter-based one with the seed of the spec."""
    if style.random == "framework":
        return Spelling(call("layers.Dropout", node.op.p, name=node.id))
    return Spelling(call("CounterDropout", node.op.p, Code("SEED"), name=node.id))


@COLUMN(SpatialDropout)
def spatial_dropout(node: Node[SpatialDropout], style: Style) -> Spelling:
    """`layers.SpatialDropoutND`; without space it is dropout."""
    if style.random == "framework":
        rank = len(node.shape) - 1
        kind = f"layers.SpatialDropout{rank}D" if rank else "layers.Dropout"
        return Spelling(call(kind, node.op.p, name=node.id))
    return Spelling(call("CounterSpatialDropout", node.op.p, Code("SEED"), name=node.id))


@COLUMN(AlphaDropout)
def alpha_dropout(node: Node[AlphaDropout], style: Style) -> Spelling:
    """`layers.AlphaDropout`, which cannot drop everything; `layers.Dropout` can."""
    if style.random == "framework":
        kind = "layers.Dropout" if node.op.p == 1 else "layers.AlphaDropout"
        return Spelling(call(kind, node.op.p, name=node.id))
    return Spelling(call("CounterAlphaDropout", node.op.p, Code("SEED"), name=node.id))


@COLUMN(StochasticDepth)
def stochastic_depth(node: Node[StochasticDepth], style: Style) -> Spelling:
    """`layers.Dropout` with one decision for each sample."""
    if style.random == "framework":
        shape = (None, *(1 for _ in node.shape))
        return Spelling(call("layers.Dropout", node.op.p, noise_shape=shape, name=node.id))
    return Spelling(call("CounterStochasticDepth", node.op.p, Code("SEED"), name=node.id))
