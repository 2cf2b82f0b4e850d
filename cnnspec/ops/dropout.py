"""Ops that draw random numbers in training and do nothing in inference."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from cnnspec.ops.activation import Activation
from cnnspec.ops.base import op
from cnnspec.ops.fields import Finite


@op("dropout")
class Dropout(Activation):
    """In training x / (1 - p) with probability 1 - p, else 0; in inference x."""

    bound: ClassVar[Literal["linear", "perturbation"]] = "linear"
    random: ClassVar[bool] = True

    p: Annotated[Finite, Field(ge=0, le=1)] = 0.5
