"""Convolutions in torch."""

from __future__ import annotations

from cnnspec.backends.base import Style
from cnnspec.backends.columns import Spelling
from cnnspec.backends.torch.cells.column import COLUMN
from cnnspec.backends.torch.cells.window import compact, half, reversed_pads
from cnnspec.backends.writer import call
from cnnspec.graph import Node
from cnnspec.ops.conv import Conv
from cnnspec.window import Window

MODES = {
    "zeros": "constant",
    "reflect": "reflect",
    "replicate": "replicate",
    "circular": "circular",
}


@COLUMN(Conv)
def conv(node: Node[Conv], style: Style) -> Spelling:
    """`nn.ConvNd`, or a subclass where the two sides differ or the kernel is flipped."""
    op, shape = node.op, node.inputs[0].shape
    window, rank = op.window(shape), len(shape) - 1
    options: dict[str, object] = {}
    if max(window.stride) > 1:
        options["stride"] = compact(window.stride)
    native = window.symmetric and not op.flip
    if style.layers == "native" and not native and _same(op, window):
        native = True
        options["padding"] = "same"
        if op.padding_mode != "zeros":
            options["padding_mode"] = op.padding_mode
    elif native and max(half(window.pads)) > 0:
        options["padding"] = compact(half(window.pads))
        if op.padding_mode != "zeros":
            options["padding_mode"] = op.padding_mode
    if max(window.dilation) > 1:
        options["dilation"] = compact(window.dilation)
    if op.groups > 1:
        options["groups"] = op.groups
    if not op.bias:
        options["bias"] = False
    if not native:
        options["pads"] = reversed_pads(window.pads)
        if op.padding_mode != "zeros":
            options["mode"] = MODES[op.padding_mode]
    name = f"nn.Conv{rank}d"
    if not native:
        name = f"TrueConv{rank}d" if op.flip else f"PaddedConv{rank}d"
    return Spelling(call(name, shape[0], op.filters, compact(window.kernel), **options))


def _same(op: Conv, window: Window) -> bool:
    """Whether torch has a word for these pads: it takes one more behind than in front."""
    return op.padding == "same" and max(window.stride) == 1 and not op.flip
