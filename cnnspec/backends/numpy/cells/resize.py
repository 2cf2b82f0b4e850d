"""Padding, parts and interpolation in NumPy."""

from __future__ import annotations

from cnnspec.backends.base import Style
from cnnspec.backends.columns import Spelling
from cnnspec.backends.numpy.cells.column import COLUMN, function
from cnnspec.backends.numpy.cells.parametric import compact, compact_pads
from cnnspec.backends.writer import Code, call
from cnnspec.graph import Node
from cnnspec.ops.pad import Crop, Pad
from cnnspec.ops.resize import Upsample
from cnnspec.ops.slicing import Slice, SplitPart


@COLUMN(Pad)
def pad(node: Node[Pad], style: Style) -> Spelling:
    """Zeros are a constant, and the default."""
    op = node.op
    options: dict[str, object] = {}
    if op.mode not in ("zeros", "constant"):
        options["mode"] = op.mode
    if op.value:
        options["value"] = op.value
    return function("pad", compact_pads(op.pads(node.inputs[0].shape)), **options)


@COLUMN(Crop)
def crop(node: Node[Crop], style: Style) -> Spelling:
    """By what to leave out at each side."""
    return function("crop", compact_pads(node.op.sides(node.inputs[0].shape)))


@COLUMN(Slice)
def slice_axes(node: Node[Slice], style: Style) -> Spelling:
    """A range for each axis, up to the last one that is not kept whole."""
    ranges = node.op.ranges(node.inputs[0].shape)
    last = max(axis for axis, found in enumerate(ranges) if found is not None)
    return function("slice_axes", *(found or (None,) for found in ranges[: last + 1]))


@COLUMN(SplitPart)
def split_part(node: Node[SplitPart], style: Style) -> Spelling:
    """All parts at once; a single part is all of it."""
    into = node.op.into

    def split(x: Code, sizes: tuple[int, ...]) -> Code:
        return call("split", x, sizes if into is None else into)

    return Spelling(call=lambda x: call("slice_axes", x, (None,)), split=split)


@COLUMN(Upsample)
def upsample(node: Node[Upsample], style: Style) -> Spelling:
    """By scale or by size, as in the spec."""
    op = node.op
    options: dict[str, object] = {}
    if op.size is not None:
        options["size"] = op.size if isinstance(op.size, int) else compact(op.size)
    else:
        assert op.scale is not None
        options["scale"] = op.scale if isinstance(op.scale, int) else compact(op.scale)
    if op.family != "nearest":
        options["mode"] = op.family
    if op.align_corners:
        options["align_corners"] = True
    return function("upsample", **options)
