"""Convolutions in Keras."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from cnnspec.backends.base import Style
from cnnspec.backends.columns import Spelling
from cnnspec.backends.keras.cells.column import COLUMN
from cnnspec.backends.keras.cells.window import compact, compact_pads, is_same, padded
from cnnspec.backends.keras.initial import options
from cnnspec.backends.writer import Code, apply, call
from cnnspec.graph import Node
from cnnspec.ops.base import Shape
from cnnspec.ops.conv import Conv
from cnnspec.ops.initializer import Orthogonal
from cnnspec.window import Window


def depthwise(op: Conv, shape: Shape) -> bool:
    """Whether every channel has filters of its own, and Keras a layer for such.

    That has one stride for all axes, and orthogonal kernels of it would be other ones.
    """
    return (
        1 < op.groups == shape[0]
        and len(shape) <= 3
        and not op.flip
        and len(set(op.window(shape).stride)) == 1
        and not isinstance(op.weight_init, Orthogonal)
    )


@COLUMN(Conv)
def conv(node: Node[Conv], style: Style) -> Spelling:
    """`layers.ConvND`, with layers for padding in front and for strides behind where needed."""
    return convolution(node, style)


def common_padding(nodes: Sequence[Node[Conv]]) -> Literal["same", "zeros"] | None:
    """How one text pads a convolution that pads in some instances of a block, not in others.

    By the name that is right in all of them, or by zeros in front; None where nothing is mixed,
    or there is no one text.
    """
    windows = [node.op.window(node.inputs[0].shape) for node in nodes]
    if len({padded(window.pads) for window in windows}) == 1:
        return None
    if any(node.op.padding_mode != "zeros" or len(node.shape) != 3 for node in nodes):
        return None
    named = all(
        is_same(window, node.inputs[0].shape)
        and len(set(window.stride)) == 1
        and (max(window.stride) == 1 or max(window.dilation) == 1)
        for window, node in zip(windows, nodes, strict=True)
    )
    return "same" if named else "zeros"


def convolution(
    node: Node[Conv], style: Style, *, common: Literal["same", "zeros"] | None = None
) -> Spelling:
    """How a convolution is spelled.

    Args:
        node: of the convolution.
        style: of the file.
        common: how it pads in all instances of its block, where they differ.
    """
    op, shape = node.op, node.inputs[0].shape
    window, rank = op.window(shape), len(shape) - 1
    alone = depthwise(op, shape)
    together = max(window.stride) > 1 and max(window.dilation) > 1
    # Keras' own grouped convolution is compiled anew at each eager call.
    helped = op.groups > 1 and not alone and style.layers == "exact"
    name = f"layers.DepthwiseConv{rank}D" if alone else f"layers.Conv{rank}D"
    if op.flip or helped:
        name = f"{'True' if op.flip else ''}{'Grouped' if helped else ''}Conv{rank}D"
    chosen: dict[str, object] = {}
    if max(window.stride) > 1 and not together:
        chosen["strides"] = compact(window.stride)
    padding = _padding(op, window, shape, together=together, plain=not (alone or helped))
    if padding == "same" and window.symmetric and {"stride", "kernel"} & node.expressions.keys():
        padding = None  # "same" would mean other pads in another instance of the block
    if helped and padding == "same" and (rank == 3 or len(set(window.stride)) > 1):
        padding = None
    if common is not None:
        padding = "same" if common == "same" else None
    if padding is not None and (padded(window.pads) or common == "same"):
        chosen["padding"] = padding
    if max(window.dilation) > 1:
        chosen["dilation_rate"] = compact(window.dilation)
    if alone and op.filters > op.groups:
        chosen["depth_multiplier"] = op.filters // op.groups
    if op.groups > 1 and not alone:
        chosen["groups"] = op.groups
    if not op.bias:
        chosen["use_bias"] = False
    chosen |= options(node, "depthwise_initializer" if alone else "kernel_initializer")
    filters = [] if alone else [op.filters]
    layer = call(name, *filters, compact(window.kernel), **chosen, name=node.id)

    def around(layer: Code, x: Code) -> Code:
        if common == "zeros":
            x = call("zero_padding", x, compact_pads(window.pads), name=f"{node.id}.pad")
        elif padding is None:
            x = apply(_pad(op, window, node.id), x)
        made = apply(layer, x)
        if together:
            after = call("Subsample", window.stride, name=f"{node.id}.subsample")
            made = apply(after, made)
        return made

    return Spelling(layer, around if padding is None or together else None)


def _padding(op: Conv, window: Window, shape: Shape, *, together: bool, plain: bool) -> str | None:
    """The name that Keras has for these pads, None where a layer in front has to pad."""
    if not padded(window.pads):
        return "valid"
    if op.padding_mode != "zeros" or together:
        return None
    if is_same(window, shape):
        return "same"
    causal = len(shape) == 2 and window.pads[0] == (window.extent[0] - 1, 0)
    return "causal" if causal and plain and not op.flip else None


def _pad(op: Conv, window: Window, id: str) -> Code:
    name = f"{id}.pad"
    if op.padding_mode == "zeros":
        rank = len(window.pads)
        return call(f"layers.ZeroPadding{rank}D", compact_pads(window.pads), name=name)
    return call("Pad", window.pads, op.padding_mode, name=name)
