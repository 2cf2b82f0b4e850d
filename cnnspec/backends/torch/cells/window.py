"""How torch writes windows: one number where all axes agree, pads last axis first."""

from __future__ import annotations

from cnnspec.window import Pads, Size


def compact(values: Size) -> int | Size:
    """One number where all axes agree."""
    return values[0] if len(set(values)) == 1 else values


def half(pads: Pads) -> Size:
    """The pad of each axis, where both sides are padded alike."""
    return tuple(before for before, _ in pads)


def reversed_pads(pads: Pads) -> Size:
    """Pads as `F.pad` takes them: the last axis first."""
    return tuple(side for pair in reversed(pads) for side in pair)
