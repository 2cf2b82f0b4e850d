"""Padding, parts and interpolation in Keras."""

from __future__ import annotations

from cnnspec.backends.base import Style
from cnnspec.backends.columns import Spelling
from cnnspec.backends.keras.cells.column import COLUMN
from cnnspec.backends.keras.cells.window import compact, compact_pads
from cnnspec.backends.writer import Code, apply, call
from cnnspec.graph import Node
from cnnspec.ops.base import spatial
from cnnspec.ops.pad import Crop, Pad
from cnnspec.ops.resize import Upsample
from cnnspec.ops.slicing import Slice, SplitPart

NATIVE = {"nearest_exact": "nearest", "linear": "bilinear", "cubic": "bicubic"}
"""What Keras calls them, over two axes and without `align_corners`."""


@COLUMN(Pad)
def pad(node: Node[Pad], style: Style) -> Spelling:
    """Keras' own for zeros; a helper for everything else."""
    op, shape = node.op, node.inputs[0].shape
    pads = op.pads(shape)
    if op.mode in ("zeros", "constant") and not op.value:
        name = f"layers.ZeroPadding{len(spatial(shape))}D"
        return Spelling(call(name, compact_pads(pads), name=node.id))
    if op.mode == "constant":
        return Spelling(call("ConstantPad", pads, op.value, name=node.id))
    return Spelling(call("Pad", pads, op.mode, name=node.id))


@COLUMN(Crop)
def crop(node: Node[Crop], style: Style) -> Spelling:
    """Keras' own."""
    shape = node.inputs[0].shape
    name = f"layers.Cropping{len(spatial(shape))}D"
    return Spelling(call(name, compact_pads(node.op.sides(shape)), name=node.id))


@COLUMN(Slice)
def slice_axes(node: Node[Slice], style: Style) -> Spelling:
    """A range for each axis, channels last."""
    channels, *space = (found or (None,) for found in node.op.ranges(node.inputs[0].shape))
    return Spelling(call("Slice", (*space, channels), name=node.id))


@COLUMN(SplitPart)
def split_part(node: Node[SplitPart], style: Style) -> Spelling:
    """One layer for all parts; a single part is all of it."""
    into, name = node.op.into, node.id.rpartition(".")[0]

    def split(x: Code, sizes: tuple[int, ...]) -> Code:
        return apply(call("Split", sizes if into is None else into, name=name), x)

    return Spelling(call("layers.Identity", name=node.id), split=split)


@COLUMN(Upsample)
def upsample(node: Node[Upsample], style: Style) -> Spelling:
    """Keras' own repeats elements; a helper for everything else."""
    op = node.op
    given = op.scale if op.size is None else op.size
    assert given is not None
    given = compact(given) if isinstance(given, tuple) else given
    if op.scale is not None and op.family.startswith("nearest"):
        # With a whole scale both ways to the nearest element are the same.
        name = f"layers.UpSampling{len(spatial(node.shape))}D"
        return Spelling(call(name, given, name=node.id))
    if style.layers == "native" and len(spatial(node.shape)) == 2 and op.family in NATIVE:
        word = NATIVE[op.family]
        if op.scale is not None and not op.align_corners:
            return Spelling(call("layers.UpSampling2D", given, interpolation=word, name=node.id))
        if not op.align_corners:
            height, width = spatial(node.shape)
            layer = call("layers.Resizing", height, width, interpolation=word, name=node.id)
            return Spelling(layer)
    options: dict[str, object] = {"size": given} if op.scale is None else {"scale": given}
    if op.family != "nearest":
        options["mode"] = op.family
    if op.align_corners:
        options["align_corners"] = True
    return Spelling(call("Resize", **options, name=node.id))
