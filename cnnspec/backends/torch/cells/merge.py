"""Ops with several inputs in torch."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce

from cnnspec.backends.base import Style
from cnnspec.backends.columns import Spelling
from cnnspec.backends.torch.cells.column import COLUMN
from cnnspec.backends.writer import Code, call, literal
from cnnspec.graph import Node
from cnnspec.ops.base import Op
from cnnspec.ops.merge import Add, Average, Concat, Maximum, Multiply, Subtract

MOST_SIGNS = 100
SIGNS: dict[type[Op], str] = {Add: " + ", Multiply: " * ", Subtract: " - "}


@COLUMN(*SIGNS)
def elementwise(node: Node[Op], style: Style) -> Spelling:
    """`a + b`."""
    return Spelling(call=lambda *xs: _chain(type(node.op), xs))


def _chain(op: type[Op], xs: Sequence[Code]) -> Code:
    """From left to right; Python does not read an expression of thousands of signs."""
    if len(xs) <= MOST_SIGNS:
        return Code(SIGNS[op].join(xs))
    return Code(f"{'sum' if op is Add else 'math.prod'}([{', '.join(xs)}])")


@COLUMN(Average)
def average(node: Node[Average], style: Style) -> Spelling:
    """`(a + b) / 2`."""
    return Spelling(call=lambda *xs: Code(f"({_chain(Add, xs)}) / {literal(len(xs))}"))


@COLUMN(Maximum)
def maximum(node: Node[Maximum], style: Style) -> Spelling:
    """A helper: torch's own shares the gradient among equal values."""
    if style.layers == "native":
        return Spelling(call=lambda *xs: reduce(lambda a, b: call("torch.maximum", a, b), xs))
    return Spelling(call=lambda *xs: call("maximum", *xs))


@COLUMN(Concat)
def concat(node: Node[Concat], style: Style) -> Spelling:
    """Along the channels, axis 1."""
    return Spelling(call=lambda *xs: Code(f"torch.cat([{', '.join(xs)}], dim=1)"))
