"""Ops with several inputs in Keras."""

from __future__ import annotations

from cnnspec.backends.base import Style
from cnnspec.backends.columns import Spelling
from cnnspec.backends.keras.cells.column import COLUMN
from cnnspec.backends.writer import Code, apply, call
from cnnspec.graph import Node
from cnnspec.ops.base import Op
from cnnspec.ops.merge import Add, Average, Concat, Maximum, Multiply, Subtract


def listed(layer: Code, *xs: Code) -> Code:
    """Keras takes several inputs as one list."""
    return apply(layer, Code(f"[{', '.join(xs)}]"))


@COLUMN(Add, Average, Multiply, Subtract)
def elementwise(node: Node[Op], style: Style) -> Spelling:
    """Keras' layer has the op's name."""
    return Spelling(call(f"layers.{type(node.op).__name__}", name=node.id), listed)


@COLUMN(Maximum)
def maximum(node: Node[Maximum], style: Style) -> Spelling:
    """JAX and PyTorch share the gradient of Keras' own among equal values."""
    name = "layers.Maximum" if style.layers == "native" else "Maximum"
    return Spelling(call(name, name=node.id), listed)


@COLUMN(Concat)
def concat(node: Node[Concat], style: Style) -> Spelling:
    """Along the last axis, which holds the channels."""
    return Spelling(call("layers.Concatenate", name=node.id), listed)
