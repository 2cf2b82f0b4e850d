"""Parameters that are trained in another way than the others, found by their names."""

from __future__ import annotations

import re
from functools import cache
from typing import Annotated

from pydantic import BeforeValidator, Field

from cnnspec.training.vocabulary import Fields, NotNegative, Positive

__all__ = ["Group", "matches"]


def _listed(value: object) -> object:
    return (value,) if isinstance(value, str) else value


Pattern = Annotated[str, Field(min_length=1, max_length=200, pattern=r"^[A-Za-z0-9_.*]+$")]


class Group(Fields):
    """Parameters whose names `match` one of some patterns; the first group that does counts.

    A pattern is a parameter's name, or that of a layer or block, which stands for everything in
    it; a `*` in it stands for any text, dots as well.
    """

    match: Annotated[
        tuple[Pattern, ...], BeforeValidator(_listed), Field(min_length=1, max_length=1000)
    ]
    trainable: bool = True
    lr_scale: Positive = 1.0
    weight_decay: NotNegative | None = None

    def matches(self, name: str) -> bool:
        """Whether a parameter of this name belongs to it."""
        return any(matches(pattern, name) for pattern in self.match)


def matches(pattern: str, name: str) -> bool:
    """Whether a pattern means the parameter of this name."""
    return _expression(pattern).fullmatch(name) is not None


@cache
def _expression(pattern: str) -> re.Pattern[str]:
    within = "" if "*" in pattern else r"(\..*)?"
    return re.compile(".*".join(re.escape(part) for part in pattern.split("*")) + within)
