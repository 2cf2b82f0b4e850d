"""What a layer's weights cost, and what they are held to: `regularize:` and `constrain:`."""

from __future__ import annotations

from typing import Self

from pydantic import model_validator
from pydantic_core import PydanticCustomError

from cnnspec.training.vocabulary import Fields, NotNegative, Positive

__all__ = ["Constrain", "Regularize"]


class Regularize(Fields):
    """l1 |w| + l2 / 2 w^2, summed over the layer's weights, is added to the loss of an update.

    Weights are what is called `weight` or ends in it: kernels, but no biases.
    """

    l1: NotNegative = 0.0
    l2: NotNegative = 0.0

    @model_validator(mode="after")
    def _not_nothing(self) -> Self:
        if not (self.l1 or self.l2):
            raise PydanticCustomError("regularize", "`regularize` has an `l1` or `l2` above 0")
        return self


class Constrain(Fields):
    """After each update the weights of an output unit are scaled to a norm of at most this."""

    max_norm: Positive
