"""A whole `train:` section, resolved against the network's outputs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from cnnspec.training.clipping import Clip
from cnnspec.training.groups import Group
from cnnspec.training.losses import Loss, MeanSquaredError
from cnnspec.training.optimizers import Optimizer, Sgd
from cnnspec.training.schedules import Constant, Schedule
from cnnspec.training.stopping import Average, EarlyStopping

__all__ = ["DEFAULT_RATE", "Training", "default_training"]


@dataclass(frozen=True, slots=True)
class Training:
    """One loss for each output, and how the weights follow them.

    Attributes:
        losses: by output.
        optimizer: with its learning rate.
        schedule: what becomes of that rate.
        batch: samples of a batch; `accumulate` of them make an update.
        epochs: of a run.
        clip: None where gradients stay as they are.
        groups: parameters that are trained otherwise; the first that matches counts.
        average: None where evaluation uses the weights themselves.
        accumulate: batches of an update.
        stopping: None where a run goes on to its last epoch.
    """

    losses: Mapping[str, Loss]
    optimizer: Optimizer
    schedule: Schedule = field(default_factory=Constant)
    batch: int = 32
    epochs: int = 1
    clip: Clip | None = None
    groups: tuple[Group, ...] = ()
    average: Average | None = None
    accumulate: int = 1
    stopping: EarlyStopping | None = None

    def learning_rate(self, update: int, updates_per_epoch: int) -> float:
        """The rate of the update with this 0-based number; the emitted function is held to it."""
        by_epoch = self.schedule.every == "epoch"
        t = update // updates_per_epoch if by_epoch else update
        length = self.epochs if by_epoch else self.epochs * updates_per_epoch
        return self.schedule.rate(self.optimizer.lr, t, length)

    def written(self) -> dict[str, object]:
        """What the section says besides its losses, by the names of its fields."""
        found: dict[str, object] = {
            "optimizer": self.optimizer,
            "schedule": self.schedule,
            "batch": self.batch,
            "epochs": self.epochs,
        }
        if self.accumulate != 1:
            found["accumulate"] = self.accumulate
        rest = {
            "clip": self.clip,
            "groups": self.groups,
            "average": self.average,
            "early_stopping": self.stopping,
        }
        return {**found, **{name: value for name, value in rest.items() if value}}

    def group(self, name: str) -> Group | None:
        """The first group that a parameter belongs to."""
        return next((group for group in self.groups if group.matches(name)), None)


DEFAULT_RATE = 0.01


def default_training(outputs: tuple[str, ...], lr: float = DEFAULT_RATE) -> Training:
    """What `check` uses for a spec without `train:`; its report says so."""
    return Training(
        losses={name: MeanSquaredError() for name in outputs},
        optimizer=Sgd(lr=lr, momentum=0.9),
    )
