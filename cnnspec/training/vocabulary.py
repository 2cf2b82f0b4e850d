"""What the words of a `train:` section have in common."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import BaseModel, ConfigDict, Field

from cnnspec.ops.fields import Finite

__all__ = ["Fields", "Fraction", "NotNegative", "Positive", "Vocabulary"]

Positive = Annotated[Finite, Field(gt=0)]
NotNegative = Annotated[Finite, Field(ge=0)]
Fraction = Annotated[Finite, Field(ge=0, lt=1)]


class Fields(BaseModel):
    """Fields under a name of the section, such as `clip: {norm: 1.0}`."""

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid", defer_build=True)

    def written(self) -> dict[str, object]:
        """The fields that are not what they would be by themselves."""
        every = {name: getattr(self, name) for name in type(self).model_fields}
        defaults = {name: info.default for name, info in type(self).model_fields.items()}
        return {name: value for name, value in every.items() if value != defaults[name]}


class Vocabulary(Fields):
    """A word of the section over its fields, such as `{adam: {lr: 0.001}}`."""

    key: ClassVar[str]
