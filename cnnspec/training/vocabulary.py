"""What the words of a `train:` section have in common."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import BaseModel, ConfigDict, Field

from cnnspec.ops.fields import Finite

__all__ = ["Fraction", "NotNegative", "Positive", "Vocabulary"]

Positive = Annotated[Finite, Field(gt=0)]
NotNegative = Annotated[Finite, Field(ge=0)]
Fraction = Annotated[Finite, Field(ge=0, lt=1)]


class Vocabulary(BaseModel):
    """A word of the section over its fields, such as `{adam: {lr: 0.001}}`."""

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid", defer_build=True)

    key: ClassVar[str]
