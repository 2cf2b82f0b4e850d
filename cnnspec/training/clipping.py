"""How gradients are clipped, before anything else is done with them."""

from __future__ import annotations

from typing import Self

from pydantic import model_validator
from pydantic_core import PydanticCustomError

from cnnspec.training.vocabulary import Fields, Positive

__all__ = ["Clip"]


class Clip(Fields):
    """By `value`, each element into [-value, value], or by the `norm` of all gradients together.

    The latter multiplies them all by min(1, norm / their root of summed squares).
    """

    value: Positive | None = None
    norm: Positive | None = None

    @model_validator(mode="after")
    def _one_of_them(self) -> Self:
        if (self.value is None) == (self.norm is None):
            raise PydanticCustomError("clip", "`clip` has either `value` or `norm`")
        return self
