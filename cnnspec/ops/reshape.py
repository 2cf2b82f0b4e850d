"""Ops that only move values."""

from __future__ import annotations

import math
from typing import ClassVar, Literal

from cnnspec.ops.activation import Activation
from cnnspec.ops.base import Inferred, Op, Shape, op
from cnnspec.ops.fields import Finite


@op("flatten")
class Flatten(Op):
    """All channels and space as one axis, channels first, in every back end."""

    whole: ClassVar[bool] = True
    bound: ClassVar[Literal["linear", "perturbation"]] = "linear"

    def infer(self, *shapes: Shape) -> Inferred:
        """(channels * space,)."""
        (shape,) = shapes
        return Inferred((math.prod(shape),))


@op("rescale")
class Rescale(Activation):
    """scale * x + offset."""

    scale: Finite = 1.0
    offset: Finite = 0.0
