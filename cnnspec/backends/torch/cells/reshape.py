"""Ops that move or scale values in torch."""

from __future__ import annotations

from cnnspec.backends.base import Style
from cnnspec.backends.columns import Spelling
from cnnspec.backends.torch.cells.column import COLUMN
from cnnspec.backends.writer import Code, call, literal
from cnnspec.graph import Node
from cnnspec.ops.reshape import Flatten, Rescale


@COLUMN(Flatten)
def flatten(node: Node[Flatten], style: Style) -> Spelling:
    """Channels first, as torch keeps them."""
    return Spelling(Code("nn.Flatten()"), lambda x: call("torch.flatten", x, 1))


@COLUMN(Rescale)
def rescale(node: Node[Rescale], style: Style) -> Spelling:
    """An expression in a forward pass, a helper inside a sequence."""
    op = node.op
    return Spelling(call("Rescale", op.scale, op.offset), lambda x: scaled(x, op.scale, op.offset))


def scaled(x: str, scale: float, offset: float) -> Code:
    """`scale * x + offset`, less what does nothing."""
    text = str(x) if scale == 1 else f"{literal(scale)} * {x}"
    if offset:
        sign = "-" if offset < 0 else "+"
        text = f"{text} {sign} {literal(abs(offset))}"
    return Code(text if text != x else f"1.0 * {x}")
