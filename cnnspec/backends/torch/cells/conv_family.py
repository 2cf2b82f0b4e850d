"""Transposed, depthwise and separable convolutions in torch."""

from __future__ import annotations

from cnnspec.backends.base import Style
from cnnspec.backends.columns import Spelling
from cnnspec.backends.holders import grouped
from cnnspec.backends.torch.cells.column import COLUMN
from cnnspec.backends.torch.cells.conv import conv
from cnnspec.backends.torch.cells.window import compact, half, reversed_pads
from cnnspec.backends.writer import call
from cnnspec.graph import Node
from cnnspec.ops.conv_transpose import ConvTranspose
from cnnspec.ops.depthwise_conv import DepthwiseConv, SeparableConv
from cnnspec.window import TransposedWindow


@COLUMN(ConvTranspose)
def conv_transpose(node: Node[ConvTranspose], style: Style) -> Spelling:
    """`nn.ConvTransposeNd`, or a subclass where more is cropped at the end than at the start."""
    op, shape = node.op, node.inputs[0].shape
    window, rank = op.transposed_window(shape), len(shape) - 1
    options: dict[str, object] = {}
    if max(window.stride) > 1:
        options["stride"] = compact(window.stride)
    native = _is_native(window)
    padding = half(window.crops) if native else (0,) * rank
    if max(padding) > 0:
        options["padding"] = compact(padding)
    # Behind what torch crops on both sides alike; without a crop it is what is appended.
    more = tuple(before - after if native else max(0, -after) for before, after in window.crops)
    if max(more) > 0:
        options["output_padding"] = compact(more)
    if op.groups > 1:
        options["groups"] = op.groups
    if not op.bias:
        options["bias"] = False
    if max(window.dilation) > 1:
        options["dilation"] = compact(window.dilation)
    name = f"nn.ConvTranspose{rank}d"
    if not native:
        name = f"CroppedConvTranspose{rank}d"
        options["crops"] = tuple(max(0, side) for side in reversed_pads(window.crops))
    return Spelling(call(name, shape[0], op.filters, compact(window.kernel), **options))


def _is_native(window: TransposedWindow) -> bool:
    """Whether torch has these crops: p before, and p less a small output padding after."""
    axes = zip(window.crops, window.stride, window.dilation, strict=True)
    return all(0 <= before - after < max(s, d) for (before, after), s, d in axes)


@COLUMN(DepthwiseConv)
def depthwise_conv(node: Node[DepthwiseConv], style: Style) -> Spelling:
    """A convolution with a group for each channel."""
    return conv(grouped(node), style)


@COLUMN(SeparableConv)
def separable_conv(node: Node[SeparableConv], style: Style) -> Spelling:
    """A helper, which holds two convolutions."""
    op, shape = node.op, node.inputs[0].shape
    window, rank = op.window(shape), len(shape) - 1
    options: dict[str, object] = {}
    if op.multiplier > 1:
        options["multiplier"] = op.multiplier
    if max(window.stride) > 1:
        options["stride"] = compact(window.stride)
    if window.symmetric and max(half(window.pads)) > 0:
        options["padding"] = compact(half(window.pads))
    if max(window.dilation) > 1:
        options["dilation"] = compact(window.dilation)
    if not op.bias:
        options["bias"] = False
    if not window.symmetric:
        options["pads"] = reversed_pads(window.pads)
    name = f"SeparableConv{rank}d"
    return Spelling(call(name, shape[0], op.filters, compact(window.kernel), **options))
