"""Ops that move or scale values in Keras."""

from __future__ import annotations

import math

from cnnspec.backends.base import Style
from cnnspec.backends.columns import Spelling
from cnnspec.backends.keras.cells.column import COLUMN
from cnnspec.backends.precision import is_float32
from cnnspec.backends.writer import Code, apply, call
from cnnspec.graph import Node
from cnnspec.ops.base import Shape, spatial
from cnnspec.ops.reshape import ChannelShuffle, Flatten, Permute, Rescale, Reshape
from cnnspec.ops.resize import PixelShuffle, PixelUnshuffle


def _one_order(shape: Shape) -> bool:
    """Whether channels first and channels last are the same order of elements."""
    return shape[0] == 1 or math.prod(spatial(shape)) == 1


@COLUMN(Flatten)
def flatten(node: Node[Flatten], style: Style) -> Spelling:
    """Channels first, as the spec has it: moved in front where that changes the order."""
    shape = node.inputs[0].shape
    layer = call("layers.Flatten", name=node.id)
    if _one_order(shape):
        return Spelling(layer)
    order = (len(shape), *range(1, len(shape)))
    permute = call("layers.Permute", order, name=f"{node.id}.permute")
    return Spelling(layer, lambda layer, x: apply(layer, apply(permute, x)))


@COLUMN(Rescale)
def rescale(node: Node[Rescale], style: Style) -> Spelling:
    """Keras' own where its rounding of the constants to float32 changes nothing."""
    op = node.op
    exact = is_float32(op.scale) and is_float32(op.offset)
    name = "layers.Rescaling" if exact or style.layers == "native" else "Rescale"
    offset = [op.offset] if op.offset else []
    return Spelling(call(name, op.scale, *offset, name=node.id))


@COLUMN(Reshape)
def reshape(node: Node[Reshape], style: Style) -> Spelling:
    """Elements are counted channels first: moved there and back where that changes the order."""
    before, after = node.inputs[0].shape, node.shape
    kept = before[0] == after[0]  # then only space changes, in the same order for every channel
    first, last = kept or _one_order(before), kept or _one_order(after)
    rank = len(spatial(after))
    target = (*spatial(after), after[0]) if last else after
    name = node.id if last else f"{node.id}.reshape"
    made = call("layers.Reshape", target, name=name)
    order = (len(before), *range(1, len(before)))
    permute = call("layers.Permute", order, name=f"{node.id}.permute")

    def inner(x: Code) -> Code:
        return x if first else apply(permute, x)

    if last:
        return Spelling(made, None if first else lambda layer, x: apply(layer, inner(x)))
    back = call("layers.Permute", (*range(2, rank + 2), 1), name=node.id)
    return Spelling(back, lambda layer, x: apply(layer, apply(made, inner(x))))


@COLUMN(Permute)
def permute(node: Node[Permute], style: Style) -> Spelling:
    """Keras counts from 1, and its channels come last."""
    axes = node.op.axes
    rank = len(axes) - 1
    place = {axis: axis or rank + 1 for axis in range(rank + 1)}
    order = (*axes[1:], axes[0])
    return Spelling(call("layers.Permute", tuple(place[a] for a in order), name=node.id))


@COLUMN(ChannelShuffle)
def channel_shuffle(node: Node[ChannelShuffle], style: Style) -> Spelling:
    """A helper; Keras has no such layer."""
    return Spelling(call("ChannelShuffle", node.op.groups, name=node.id))


@COLUMN(PixelShuffle, PixelUnshuffle)
def pixels(node: Node[PixelShuffle | PixelUnshuffle], style: Style) -> Spelling:
    """A helper; Keras has no such layer, and TensorFlow's function has another order."""
    return Spelling(call(type(node.op).__name__, node.op.factor, name=node.id))
