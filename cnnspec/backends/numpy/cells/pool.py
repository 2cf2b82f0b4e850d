"""Pooling in NumPy."""

from __future__ import annotations

from cnnspec.backends.base import Style
from cnnspec.backends.columns import Spelling
from cnnspec.backends.numpy.cells.column import COLUMN, function
from cnnspec.backends.numpy.cells.parametric import compact, compact_pads
from cnnspec.graph import Node
from cnnspec.ops.adaptive_pool import AdaptiveAvgPool, AdaptiveMaxPool, AdaptivePool
from cnnspec.ops.base import spatial
from cnnspec.ops.pool import AvgPool, GlobalAvgPool, GlobalMaxPool, LpPool, MaxPool, Pool, SumPool
from cnnspec.window import Pads


def pooling(node: Node[Pool], name: str, pads: Pads, *args: object, **more: object) -> Spelling:
    """A pooling function over these pads."""
    window = node.op.window(node.inputs[0].shape)
    options: dict[str, object] = {}
    if window.stride != window.kernel:
        options["stride"] = compact(window.stride)
    if max(window.dilation) > 1:
        options["dilation"] = compact(window.dilation)
    if any(side for pair in pads for side in pair):
        options["pads"] = compact_pads(pads)
    return function(name, compact(window.kernel), *args, **options, **more)


@COLUMN(MaxPool)
def max_pool(node: Node[MaxPool], style: Style) -> Spelling:
    """Over the resolved pads."""
    return pooling(node, "max_pool", node.op.window(node.inputs[0].shape).pads)


@COLUMN(SumPool)
def sum_pool(node: Node[SumPool], style: Style) -> Spelling:
    """Over the resolved pads."""
    return pooling(node, "sum_pool", node.op.window(node.inputs[0].shape).pads)


@COLUMN(LpPool)
def lp_pool(node: Node[LpPool], style: Style) -> Spelling:
    """Over the resolved pads; the exponent is always written."""
    return pooling(node, "lp_pool", node.op.window(node.inputs[0].shape).pads, node.op.p)


@COLUMN(AvgPool)
def avg_pool(node: Node[AvgPool], style: Style) -> Spelling:
    """Over the declared pads; what ceil mode reaches beyond is said apart, and never counts."""
    shape = node.inputs[0].shape
    window, declared = node.op.window(shape), node.op.pads(shape)
    # A declared pad at the end that no window of ceil mode reaches does not matter.
    pads = tuple(
        (before, min(after, reached))
        for (before, after), (_, reached) in zip(declared, window.pads, strict=True)
    )
    overhang = tuple(
        reached - after for (_, after), (_, reached) in zip(pads, window.pads, strict=True)
    )
    options: dict[str, object] = {}
    if any(overhang):
        options["overhang"] = compact(overhang)
    if node.op.count_include_pad:
        options["count_include_pad"] = True
    return pooling(node, "avg_pool", pads, **options)


@COLUMN(GlobalAvgPool)
def global_avg_pool(node: Node[GlobalAvgPool], style: Style) -> Spelling:
    """Space stays, with size 1."""
    return function("global_avg_pool")


@COLUMN(GlobalMaxPool)
def global_max_pool(node: Node[GlobalMaxPool], style: Style) -> Spelling:
    """Space stays, with size 1."""
    return function("global_max_pool")


@COLUMN(AdaptiveAvgPool, AdaptiveMaxPool)
def adaptive_pool(node: Node[AdaptivePool], style: Style) -> Spelling:
    """The kernel has the op's name."""
    return function(node.op.key, compact(spatial(node.shape)))
