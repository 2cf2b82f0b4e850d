"""Transposed, depthwise and separable convolutions in NumPy."""

from __future__ import annotations

from cnnspec.backends.base import Style
from cnnspec.backends.columns import Spelling
from cnnspec.backends.holders import grouped
from cnnspec.backends.numpy.cells.column import COLUMN
from cnnspec.backends.numpy.cells.parametric import compact, compact_pads, conv, sliding
from cnnspec.backends.writer import call
from cnnspec.graph import Node
from cnnspec.ops.conv_transpose import ConvTranspose
from cnnspec.ops.depthwise_conv import DepthwiseConv, SeparableConv


@COLUMN(ConvTranspose)
def conv_transpose(node: Node[ConvTranspose], style: Style) -> Spelling:
    """The kernel is a tuple, which says how many axes there are."""
    op, shape = node.op, node.inputs[0].shape
    window = op.transposed_window(shape)
    options: dict[str, object] = {}
    if max(window.stride) > 1:
        options["stride"] = compact(window.stride)
    if max(window.dilation) > 1:
        options["dilation"] = compact(window.dilation)
    if any(side for pair in window.crops for side in pair):
        options["crops"] = compact_pads(window.crops)
    if op.groups > 1:
        options["groups"] = op.groups
    if not op.bias:
        options["bias"] = False
    return Spelling(call("ConvTranspose", shape[0], op.filters, window.kernel, **options))


@COLUMN(DepthwiseConv)
def depthwise_conv(node: Node[DepthwiseConv], style: Style) -> Spelling:
    """A convolution with a group for each channel."""
    return conv(grouped(node), style)


@COLUMN(SeparableConv)
def separable_conv(node: Node[SeparableConv], style: Style) -> Spelling:
    """Two convolutions in one."""
    op, shape = node.op, node.inputs[0].shape
    window = op.window(shape)
    options = sliding(window)
    if op.multiplier > 1:
        options["multiplier"] = op.multiplier
    if not op.bias:
        options["bias"] = False
    return Spelling(call("SeparableConv", shape[0], op.filters, window.kernel, **options))
