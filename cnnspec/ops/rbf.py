"""Radial-basis output units."""

from __future__ import annotations

from cnnspec.ops.base import Inferred, Lengths, Op, Param, Shape, op
from cnnspec.ops.dense import require_flat
from cnnspec.ops.fields import Count
from cnnspec.ops.initializer import Init, Normal


@op("rbf")
class Rbf(Op):
    """y_i = sum over j of (x_j - w_ij)^2, the squared distance to each of `units` centres."""

    units: Count
    weight_init: Init = Normal()

    def infer(self, *shapes: Shape) -> Inferred:
        """(units,); weight (units, features)."""
        (shape,) = shapes
        require_flat(shape, "a radial-basis layer")
        weight = (self.units, shape[0])
        return Inferred(
            (self.units,),
            (Param("weight", weight, "OI", self.weight_init, True, False, shape[0], self.units),),
        )

    def lengths(self, inputs: tuple[Shape, ...], output: Shape, batch: int) -> Lengths:
        """Features, units and the batch."""
        return Lengths(inputs[0][0], self.units, {"weight": batch})
