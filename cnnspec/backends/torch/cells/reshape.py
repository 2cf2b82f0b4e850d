"""Ops that move or scale values in torch."""

from __future__ import annotations

from cnnspec.backends.base import Style
from cnnspec.backends.columns import Spelling
from cnnspec.backends.torch.cells.column import COLUMN
from cnnspec.backends.writer import Code, call, literal
from cnnspec.graph import Node
from cnnspec.ops.base import spatial
from cnnspec.ops.reshape import ChannelShuffle, Flatten, Permute, Rescale, Reshape
from cnnspec.ops.resize import PixelShuffle, PixelUnshuffle


@COLUMN(Flatten)
def flatten(node: Node[Flatten], style: Style) -> Spelling:
    """Channels first, as torch keeps them."""
    return Spelling(Code("nn.Flatten()"), lambda x: call("torch.flatten", x, 1))


@COLUMN(Rescale)
def rescale(node: Node[Rescale], style: Style) -> Spelling:
    """An expression in a forward pass, a helper inside a sequence."""
    op = node.op
    return Spelling(call("Rescale", op.scale, op.offset), lambda x: scaled(x, op.scale, op.offset))


def scaled(x: str, scale: float, offset: float) -> Code:
    """`scale * x + offset`, less what does nothing."""
    text = str(x) if scale == 1 else f"{literal(scale)} * {x}"
    if offset:
        sign = "-" if offset < 0 else "+"
        text = f"{text} {sign} {literal(abs(offset))}"
    return Code(text if text != x else f"1.0 * {x}")


@COLUMN(Reshape)
def reshape(node: Node[Reshape], style: Style) -> Spelling:
    """`nn.Unflatten` of features, a method or a helper for everything else."""
    shape = node.shape
    if not spatial(node.inputs[0].shape) and spatial(shape):
        return Spelling(call("nn.Unflatten", 1, shape), lambda x: call(f"{x}.unflatten", 1, shape))
    return Spelling(call("Reshape", *shape), lambda x: call(f"{x}.reshape", -1, *shape))


@COLUMN(Permute)
def permute(node: Node[Permute], style: Style) -> Spelling:
    """A method or a helper; torch counts the batch as axis 0."""
    order = (0, *(axis + 1 for axis in node.op.axes))
    return Spelling(call("Permute", *order), lambda x: call(f"{x}.permute", *order))


@COLUMN(ChannelShuffle)
def channel_shuffle(node: Node[ChannelShuffle], style: Style) -> Spelling:
    """`nn.ChannelShuffle`, which needs space."""
    groups = node.op.groups
    if not spatial(node.shape):
        return Spelling(call("FeatureShuffle", groups))
    return Spelling(
        call("nn.ChannelShuffle", groups), lambda x: call("F.channel_shuffle", x, groups)
    )


@COLUMN(PixelShuffle)
def pixel_shuffle(node: Node[PixelShuffle], style: Style) -> Spelling:
    """`nn.PixelShuffle` for two axes, a helper for one and three."""
    factor = node.op.factor
    if len(spatial(node.shape)) != 2:
        return Spelling(call("SpaceShuffle", factor))
    return Spelling(call("nn.PixelShuffle", factor), lambda x: call("F.pixel_shuffle", x, factor))


@COLUMN(PixelUnshuffle)
def pixel_unshuffle(node: Node[PixelUnshuffle], style: Style) -> Spelling:
    """`nn.PixelUnshuffle` for two axes, a helper for one and three."""
    factor = node.op.factor
    if len(spatial(node.shape)) != 2:
        return Spelling(call("SpaceUnshuffle", factor))
    return Spelling(
        call("nn.PixelUnshuffle", factor), lambda x: call("F.pixel_unshuffle", x, factor)
    )
