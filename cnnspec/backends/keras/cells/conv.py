"""Convolutions in Keras."""

from __future__ import annotations

from cnnspec.backends.base import Style
from cnnspec.backends.columns import Spelling
from cnnspec.backends.keras.cells.column import COLUMN
from cnnspec.backends.keras.cells.window import compact, compact_pads, is_same, padded
from cnnspec.backends.keras.initial import options
from cnnspec.backends.writer import Code, call
from cnnspec.graph import Node
from cnnspec.ops.base import Shape
from cnnspec.ops.conv import Conv
from cnnspec.window import Window


def depthwise(op: Conv, shape: Shape) -> bool:
    """Whether every channel has a filter of its own, for which Keras has a faster layer."""
    return (
        1 < op.groups == shape[0] == op.filters
        and len(shape) <= 3
        and not op.flip
        and len(set(op.window(shape).stride)) == 1
    )


@COLUMN(Conv)
def conv(node: Node[Conv], style: Style) -> Spelling:
    """`layers.ConvND`, with layers for padding in front and for strides behind where needed."""
    op, shape = node.op, node.inputs[0].shape
    window, rank = op.window(shape), len(shape) - 1
    alone = depthwise(op, shape)
    together = max(window.stride) > 1 and max(window.dilation) > 1
    name = f"layers.DepthwiseConv{rank}D" if alone else f"layers.Conv{rank}D"
    if op.flip:
        name = f"TrueConv{rank}D"
    chosen: dict[str, object] = {}
    if max(window.stride) > 1 and not together:
        chosen["strides"] = compact(window.stride)
    padding = _padding(op, window, shape, together=together, alone=alone)
    if padding is not None and padded(window.pads):
        chosen["padding"] = padding
    if max(window.dilation) > 1:
        chosen["dilation_rate"] = compact(window.dilation)
    if op.groups > 1 and not alone:
        chosen["groups"] = op.groups
    if not op.bias:
        chosen["use_bias"] = False
    chosen |= options(node, "depthwise_initializer" if alone else "kernel_initializer")
    filters = [] if alone else [op.filters]
    layer = call(name, *filters, compact(window.kernel), **chosen, name=node.id)

    def around(layer: Code, x: Code) -> Code:
        if padding is None:
            x = Code(f"{_pad(op, window, node.id)}({x})")
        made = Code(f"{layer}({x})")
        if together:
            after = call("Subsample", window.stride, name=f"{node.id}.subsample")
            made = Code(f"{after}({made})")
        return made

    return Spelling(layer, around if padding is None or together else None)


def _padding(op: Conv, window: Window, shape: Shape, *, together: bool, alone: bool) -> str | None:
    """The name that Keras has for these pads, None where a layer in front has to pad."""
    if not padded(window.pads):
        return "valid"
    if op.padding_mode != "zeros" or together:
        return None
    if is_same(window, shape):
        return "same"
    causal = len(shape) == 2 and window.pads[0] == (window.extent[0] - 1, 0)
    return "causal" if causal and not alone and not op.flip else None


def _pad(op: Conv, window: Window, id: str) -> Code:
    name = f"{id}.pad"
    if op.padding_mode == "zeros":
        rank = len(window.pads)
        return call(f"layers.ZeroPadding{rank}D", compact_pads(window.pads), name=name)
    return call("Pad", window.pads, op.padding_mode, name=name)
