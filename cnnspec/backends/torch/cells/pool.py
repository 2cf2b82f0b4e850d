"""Pooling in torch."""

from __future__ import annotations

from cnnspec.backends.base import Style
from cnnspec.backends.columns import Spelling
from cnnspec.backends.torch.cells.column import COLUMN
from cnnspec.backends.torch.cells.window import compact, half, reversed_pads
from cnnspec.backends.writer import Code, call
from cnnspec.graph import Node
from cnnspec.ops.adaptive_pool import AdaptiveAvgPool, AdaptiveMaxPool, AdaptivePool
from cnnspec.ops.base import spatial
from cnnspec.ops.pool import AvgPool, GlobalAvgPool, GlobalMaxPool, LpPool, MaxPool, Pool, SumPool
from cnnspec.window import Pads, Window


def fits(pads: Pads, window: Window) -> bool:
    """Whether torch takes these pads: both sides alike, and at most half of the kernel."""
    return all(
        before == after and 2 * before <= kernel
        for (before, after), kernel in zip(pads, window.kernel, strict=True)
    )


def averages(node: Node[Pool]) -> bool:
    """Whether torch's average pooling takes the node; 3-D wants an input as large as the kernel."""
    shape = node.inputs[0].shape
    window = node.op.window(shape)
    large = all(n >= k for n, k in zip(shape[1:], window.kernel, strict=True))
    return fits(node.op.pads(shape), window) and (large or len(window.kernel) < 3)


def native(name: str, node: Node[Pool], **more: object) -> Spelling:
    """A pooling module, called as a function where nothing has to hold it."""
    window = node.op.window(node.inputs[0].shape)
    pads = half(node.op.pads(node.inputs[0].shape))
    options: dict[str, object] = {}
    if window.stride != window.kernel:
        options["stride"] = compact(window.stride)
    if max(pads) > 0:
        options["padding"] = compact(pads)
    if max(window.dilation) > 1:
        options["dilation"] = compact(window.dilation)
    if node.op.ceil_mode:
        options["ceil_mode"] = True
    options.update(more)
    rank = len(window.kernel)
    function = {"Max": "F.max_pool", "Avg": "F.avg_pool"}[name]
    kernel = compact(window.kernel)
    return Spelling(
        call(f"nn.{name}Pool{rank}d", kernel, **options),
        lambda x: call(f"{function}{rank}d", x, kernel, **options),
        any_size=node.op.ceil_mode and node.op.padding not in ("same", "same_lower"),
    )


@COLUMN(MaxPool)
def max_pool(node: Node[MaxPool], style: Style) -> Spelling:
    """Native where torch takes the pads."""
    shape = node.inputs[0].shape
    window = node.op.window(shape)
    if fits(node.op.pads(shape), window):
        return native("Max", node)
    options: dict[str, object] = {}
    if max(window.dilation) > 1:
        options["dilation"] = window.dilation
    return Spelling(
        call("PaddedMaxPool", window.kernel, window.stride, reversed_pads(window.pads), **options)
    )


@COLUMN(AvgPool)
def avg_pool(node: Node[AvgPool], style: Style) -> Spelling:
    """Native where torch takes the pads; torch counts padding unless told not to."""
    shape = node.inputs[0].shape
    window, declared = node.op.window(shape), node.op.pads(shape)
    if averages(node) or (style.layers == "native" and fits(declared, window)):
        padded = max(half(declared)) > 0
        return native(
            "Avg",
            node,
            **({"count_include_pad": False} if padded and not node.op.count_include_pad else {}),
        )
    # What ceil mode reaches beyond the declared padding never counts; a declared pad that no
    # window reaches does not matter.
    counted = (
        tuple(
            (min(b, wb), min(a, wa)) for (b, a), (wb, wa) in zip(declared, window.pads, strict=True)
        )
        if node.op.count_include_pad
        else tuple((0, 0) for _ in declared)
    )
    return Spelling(
        call(
            "PaddedAvgPool",
            window.kernel,
            window.stride,
            reversed_pads(window.pads),
            reversed_pads(counted),
        )
    )


@COLUMN(SumPool)
def sum_pool(node: Node[SumPool], style: Style) -> Spelling:
    """Average pooling that divides by 1, which torch has in two and three dimensions."""
    shape = node.inputs[0].shape
    window = node.op.window(shape)
    if len(window.kernel) > 1 and averages(node):
        return native("Avg", node, divisor_override=1)
    return Spelling(call("SumPool", window.kernel, window.stride, reversed_pads(window.pads)))


@COLUMN(LpPool)
def lp_pool(node: Node[LpPool], style: Style) -> Spelling:
    """A helper: torch's own takes no absolute values, which even powers do not need."""
    window = node.op.window(node.inputs[0].shape)
    if style.layers == "native" and node.op.p % 2 == 0 and not any(map(any, window.pads)):
        rank, kernel = len(window.kernel), compact(window.kernel)
        strides = [] if window.stride == window.kernel else [compact(window.stride)]
        return Spelling(
            call(f"nn.LPPool{rank}d", node.op.p, kernel, *strides),
            lambda x: call(f"F.lp_pool{rank}d", x, node.op.p, kernel, *strides),
        )
    pads = reversed_pads(window.pads)
    return Spelling(call("LpPool", node.op.p, window.kernel, window.stride, pads))


@COLUMN(AdaptiveAvgPool, AdaptiveMaxPool)
def adaptive_pool(node: Node[AdaptivePool], style: Style) -> Spelling:
    """Native; torch's maximum routes its gradient to the first one as well."""
    rank, size = len(node.shape) - 1, compact(spatial(node.shape))
    kind = "Avg" if isinstance(node.op, AdaptiveAvgPool) else "Max"
    return Spelling(
        call(f"nn.Adaptive{kind}Pool{rank}d", size),
        lambda x: call(f"F.adaptive_{kind.lower()}_pool{rank}d", x, size),
    )


@COLUMN(GlobalAvgPool)
def global_avg_pool(node: Node[GlobalAvgPool], style: Style) -> Spelling:
    """Adaptive pooling to size 1."""
    rank = len(node.shape) - 1
    return Spelling(
        Code(f"nn.AdaptiveAvgPool{rank}d(1)"), lambda x: call(f"F.adaptive_avg_pool{rank}d", x, 1)
    )


@COLUMN(GlobalMaxPool)
def global_max_pool(node: Node[GlobalMaxPool], style: Style) -> Spelling:
    """Adaptive pooling to size 1, which routes the gradient to the first maximum."""
    rank = len(node.shape) - 1
    return Spelling(
        Code(f"nn.AdaptiveMaxPool{rank}d(1)"), lambda x: call(f"F.adaptive_max_pool{rank}d", x, 1)
    )
