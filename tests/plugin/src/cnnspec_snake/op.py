"""What the op means: its fields, its shape rule, its parameters; no framework is imported."""

from __future__ import annotations

import math
from typing import ClassVar

from cnnspec.ops.activation import Activation
from cnnspec.ops.base import Inferred, Lengths, Param, Shape, op
from cnnspec.ops.fields import Finite
from cnnspec.ops.initializer import Init, Ones


@op("snake")
class Snake(Activation):
    """x + scale * sin(alpha * x)^2, with one learnt alpha for each channel."""

    rounding: ClassVar[float] = 16.0

    scale: Finite = 1.0
    alpha_init: Init = Ones()

    def infer(self, *shapes: Shape) -> Inferred:
        """The input's shape; an alpha for each channel."""
        (shape,) = shapes
        channels = shape[0]
        alpha = Param("alpha", (channels,), "C", self.alpha_init, True, False, channels, channels)
        return Inferred(shape, (alpha,))

    def lengths(self, inputs: tuple[Shape, ...], output: Shape, batch: int) -> Lengths:
        """The gradient of an alpha sums over batch and positions."""
        return Lengths(1, 1, {"alpha": batch * math.prod(output[1:])})
