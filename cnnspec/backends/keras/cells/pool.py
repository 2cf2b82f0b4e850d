"""Pooling in Keras."""

from __future__ import annotations

from cnnspec.backends.base import Style
from cnnspec.backends.columns import Spelling
from cnnspec.backends.keras.cells.column import COLUMN
from cnnspec.backends.keras.cells.window import compact, compact_pads, is_same, padded
from cnnspec.backends.writer import Code, apply, call
from cnnspec.graph import Node
from cnnspec.ops.adaptive_pool import AdaptiveAvgPool, AdaptiveMaxPool, AdaptivePool
from cnnspec.ops.base import spatial
from cnnspec.ops.pool import AvgPool, GlobalAvgPool, GlobalMaxPool, LpPool, MaxPool, Pool, SumPool


def native(kind: str, node: Node[Pool], **more: object) -> Code:
    """Keras' own layer; its stride defaults to the kernel as well."""
    window = node.op.window(node.inputs[0].shape)
    rank = len(window.kernel)
    strides = [] if window.stride == window.kernel else [compact(window.stride)]
    name = f"layers.{kind}Pooling{rank}D"
    return call(name, compact(window.kernel), *strides, **more, name=node.id)


def helper(name: str, node: Node[Pool], *args: object, **more: object) -> Spelling:
    """A helper over explicit pads."""
    window = node.op.window(node.inputs[0].shape)
    if window.stride != window.kernel:
        more = {"strides": window.stride, **more}
    if padded(window.pads):
        more = {"pads": window.pads, **more}
    return Spelling(call(name, *args, window.kernel, **more, name=node.id))


@COLUMN(MaxPool)
def max_pool(node: Node[MaxPool], style: Style) -> Spelling:
    """Native where Keras has a name for the pads; its three-dimensional one has no float64."""
    shape = node.inputs[0].shape
    window = node.op.window(shape)
    if max(window.dilation) > 1:
        return helper("DilatedMaxPool", node, dilation=window.dilation)
    if len(window.kernel) < 3 or style.layers == "native":
        if not padded(window.pads):
            return Spelling(native("Max", node))
        if is_same(window, shape):
            return Spelling(native("Max", node, padding="same"))
    return helper("MaxPool", node)


@COLUMN(AvgPool)
def avg_pool(node: Node[AvgPool], style: Style) -> Spelling:
    """Native without pads, with pads that all count, and with "same" pads that do not.

    Where these are not alike on both sides, keras 3.15.1 on PyTorch repeats the last elements.
    """
    op, shape = node.op, node.inputs[0].shape
    window = op.window(shape)
    # What ceil mode reaches beyond the declared padding never counts; a declared pad that no
    # window reaches does not matter.
    counted = tuple(
        (min(b, wb), min(a, wa)) if op.count_include_pad else (0, 0)
        for (b, a), (wb, wa) in zip(op.pads(shape), window.pads, strict=True)
    )
    rank = len(window.kernel)
    if rank < 3 or style.layers == "native":
        if not padded(window.pads):
            return Spelling(native("Average", node))
        if counted == window.pads:
            pad = call(f"layers.ZeroPadding{rank}D", compact_pads(counted), name=f"{node.id}.pad")
            return Spelling(native("Average", node), lambda layer, x: apply(layer, apply(pad, x)))
        alike = all(before == after for before, after in window.pads)
        alike = alike or style.layers == "native"
        if alike and not padded(counted) and is_same(window, shape):
            return Spelling(native("Average", node, padding="same"))
    return helper("AvgPool", node, **({"counted": counted} if padded(counted) else {}))


@COLUMN(SumPool)
def sum_pool(node: Node[SumPool], style: Style) -> Spelling:
    """A helper; Keras has no such layer."""
    return helper("SumPool", node)


@COLUMN(LpPool)
def lp_pool(node: Node[LpPool], style: Style) -> Spelling:
    """A helper; Keras has no such layer."""
    return helper("LpPool", node, node.op.p)


@COLUMN(AdaptiveAvgPool, AdaptiveMaxPool)
def adaptive_pool(node: Node[AdaptivePool], style: Style) -> Spelling:
    """Helpers: Keras' own have no float64 on three axes, and share ties out."""
    name = type(node.op).__name__
    if style.layers == "native":
        kind = "Average" if isinstance(node.op, AdaptiveAvgPool) else "Max"
        name = f"layers.Adaptive{kind}Pooling{len(node.shape) - 1}D"
    return Spelling(call(name, compact(spatial(node.shape)), name=node.id))


@COLUMN(GlobalAvgPool)
def global_avg_pool(node: Node[GlobalAvgPool], style: Style) -> Spelling:
    """Keras' own, which keeps the axes when told to."""
    rank = len(node.shape) - 1
    return Spelling(call(f"layers.GlobalAveragePooling{rank}D", keepdims=True, name=node.id))


@COLUMN(GlobalMaxPool)
def global_max_pool(node: Node[GlobalMaxPool], style: Style) -> Spelling:
    """A window over everything: Keras' global pooling would divide the gradient among ties."""
    space = spatial(node.inputs[0].shape)
    if style.layers == "native":
        name = f"layers.GlobalMaxPooling{len(space)}D"
        return Spelling(call(name, keepdims=True, name=node.id))
    if len(space) == 3:
        return Spelling(call("MaxPool", space, name=node.id))
    return Spelling(call(f"layers.MaxPooling{len(space)}D", compact(space), name=node.id))
