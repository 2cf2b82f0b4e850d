"""Parts of a value in torch: slices in a forward pass, a helper inside a sequence."""

from __future__ import annotations

from collections.abc import Sequence

from cnnspec.backends.base import Style
from cnnspec.backends.columns import Spelling
from cnnspec.backends.torch.cells.column import COLUMN
from cnnspec.backends.writer import Code, call, literal
from cnnspec.graph import Node
from cnnspec.ops.pad import Crop
from cnnspec.ops.slicing import Range, Slice, SplitPart

ALL: Range = (None, None)


def indexed(x: str, ranges: Sequence[Range]) -> Code:
    """`x[:, :24, 1:-1]`: a range for each axis behind the batch."""
    return Code(f"{x}[{', '.join([':', *map(_written, ranges)])}]")


def _written(found: Range) -> str:
    ends = ["" if end is None else literal(end) for end in found]
    return ":".join(ends[:2] if found[2:] in ((), (1,)) else ends)


def sliced(ranges: Sequence[Range]) -> Spelling:
    """A slice up to the last axis that is not kept whole."""
    last = max((axis for axis, found in enumerate(ranges) if found != ALL), default=0)
    kept = ranges[: last + 1]
    return Spelling(call("Slice", *kept), lambda x: indexed(x, kept))


@COLUMN(Slice)
def slice_axes(node: Node[Slice], style: Style) -> Spelling:
    """The ends as written; from 0 is from the start."""
    ranges = node.op.ranges(node.inputs[0].shape)
    return sliced([ALL if found is None else (found[0] or None, *found[1:]) for found in ranges])


@COLUMN(Crop)
def crop(node: Node[Crop], style: Style) -> Spelling:
    """A slice that counts from both ends."""
    sides = node.op.sides(node.inputs[0].shape)
    return sliced([ALL, *((before or None, -after or None) for before, after in sides)])


@COLUMN(SplitPart)
def split_part(node: Node[SplitPart], style: Style) -> Spelling:
    """Equal chunks, or parts of these sizes."""
    into = node.op.into

    def split(x: Code, sizes: tuple[int, ...]) -> Code:
        if into is not None:
            return call("torch.chunk", x, into, dim=1)
        return call("torch.split", x, Code(f"[{', '.join(map(literal, sizes))}]"), dim=1)

    # A single part is all of it.
    return Spelling(call=lambda x: indexed(x, [ALL]), split=split)
