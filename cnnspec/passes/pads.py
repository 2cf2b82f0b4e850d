"""What a `pad` and the layer behind it are together."""

from __future__ import annotations

from cnnspec.graph import Node
from cnnspec.ops.base import Op
from cnnspec.ops.conv import Conv
from cnnspec.ops.depthwise_conv import DepthwiseConv, SeparableConv
from cnnspec.ops.pad import Pad
from cnnspec.window import Pads

ADDITIVE = ("zeros", "replicate")
"""Modes in which padding twice is padding once by as much."""


def merged(pad: Node[Op], op: Op) -> Op | None:
    """The op with a pad in front of it as part of its own padding.

    Args:
        pad: a layer whose op is `pad`.
        op: what reads it.

    Returns:
        None where one layer does not mean what the two do.
    """
    assert isinstance(pad.op, Pad)
    mode = "zeros" if pad.op.mode == "constant" and not pad.op.value else pad.op.mode
    pads = pad.op.pads(pad.inputs[0].shape)
    if isinstance(op, Pad):
        if (op.mode, op.value) != (mode, 0) or mode not in ADDITIVE:
            return None
        return op.model_copy(update={"padding": compact(_sum(op.pads(pad.shape), pads))})
    if not isinstance(op, Conv | DepthwiseConv | SeparableConv) or op.bound_to_size(pad.shape):
        return None
    own = op.window(pad.shape).pads
    before = "zeros" if isinstance(op, SeparableConv) else op.padding_mode
    alone = not any(map(sum, own))
    if not alone and (mode != before or mode not in ADDITIVE):
        return None
    changed: dict[str, object] = {"padding": compact(_sum(own, pads))}
    if mode != before:
        if isinstance(op, SeparableConv) or mode == "constant":
            return None
        changed["padding_mode"] = mode
    return op.model_copy(update=changed)


def _sum(one: Pads, other: Pads) -> Pads:
    return tuple((a + c, b + d) for (a, b), (c, d) in zip(one, other, strict=True))


def compact(pads: Pads) -> int | tuple[int, ...] | Pads:
    """The shortest form of padding that a spec has."""
    if any(before != after for before, after in pads):
        return pads
    sides = tuple(before for before, _ in pads)
    return sides[0] if len(set(sides)) == 1 else sides
