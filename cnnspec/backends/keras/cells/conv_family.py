"""Transposed, depthwise and separable convolutions in Keras."""

from __future__ import annotations

from cnnspec.backends.base import Style
from cnnspec.backends.columns import Spelling
from cnnspec.backends.holders import grouped, holders
from cnnspec.backends.keras.cells.column import COLUMN
from cnnspec.backends.keras.cells.conv import conv, depthwise
from cnnspec.backends.keras.cells.window import compact, compact_pads, is_same, padded
from cnnspec.backends.keras.initial import options
from cnnspec.backends.writer import apply, call
from cnnspec.graph import Node
from cnnspec.ops.base import Op, Param, Shape
from cnnspec.ops.conv import Conv
from cnnspec.ops.conv_transpose import ConvTranspose
from cnnspec.ops.depthwise_conv import DepthwiseConv, SeparableConv
from cnnspec.ops.initializer import Orthogonal
from cnnspec.window import resolve_crops


@COLUMN(ConvTranspose)
def conv_transpose(node: Node[ConvTranspose], style: Style) -> Spelling:
    """`layers.ConvNDTranspose`, with a layer that crops behind it; a helper for what it lacks."""
    op, shape = node.op, node.inputs[0].shape
    window, rank = op.transposed_window(shape), len(shape) - 1
    chosen: dict[str, object] = {}
    if not op.bias:
        chosen["use_bias"] = False
    chosen |= options(node, "kernel_initializer")
    if op.groups > 1 or max(window.dilation) > 1:
        if max(window.stride) > 1:
            chosen["strides"] = window.stride
        if max(window.dilation) > 1:
            chosen["dilation_rate"] = window.dilation
        if padded(window.crops):
            chosen["crops"] = window.crops
        if op.groups > 1:
            chosen["groups"] = op.groups
        return Spelling(call("ConvTranspose", op.filters, window.kernel, **chosen, name=node.id))
    own: dict[str, object] = {}
    if max(window.stride) > 1:
        own["strides"] = compact(window.stride)
    same = resolve_crops("same", None, window.kernel, window.stride, window.dilation)
    crop = None
    if window.crops == same and padded(same):
        own["padding"] = "same"
    else:
        more = tuple(max(0, -after) for _, after in window.crops)
        valid = resolve_crops("valid", None, window.kernel, window.stride, window.dilation)
        if more != tuple(-after for _, after in valid):
            own["output_padding"] = compact(more)
        crops = tuple((before, max(0, after)) for before, after in window.crops)
        if padded(crops):
            crop = call(f"layers.Cropping{rank}D", compact_pads(crops), name=f"{node.id}.crop")
    layer = call(
        f"layers.Conv{rank}DTranspose",
        op.filters,
        compact(window.kernel),
        **own,
        **chosen,
        name=node.id,
    )
    if crop is None:
        return Spelling(layer)
    return Spelling(layer, lambda layer, x: apply(crop, apply(layer, x)))


@COLUMN(DepthwiseConv)
def depthwise_conv(node: Node[DepthwiseConv], style: Style) -> Spelling:
    """A convolution with a group for each channel."""
    return conv(grouped(node), style)


@COLUMN(SeparableConv)
def separable_conv(node: Node[SeparableConv], style: Style) -> Spelling:
    """`layers.SeparableConvND`, with a layer for padding in front; a helper for what it lacks."""
    op, shape = node.op, node.inputs[0].shape
    window, rank = op.window(shape), len(shape) - 1
    native = native_separable(op, shape)
    together = max(window.stride) > 1 and max(window.dilation) > 1
    chosen: dict[str, object] = {}
    if max(window.stride) > 1:
        chosen["strides"] = compact(window.stride) if native else window.stride
    pad = padded(window.pads)
    if pad and native and not together and is_same(window, shape):
        chosen["padding"], pad = "same", False
    if op.multiplier > 1:
        chosen["depth_multiplier"] = op.multiplier
    if max(window.dilation) > 1:
        chosen["dilation_rate"] = compact(window.dilation) if native else window.dilation
    if not op.bias:
        chosen["use_bias"] = False
    for holder in holders(node):
        part = holder.id.rpartition(".")[2]
        chosen |= options(holder, f"{part}_initializer")
    name = layer_name(node)
    kernel = compact(window.kernel) if native else window.kernel
    layer = call(name, op.filters, kernel, **chosen, name=node.id)
    if not pad:
        return Spelling(layer)
    zeros = call(f"layers.ZeroPadding{rank}D", compact_pads(window.pads), name=f"{node.id}.pad")
    return Spelling(layer, lambda layer, x: apply(layer, apply(zeros, x)))


def native_separable(op: SeparableConv, shape: Shape) -> bool:
    """Whether Keras has a layer for this: see `depthwise`, its first half."""
    return (
        len(shape) <= 3
        and len(set(op.window(shape).stride)) == 1
        and not isinstance(op.depthwise(shape[0]).weight_init, Orthogonal)
    )


# --- variables ---------------------------------------------------------------------------------


def variable(node: Node[Op], param: Param) -> str | None:
    """The name of a separable convolution's parameter in its Keras layer, None for other ops."""
    if not isinstance(node.op, SeparableConv):
        return None
    part, _, kind = param.name.partition(".")
    return "bias" if kind == "bias" else f"{part}_kernel"


def layer_name(node: Node[Op]) -> str:
    """The class of a layer that has a depthwise kernel."""
    rank = len(node.shape) - 1
    if not isinstance(node.op, SeparableConv):
        return f"layers.DepthwiseConv{rank}D"
    native = native_separable(node.op, node.inputs[0].shape)
    return f"layers.SeparableConv{rank}D" if native else "SeparableConv"


def apart(node: Node[Op], param: Param) -> Shape | None:
    """The shape of a depthwise kernel in its Keras layer, None for every other parameter.

    It ends with the channels and the filters that each of them has.
    """
    op, shape = node.op, node.inputs[0].shape
    if isinstance(op, DepthwiseConv):
        op = op.as_conv(shape[0])
    size, filters = param.shape[2:], param.shape[0]
    if param.name == "depthwise.weight" and isinstance(op, SeparableConv):
        native = native_separable(op, shape)
        return (*size, shape[0], op.multiplier) if native else (*size, 1, filters)
    if param.name == "weight" and isinstance(op, Conv) and depthwise(op, shape):
        return (*size, shape[0], filters // shape[0])
    return None
