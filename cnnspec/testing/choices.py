"""What can be drawn at random, whoever draws: hypothesis in tests, a seed in `cnnspec fuzz`.

All choices are made of one: a number below another. Its 0 is the plainest, which is what
hypothesis shrinks to. Networks of a seed are therefore the same with every version of hypothesis,
and where there is none.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from functools import cache, wraps
from typing import TYPE_CHECKING, Any, Concatenate, Generic, ParamSpec, Protocol, TypeVar

if TYPE_CHECKING:
    from hypothesis.strategies import SearchStrategy

T = TypeVar("T")
P = ParamSpec("P")

Draw = Callable[[Any], Any]
"""Draws one of what a choice offers; what hypothesis calls `draw`."""

MOST_ENTRIES = 3
"""Of a list that states no end."""


class Rejected(Exception):
    """What was drawn so far leads to nothing; the next attempt may."""


class Below(Protocol):
    """A source of numbers, which is all that choices are made of."""

    def below(self, count: int) -> int:
        """A number from 0 up to, and without, `count`."""

    def __call__(self, choice: Any) -> Any:
        """One of what a choice offers."""


class Choice(Generic[T]):
    """Something to draw."""

    def __init__(self, take: Callable[[Below], T]) -> None:
        self.take = take

    def __or__(self, other: Choice[Any]) -> Choice[Any]:
        """One of either kind."""
        return one_of((*_options(self), *_options(other)))


class OneOf(Choice[Any]):
    """One of several kinds."""

    def __init__(self, options: Sequence[Choice[Any]]) -> None:
        super().__init__(lambda source: source(options[source.below(len(options))]))
        self.options = options


def _options(choice: Choice[Any]) -> Sequence[Choice[Any]]:
    return choice.options if isinstance(choice, OneOf) else (choice,)


def one_of(choices: Iterable[Choice[Any]]) -> Choice[Any]:
    """One of what these offer, each of them as likely."""
    return OneOf(tuple(choices))


def sampled_from(values: Sequence[T]) -> Choice[T]:
    """One of these values, the first by preference."""
    return Choice(lambda source: values[source.below(len(values))])


def integers(least: int, most: int) -> Choice[int]:
    """A whole number, both ends included; the least by preference."""
    return Choice(lambda source: least + source.below(most - least + 1))


def booleans() -> Choice[bool]:
    """False by preference."""
    return Choice(lambda source: source.below(2) == 1)


def just(value: T) -> Choice[T]:
    """Always this."""
    return Choice(lambda _: value)


def none() -> Choice[None]:
    """Nothing."""
    return just(None)


def lists(
    entry: Choice[T], *, min_size: int = 0, max_size: int | None = None, unique: bool = False
) -> Choice[list[T]]:
    """A list; of a unique one, what comes a second time is left out."""
    most = min_size + MOST_ENTRIES if max_size is None else max_size

    def take(source: Below) -> list[T]:
        found = [source(entry) for _ in range(min_size + source.below(most - min_size + 1))]
        return list(dict.fromkeys(found)) if unique else found

    return Choice(take)


def permutations(values: Iterable[T]) -> Choice[list[T]]:
    """These values in any order; their own by preference."""
    every = list(values)

    def take(source: Below) -> list[T]:
        left = list(every)
        return [left.pop(source.below(len(left))) for _ in every]

    return Choice(take)


def composite(
    function: Callable[Concatenate[Draw, P], T],
) -> Callable[P, Choice[T]]:
    """Decorator: the function draws, and is called without `draw` to give what can be drawn."""

    @wraps(function)
    def made(*args: P.args, **kwargs: P.kwargs) -> Choice[T]:
        return Choice(lambda source: function(source, *args, **kwargs))

    return made


def reject() -> Any:
    """Give up what was drawn so far.

    Raises:
        Rejected: always.
    """
    raise Rejected


# --- who draws ---------------------------------------------------------------------------------


class Seeded:
    """Draws from a seed; the same for the same seed, on every machine."""

    def __init__(self, seed: str) -> None:
        self._random = random.Random(seed)  # noqa: S311 - nothing secret

    def below(self, count: int) -> int:
        """A number below another."""
        return int(self._random.random() * count)

    def __call__(self, choice: Any) -> Any:
        """One of what a choice, or a strategy of hypothesis in a plug-in, offers."""
        if isinstance(choice, Choice):
            return choice.take(self)
        return _drawn(choice, self._random.randbytes(1 << 12))


class Hypothetical:
    """Draws with hypothesis, which shrinks what fails."""

    def __init__(self, draw: Draw) -> None:
        self._draw = draw

    def below(self, count: int) -> int:
        """A number below another."""
        found: int = self._draw(_numbers(count))
        return found

    def __call__(self, choice: Any) -> Any:
        """One of what a choice, or a strategy of hypothesis, offers."""
        return choice.take(self) if isinstance(choice, Choice) else self._draw(choice)


def either(draw: Draw) -> Draw:
    """A source that takes choices, whoever draws."""
    return draw if isinstance(draw, (Seeded, Hypothetical)) else Hypothetical(draw)


def strategy(
    function: Callable[Concatenate[Draw, P], T], *args: P.args, **kwargs: P.kwargs
) -> SearchStrategy[T]:
    """What a function draws, as a strategy of hypothesis."""
    import hypothesis
    from hypothesis import strategies as st

    @st.composite
    def made(draw: Draw) -> T:
        try:
            return function(Hypothetical(draw), *args, **kwargs)
        except Rejected:
            hypothesis.reject()

    return made()


@cache
def _numbers(count: int) -> SearchStrategy[int]:
    from hypothesis import strategies as st

    return st.integers(0, count - 1)


def _drawn(foreign: Any, data: bytes) -> Any:
    """What hypothesis draws from these bytes."""
    import hypothesis

    found: list[Any] = []

    @hypothesis.settings(
        database=None, deadline=None, suppress_health_check=list(hypothesis.HealthCheck)
    )
    @hypothesis.given(foreign)
    def draw(value: Any) -> None:
        found.append(value)

    with suppress(hypothesis.errors.Unsatisfiable):
        draw.hypothesis.fuzz_one_input(data)
    if not found:
        raise Rejected
    return found[-1]
