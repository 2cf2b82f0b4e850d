"""What holds parameters: the object that a layer becomes, or the convolutions inside it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from cnnspec.graph import Node
from cnnspec.ops.base import Op, Param, Shape
from cnnspec.ops.conv import Conv
from cnnspec.ops.depthwise_conv import DepthwiseConv, SeparableConv


@dataclass(frozen=True, slots=True)
class Holder:
    """An object that owns parameters, with what a node has of them.

    Attributes:
        id: its full name, which its parameters' canonical names begin with.
        op: what it does; a depthwise convolution is a grouped one.
        shape: of its output.
        params: under their names inside it.
    """

    id: str
    op: Op
    shape: Shape
    params: tuple[Param, ...]


def grouped(node: Node[Any]) -> Node[Conv]:
    """A depthwise convolution as the grouped one that it is."""
    return replace(node, op=node.op.as_conv(node.inputs[0].shape[0]))


def holders(node: Node[Op]) -> tuple[Holder, ...]:
    """A layer itself, except that a separable convolution holds two."""
    if isinstance(node.op, DepthwiseConv):
        node = grouped(node)
    op = node.op
    if not isinstance(op, SeparableConv):
        return (Holder(node.id, op, node.shape, node.params),)
    inner = {"depthwise": op.depthwise(node.inputs[0].shape[0]), "pointwise": op.pointwise()}
    found = []
    for name, part in inner.items():
        own = (param for param in node.params if param.name.startswith(f"{name}."))
        params = tuple(replace(param, name=param.name.rpartition(".")[2]) for param in own)
        found.append(Holder(f"{node.id}.{name}", part, node.shape, params))
    return tuple(found)
