"""A layer of a network as a network of its own."""

from __future__ import annotations

from collections.abc import Hashable

from cnnspec.graph import Graph, Input, Node, Output, Scope
from cnnspec.ops.base import Op

__all__ = ["alone", "kind"]


def alone(node: Node[Op]) -> Graph | None:
    """A network of this layer, with weights of its own; None for a part of a split."""
    if type(node.op).__name__ == "SplitPart":
        return None
    inputs = tuple(Input(f"x{i}", value.shape) for i, value in enumerate(node.inputs))
    layer = Node("layer", node.op, inputs, node.shape, node.params)
    root = Scope(
        path="",
        kind="network",
        block=None,
        arguments=(),
        inputs=tuple((entry.name, entry) for entry in inputs),
        outputs=(("output", layer),),
        children=(layer,),
    )
    return Graph("single", inputs, (Output("output", layer),), root)


def kind(node: Node[Op]) -> Hashable:
    """Equal for layers that take the same time: the same op on the same shapes."""
    return node.op, node.input_shapes
