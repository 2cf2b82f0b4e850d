"""How Keras writes windows: one number where all axes agree, pads as one pair per axis."""

from __future__ import annotations

from cnnspec.ops.base import Shape, spatial
from cnnspec.window import Pads, Size, Window, resolve_pads


def compact(values: Size) -> int | Size:
    """One number where all axes agree."""
    return values[0] if len(set(values)) == 1 else values


def compact_pads(pads: Pads) -> int | Size | Pads:
    """As short as `ZeroPadding` takes them."""
    if len(pads) == 1:
        before, after = pads[0]
        return before if before == after else (before, after)
    if any(before != after for before, after in pads):
        return pads
    return compact(tuple(before for before, _ in pads))


def is_same(window: Window, shape: Shape) -> bool:
    """Whether these pads are those of TensorFlow's "same" for this input."""
    space = spatial(shape)
    same = resolve_pads("same", space, window.kernel, window.stride, window.dilation)
    return window.pads == same


def padded(pads: Pads) -> bool:
    """Whether there is any padding."""
    return any(side for pair in pads for side in pair)
