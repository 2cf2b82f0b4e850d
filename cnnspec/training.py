"""The `train:` section as written: loss, optimizer, schedule, batch and epochs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, ClassVar, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from cnnspec.ops.fields import Finite


class Vocabulary(BaseModel):
    """A word of the section over its fields, such as `{adam: {lr: 0.001}}`."""

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid", defer_build=True)

    key: ClassVar[str]


class Loss(Vocabulary):
    """A loss of one output; `weight` scales it where there are several."""

    folds: ClassVar[tuple[str, ...]] = ()
    targets: ClassVar[Literal["labels", "values"]] = "values"

    weight: Annotated[Finite, Field(gt=0)] = 1.0


class CrossEntropy(Loss):
    """-log softmax(z)[label], averaged over every label position; z are logits over channels."""

    key = "cross_entropy"
    folds = ("softmax", "log_softmax")
    targets = "labels"


class MeanSquaredError(Loss):
    """(y - target)^2, averaged over every element."""

    key = "mean_squared_error"


class Optimizer(Vocabulary):
    """What all optimizers have."""

    lr: Annotated[Finite, Field(gt=0)]
    weight_decay: Annotated[Finite, Field(ge=0)] = 0.0


class Sgd(Optimizer):
    """b = momentum * b + (1 - dampening) * g; p -= lr * b (or lr * (g + momentum * b))."""

    key = "sgd"
    momentum: Annotated[Finite, Field(ge=0)] = 0.0
    dampening: Annotated[Finite, Field(ge=0)] = 0.0
    nesterov: bool = False

    @model_validator(mode="after")
    def _nesterov_has_momentum(self) -> Self:
        if self.nesterov and (self.momentum == 0 or self.dampening != 0):
            raise PydanticCustomError(
                "nesterov", "`nesterov` needs a `momentum` above 0, and no `dampening`"
            )
        return self


class Adam(Optimizer):
    """p -= lr / (1 - b1^t) * m / (sqrt(v) / sqrt(1 - b2^t) + eps)."""

    key = "adam"
    betas: tuple[
        Annotated[Finite, Field(ge=0, lt=1)],
        Annotated[Finite, Field(ge=0, lt=1)],
    ] = (0.9, 0.999)
    eps: Annotated[Finite, Field(gt=0)] = 1e-8


class Schedule(Vocabulary):
    """How the learning rate goes over the updates."""


class Constant(Schedule):
    """The optimizer's lr throughout."""

    key = "constant"


class Exponential(Schedule):
    """lr * gamma^t, t counted in epochs or updates."""

    key = "exponential"
    gamma: Annotated[Finite, Field(gt=0)]
    every: Literal["epoch", "update"] = "epoch"


LOSSES: dict[str, type[Loss]] = {c.key: c for c in (CrossEntropy, MeanSquaredError)}
OPTIMIZERS: dict[str, type[Optimizer]] = {c.key: c for c in (Sgd, Adam)}
SCHEDULES: dict[str, type[Schedule]] = {c.key: c for c in (Constant, Exponential)}


@dataclass(frozen=True, slots=True)
class Training:
    """A whole section, one loss for each output."""

    losses: Mapping[str, Loss]
    optimizer: Optimizer
    schedule: Schedule = field(default_factory=Constant)
    batch: int = 32
    epochs: int = 1

    def learning_rate(self, update: int, updates_per_epoch: int) -> float:
        """The rate of the update with this 0-based number; the emitted function is held to it."""
        lr = self.optimizer.lr
        if isinstance(self.schedule, Exponential):
            t = update // updates_per_epoch if self.schedule.every == "epoch" else update
            return lr * self.schedule.gamma**t
        return lr


DEFAULT_RATE = 0.01


def default_training(outputs: tuple[str, ...], lr: float = DEFAULT_RATE) -> Training:
    """What `check` uses for a spec without `train:`; its report says so."""
    return Training(
        losses={name: MeanSquaredError() for name in outputs},
        optimizer=Sgd(lr=lr, momentum=0.9),
    )
