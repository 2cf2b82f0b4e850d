"""Schedules as written: how the learning rate goes over the updates, or over the epochs.

t counts completed updates, or epochs, from 0. What a schedule computes is in float64, and the
emitted function `learning_rate` is held to it.
"""

from __future__ import annotations

import math
from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from cnnspec.ops.fields import Finite
from cnnspec.training.vocabulary import NotNegative, Positive, Vocabulary

__all__ = [
    "SCHEDULES",
    "Constant",
    "Cosine",
    "Exponential",
    "MultiStep",
    "OneCycle",
    "Polynomial",
    "Schedule",
    "Step",
]

Count = Annotated[int, Field(ge=1, le=2**53)]


class Schedule(Vocabulary):
    """What all schedules have.

    `every` says what t counts. A `warmup` of w of these goes before: the rate is lr (t + 1) / w,
    and then the schedule begins with its own 0.
    """

    lengthy: ClassVar[bool] = False
    """Whether it goes over a length: its own, or what the warm-up leaves of the run."""

    every: Literal["epoch", "update"] = "epoch"
    warmup: Annotated[int, Field(ge=0, le=2**53)] = 0

    @property
    def longest(self) -> int:
        """How many epochs or updates a run needs for it to have its whole effect."""
        return self.warmup

    def rate(self, lr: float, t: int, length: int) -> float:
        """The learning rate.

        Args:
            lr: the optimizer's.
            t: completed updates or epochs.
            length: of the run, in the same.
        """
        if t < self.warmup:
            return lr * (t + 1) / self.warmup
        return self.after_warmup(lr, t - self.warmup, length - self.warmup)

    def after_warmup(self, lr: float, t: int, length: int) -> float:
        """The learning rate, where t and the run's length are counted from the warm-up's end."""
        raise NotImplementedError


class Constant(Schedule):
    """The optimizer's lr throughout."""

    key = "constant"

    def after_warmup(self, lr: float, t: int, length: int) -> float:
        """The same."""
        return lr


class Exponential(Schedule):
    """lr * gamma^t."""

    key = "exponential"

    gamma: Positive

    def after_warmup(self, lr: float, t: int, length: int) -> float:
        """A power."""
        return lr * self.gamma**t


class Step(Schedule):
    """lr * gamma^(t // size)."""

    key = "step"

    size: Count
    gamma: Positive = 0.1

    def after_warmup(self, lr: float, t: int, length: int) -> float:
        """A power that grows in steps."""
        return lr * self.gamma ** (t // self.size)


class MultiStep(Schedule):
    """lr * gamma^k, where k of the milestones are at most t."""

    key = "multi_step"

    milestones: Annotated[tuple[Count, ...], Field(min_length=1, max_length=10_000)]
    gamma: Positive = 0.1

    @model_validator(mode="after")
    def _milestones_rise(self) -> Self:
        pairs = zip(self.milestones, self.milestones[1:], strict=False)
        if any(a >= b for a, b in pairs):
            raise PydanticCustomError("milestones", "`milestones` rise")
        return self

    @property
    def longest(self) -> int:
        """Beyond the last milestone."""
        return self.warmup + self.milestones[-1] + 1

    def after_warmup(self, lr: float, t: int, length: int) -> float:
        """A power that grows at each milestone."""
        return lr * self.gamma ** sum(t >= milestone for milestone in self.milestones)


class Lengthy(Schedule):
    """A schedule over `length`, by default what the warm-up leaves of the run; held after it."""

    lengthy = True

    length: Count | None = None

    @property
    def longest(self) -> int:
        """Up to the end of its own length, if it has one."""
        return self.warmup + (self.length or 0)

    def after_warmup(self, lr: float, t: int, length: int) -> float:
        """By the part of the length that is over."""
        length = self.length or max(length, 1)
        return self.within(lr, min(t, length), length)

    def within(self, lr: float, t: int, length: int) -> float:
        """The learning rate at t of a length, which is at least 1."""
        raise NotImplementedError


class Cosine(Lengthy):
    """end + (lr - end) * (1 + cos(pi * t / length)) / 2."""

    key = "cosine"

    end: NotNegative = 0.0

    def within(self, lr: float, t: int, length: int) -> float:
        """Half a wave."""
        return self.end + (lr - self.end) * (1 + math.cos(math.pi * t / length)) / 2


class Polynomial(Lengthy):
    """end + (lr - end) * (1 - t / length)^power."""

    key = "polynomial"

    end: NotNegative = 0.0
    power: Positive = 1.0

    def within(self, lr: float, t: int, length: int) -> float:
        """A power of what is left."""
        return self.end + (lr - self.end) * float((1 - t / length) ** self.power)


class OneCycle(Lengthy):
    """Along a cosine from lr / start_div up to lr, then down to lr / (start_div * end_div).

    The way up takes `rise` of the length.
    """

    key = "one_cycle"

    rise: Annotated[Finite, Field(gt=0, lt=1)] = 0.3
    start_div: Positive = 25.0
    end_div: Positive = 10000.0

    def within(self, lr: float, t: int, length: int) -> float:
        """Half a wave up, half a wave down."""
        top = self.rise * length
        start, end = lr / self.start_div, lr / (self.start_div * self.end_div)
        if t < top:
            return start + (lr - start) * (1 - math.cos(math.pi * t / top)) / 2
        return end + (lr - end) * (1 + math.cos(math.pi * (t - top) / (length - top))) / 2


SCHEDULES: dict[str, type[Schedule]] = {
    cls.key: cls for cls in (Constant, Exponential, Step, MultiStep, Cosine, Polynomial, OneCycle)
}
