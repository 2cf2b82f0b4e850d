"""Random layers in torch: its own, or the masks that are the same everywhere."""

from __future__ import annotations

from cnnspec.backends.base import Style
from cnnspec.backends.columns import Spelling
from cnnspec.backends.torch.cells.column import COLUMN
from cnnspec.backends.writer import Code, call
from cnnspec.graph import Node
from cnnspec.ops.dropout import AlphaDropout, Dropout, SpatialDropout, StochasticDepth


@COLUMN(Dropout)
def dropout(node: Node[Dropout], style: Style) -> Spelling:
    """`nn.Dropout`, or the counter-based one with the seed of the spec."""
    if style.random == "framework":
        return Spelling(call("nn.Dropout", node.op.p))
    return Spelling(call("CounterDropout", node.op.p, Code("SEED")))


@COLUMN(SpatialDropout)
def spatial_dropout(node: Node[SpatialDropout], style: Style) -> Spelling:
    """`nn.DropoutNd` drops channels; without space it would take the batch for the channels."""
    if style.random == "framework":
        rank = len(node.shape) - 1
        return Spelling(call(f"nn.Dropout{rank}d" if rank else "nn.Dropout", node.op.p))
    return Spelling(call("CounterSpatialDropout", node.op.p, Code("SEED")))


@COLUMN(AlphaDropout)
def alpha_dropout(node: Node[AlphaDropout], style: Style) -> Spelling:
    """`nn.AlphaDropout`, or the counter-based one."""
    if style.random == "framework":
        return Spelling(call("nn.AlphaDropout", node.op.p))
    return Spelling(call("CounterAlphaDropout", node.op.p, Code("SEED")))


@COLUMN(StochasticDepth)
def stochastic_depth(node: Node[StochasticDepth], style: Style) -> Spelling:
    """Torch has none."""
    if style.random == "framework":
        return Spelling(call("StochasticDepth", node.op.p))
    return Spelling(call("CounterStochasticDepth", node.op.p, Code("SEED")))
