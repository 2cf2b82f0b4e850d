"""A learnt factor for each channel."""

from __future__ import annotations

import math
from typing import ClassVar, Literal

from cnnspec.ops.activation import Activation
from cnnspec.ops.base import Inferred, Lengths, Param, Shape, op, spatial
from cnnspec.ops.initializer import Constant, Init


@op("layer_scale")
class LayerScale(Activation):
    """weight * x, with one learnt weight for each channel, close to 0 at the start."""

    bound: ClassVar[Literal["linear", "perturbation"]] = "linear"

    weight_init: Init = Constant(value=1e-6)

    def infer(self, *shapes: Shape) -> Inferred:
        """The input's shape; a weight for each channel."""
        (shape,) = shapes
        channels = shape[0]
        weight = Param(
            "weight", (channels,), "C", self.weight_init, True, False, channels, channels
        )
        return Inferred(shape, (weight,))

    def lengths(self, inputs: tuple[Shape, ...], output: Shape, batch: int) -> Lengths:
        """A weight's gradient sums over batch and positions."""
        return Lengths(1, 1, {"weight": batch * math.prod(spatial(output))})
