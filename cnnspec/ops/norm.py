"""Normalisation."""

from __future__ import annotations

import math
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from cnnspec.ops.base import Inferred, Lengths, Op, Param, Shape, op, spatial, statistics
from cnnspec.ops.fields import Finite
from cnnspec.ops.initializer import Init, Ones, Zeros


@op("batch_norm")
class BatchNorm(Op):
    """y = weight * (x - mean) / sqrt(var + eps) + bias, per channel over batch and space.

    In training mean and biased variance of the batch are used, and the running ones move by
    `momentum` towards them (the running variance towards the unbiased one, unless
    `running_var: biased`). In inference the running ones are used.
    """

    rounding: ClassVar[float] = 16.0
    one_rank: ClassVar[bool] = True
    amplification: ClassVar[float] = 40.0

    eps: Annotated[Finite, Field(gt=0)] = 1e-5
    momentum: Annotated[Finite, Field(ge=0, le=1)] = 0.1
    affine: bool = True
    running_var: Literal["unbiased", "biased"] = "unbiased"
    weight_init: Init = Ones()
    bias_init: Init = Zeros()

    def infer(self, *shapes: Shape) -> Inferred:
        """The input's shape; weight, bias and running statistics per channel."""
        (shape,) = shapes
        channels = shape[0]
        params: tuple[Param, ...] = ()
        if self.affine:
            params = (
                Param(
                    "weight", (channels,), "C", self.weight_init, True, False, channels, channels
                ),
                Param("bias", (channels,), "C", self.bias_init, True, False, channels, channels),
            )
        return Inferred(shape, params + statistics(channels))

    def lengths(self, inputs: tuple[Shape, ...], output: Shape, batch: int) -> Lengths:
        """Batch times positions, which the statistics and the gradients are sums over."""
        positions = batch * math.prod(spatial(output))
        return Lengths(positions, positions, {"weight": positions, "bias": positions})
