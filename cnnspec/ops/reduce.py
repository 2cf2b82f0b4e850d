"""Ops that leave one value along some axes."""

from __future__ import annotations

import math
from typing import ClassVar, Literal

from cnnspec.ops.axes import Axes, axes_of
from cnnspec.ops.base import Inferred, Lengths, Op, Shape, op


@op("mean")
class Mean(Op):
    """Mean over `axes`, each of which stays, with size 1.

    Axes go by name: `channels`, `length`, `depth`, `height`, `width`, and `space` for every
    spatial axis; `CHW` is channels and all of space.
    """

    bound: ClassVar[Literal["linear", "perturbation"]] = "linear"

    axes: Axes

    def positions(self, shape: Shape) -> tuple[int, ...]:
        """The positions of the axes in the shape of an input, 0 for the channels."""
        return axes_of("axes", self.axes, shape)

    def infer(self, *shapes: Shape) -> Inferred:
        """The input's shape with 1 in the place of each of `axes`."""
        (shape,) = shapes
        over = self.positions(shape)
        return Inferred(tuple(1 if axis in over else n for axis, n in enumerate(shape)))

    def lengths(self, inputs: tuple[Shape, ...], output: Shape, batch: int) -> Lengths:
        """The number of elements that one mean is taken over."""
        return Lengths(math.prod(inputs[0]) // math.prod(output) + 1, 2)
