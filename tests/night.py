"""What of a long table stands for the rest of it in the default suite."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, TypeVar

import pytest
from hypothesis import settings

T = TypeVar("T")


def at_night(values: Iterable[T], kept: Callable[[T], bool]) -> list[Any]:
    """Parameters of a test, all of them; those that are not kept run at night only."""
    return [
        pytest.param(
            *(value if isinstance(value, tuple) else (value,)),
            marks=() if kept(value) else pytest.mark.nightly,
        )
        for value in values
    ]


def share(part: float) -> int:
    """How many examples these are for each example of the profile, at least one."""
    assert settings.default is not None
    return max(1, round(settings.default.max_examples * part))


def words(text: str) -> Callable[[object], bool]:
    """Keeps what is one of these words."""
    return frozenset(text.split()).__contains__
