"""Ops that move or scale values in NumPy."""

from __future__ import annotations

from cnnspec.backends.base import Style
from cnnspec.backends.columns import Spelling
from cnnspec.backends.numpy.cells.column import COLUMN, function
from cnnspec.graph import Node
from cnnspec.ops.reshape import ChannelShuffle, Flatten, Permute, Rescale, Reshape
from cnnspec.ops.resize import PixelShuffle, PixelUnshuffle


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


@COLUMN(Reshape)
def reshape(node: Node[Reshape], style: Style) -> Spelling:
    """With -1 resolved."""
    return function("reshape", *node.shape)


@COLUMN(Permute)
def permute(node: Node[Permute], style: Style) -> Spelling:
    """Axes behind the batch, as in the spec."""
    return function("permute", *node.op.axes)


@COLUMN(ChannelShuffle)
def channel_shuffle(node: Node[ChannelShuffle], style: Style) -> Spelling:
    """By the number of groups."""
    return function("channel_shuffle", node.op.groups)


@COLUMN(PixelShuffle, PixelUnshuffle)
def pixels(node: Node[PixelShuffle | PixelUnshuffle], style: Style) -> Spelling:
    """The kernel has the op's name."""
    return function(node.op.key, node.op.factor)
