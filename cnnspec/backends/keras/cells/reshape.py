"""Ops that move or scale values in Keras."""

from __future__ import annotations

import math

from cnnspec.backends.base import Style
from cnnspec.backends.columns import Spelling
from cnnspec.backends.keras.cells.column import COLUMN
from cnnspec.backends.keras.cells.window import is_float32
from cnnspec.backends.writer import Code, call
from cnnspec.graph import Node
from cnnspec.ops.base import spatial
from cnnspec.ops.reshape import Flatten, Rescale


@COLUMN(Flatten)
def flatten(node: Node[Flatten], style: Style) -> Spelling:
    """Channels first, as the spec has it: moved in front where that changes the order."""
    shape = node.inputs[0].shape
    layer = call("layers.Flatten", name=node.id)
    if shape[0] == 1 or math.prod(spatial(shape)) == 1:
        return Spelling(layer)
    order = (len(shape), *range(1, len(shape)))
    permute = call("layers.Permute", order, name=f"{node.id}.permute")
    return Spelling(layer, lambda layer, x: Code(f"{layer}({permute}({x}))"))


@COLUMN(Rescale)
def rescale(node: Node[Rescale], style: Style) -> Spelling:
    """Keras' own where its rounding of the constants to float32 changes nothing."""
    op = node.op
    name = "layers.Rescaling" if is_float32(op.scale) and is_float32(op.offset) else "Rescale"
    offset = [op.offset] if op.offset else []
    return Spelling(call(name, op.scale, *offset, name=node.id))
