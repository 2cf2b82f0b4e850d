"""The fully connected layer."""

from __future__ import annotations

from typing import ClassVar, Literal

from cnnspec.ops.base import Inferred, Lengths, Op, Param, Reject, Shape, op, show
from cnnspec.ops.fields import Count
from cnnspec.ops.initializer import HeNormal, Init, Zeros


@op("dense")
class Dense(Op):
    """y = W x + b over a flat input; W is (units, features)."""

    bound: ClassVar[Literal["linear", "perturbation"]] = "linear"

    units: Count
    bias: bool = True
    weight_init: Init = HeNormal()
    bias_init: Init = Zeros()

    def infer(self, *shapes: Shape) -> Inferred:
        """(units,); weight (units, features)."""
        (shape,) = shapes
        require_flat(shape, "a dense layer")
        fan_in, fan_out = shape[0], self.units
        params = [
            Param(
                "weight", (self.units, fan_in), "OI", self.weight_init, True, False, fan_in, fan_out
            )
        ]
        if self.bias:
            params.append(
                Param("bias", (self.units,), "O", self.bias_init, True, False, fan_in, fan_out)
            )
        return Inferred((self.units,), tuple(params))

    def macs(self, inputs: tuple[Shape, ...], output: Shape) -> int:
        """One for each weight."""
        return inputs[0][0] * self.units

    def lengths(self, inputs: tuple[Shape, ...], output: Shape, batch: int) -> Lengths:
        """Features, units and the batch."""
        return Lengths(inputs[0][0] + 1, self.units, {"weight": batch, "bias": batch})


def require_flat(shape: Shape, what: str) -> None:
    """Reject inputs that still have spatial axes."""
    if len(shape) != 1:
        raise Reject(
            None,
            f"{what} needs a flat input, and this one is {show(shape)}",
            "put `flatten` in front of it",
        )
