"""Ops that only move values."""

from __future__ import annotations

import math
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, PlainValidator, WithJsonSchema
from pydantic_core import PydanticCustomError

from cnnspec.ops.activation import Activation
from cnnspec.ops.base import Inferred, Op, Reject, Shape, op, show
from cnnspec.ops.fields import MOST_CHANNELS, Count, Finite

MOST_AXES = 4
"""Channels and up to three axes of space."""


def _target(value: object) -> Shape:
    """Sizes, channels first; one of them may be -1."""
    sizes = list(value) if isinstance(value, (tuple, list)) else []
    if not sizes or any(isinstance(n, bool) or not isinstance(n, int) for n in sizes):
        raise PydanticCustomError(
            "per_axis", "expected a list of sizes, channels first, of which one may be -1"
        )
    if len(sizes) > MOST_AXES:
        raise PydanticCustomError(
            "shape",
            "a shape has channels and up to 3 spatial sizes, and this one has {count}",
            {"count": len(sizes)},
        )
    for size in sizes:
        if size != -1 and not 1 <= size <= MOST_CHANNELS:
            raise PydanticCustomError(
                "range",
                "a size of {size} is outside 1 to {most}",
                {"size": size, "most": MOST_CHANNELS},
            )
    if sizes.count(-1) > 1:
        raise PydanticCustomError("shape", "only one size may be -1, which stands for the rest")
    return tuple(sizes)


_SIZE: dict[str, Any] = {"anyOf": [{"const": -1}, {"type": "integer", "minimum": 1}]}

TargetField = Annotated[
    tuple[int, ...],
    PlainValidator(_target),
    WithJsonSchema({"type": "array", "items": _SIZE, "minItems": 1, "maxItems": MOST_AXES}),
]


@op("flatten")
class Flatten(Op):
    """All channels and space as one axis, channels first, in every back end."""

    whole: ClassVar[bool] = True
    bound: ClassVar[Literal["linear", "perturbation"]] = "linear"
    exact: ClassVar[bool] = True

    def infer(self, *shapes: Shape) -> Inferred:
        """(channels * space,)."""
        (shape,) = shapes
        return Inferred((math.prod(shape),))

    def identity(self, shape: Shape) -> bool:
        """Where the input is flat already."""
        return len(shape) == 1


@op("rescale")
class Rescale(Activation):
    """scale * x + offset."""

    scale: Finite = 1.0
    offset: Finite = 0.0

    def identity(self, shape: Shape) -> bool:
        """1 * x + 0."""
        return (self.scale, self.offset) == (1, 0)


@op("reshape")
class Reshape(Op):
    """The same elements in another shape: channels, then space, both row-major.

    The batch is not among the sizes of `shape`. One of them may be -1, which stands for what the
    others leave.
    """

    bound: ClassVar[Literal["linear", "perturbation"]] = "linear"
    exact: ClassVar[bool] = True

    shape: TargetField

    def infer(self, *shapes: Shape) -> Inferred:
        """The shape asked for, with -1 resolved."""
        (shape,) = shapes
        elements, known = math.prod(shape), math.prod(n for n in self.shape if n != -1)
        if elements % known if -1 in self.shape else elements != known:
            rest = "a multiple of " if -1 in self.shape else ""
            raise Reject(
                "shape",
                f"the input {show(shape)} has {elements} elements, and {show(self.shape)} needs "
                f"{rest}{known}",
                f"{show(shape)} is {' * '.join(map(str, shape))} = {elements}",
            )
        return Inferred(tuple(elements // known if n == -1 else n for n in self.shape))

    def bound_to_size(self, shape: Shape) -> bool:
        """Another input has another number of elements."""
        return True


@op("permute")
class Permute(Op):
    """Axis i of the output is axis axes[i] of the input; axis 0 holds the channels."""

    bound: ClassVar[Literal["linear", "perturbation"]] = "linear"
    exact: ClassVar[bool] = True

    axes: Annotated[
        tuple[Annotated[int, Field(ge=0, lt=MOST_AXES)], ...],
        Field(min_length=1, max_length=MOST_AXES),
    ]

    def infer(self, *shapes: Shape) -> Inferred:
        """The input's sizes in this order."""
        (shape,) = shapes
        if sorted(self.axes) != list(range(len(shape))):
            raise Reject(
                "axes",
                f"{list(self.axes)} is no order of the {len(shape)} axes of {show(shape)}"
                if len(shape) > 1
                else f"{list(self.axes)} is no order of the one axis of {show(shape)}",
                f"each of {list(range(len(shape)))} once; 0 are the channels",
            )
        return Inferred(tuple(shape[axis] for axis in self.axes))

    def identity(self, shape: Shape) -> bool:
        """Where every axis stays."""
        return self.axes == tuple(range(len(shape)))


@op("channel_shuffle")
class ChannelShuffle(Op):
    """Channel i of group j becomes channel i * groups + j, so that groups mix."""

    bound: ClassVar[Literal["linear", "perturbation"]] = "linear"
    exact: ClassVar[bool] = True

    groups: Count

    def infer(self, *shapes: Shape) -> Inferred:
        """The input's shape."""
        (shape,) = shapes
        if shape[0] % self.groups:
            fitting = [str(g) for g in range(1, min(shape[0], 64) + 1) if shape[0] % g == 0]
            raise Reject(
                "groups",
                f"{shape[0]} channels (input {show(shape)}) cannot be divided into {self.groups} "
                "groups",
                f"{shape[0]} can be divided by {', '.join(fitting)}",
            )
        return Inferred(shape)

    def identity(self, shape: Shape) -> bool:
        """Where all are one group, or each its own."""
        return self.groups in (1, shape[0])
