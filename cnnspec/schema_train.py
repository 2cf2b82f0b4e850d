"""The `train:` section: loss, optimizer and schedule out of their vocabularies."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from cnnspec.diagnostics import closest
from cnnspec.document import Path
from cnnspec.faults import Faults
from cnnspec.schema_fields import (
    MOST_SIZE,
    missing_field,
    read_model,
    read_whole,
    read_word,
    unknown_field,
    wrong_type,
)
from cnnspec.spec import TrainSection
from cnnspec.training import (
    LOSSES,
    OPTIMIZERS,
    SCHEDULES,
    Average,
    Clip,
    Constant,
    EarlyStopping,
    Fields,
    Group,
    Loss,
    Schedule,
)

FieldsT = TypeVar("FieldsT", bound=Fields)

WORDS = {"clip": Clip, "average": Average, "early_stopping": EarlyStopping}
FIELDS = ("loss", "optimizer", "schedule", "batch", "epochs", "accumulate", "groups", *WORDS)


def read_train(faults: Faults, value: object) -> TrainSection | None:
    """The section, or None where a part of it is at fault."""
    path: Path = ("train",)
    if not isinstance(value, dict):
        wrong_type(faults, path, "`train` is a mapping", "it needs `loss` and `optimizer`")
        return None
    for key in value:
        if key not in FIELDS:
            unknown_field(faults, path, "`train`", key, FIELDS)
    for key in ("loss", "optimizer"):
        if key not in value:
            missing_field(faults, path, "`train`", key)
    loss = _losses(faults, value["loss"]) if "loss" in value else None
    optimizer = None
    if "optimizer" in value:
        at = (*path, "optimizer")
        optimizer = read_word(
            faults, OPTIMIZERS, value["optimizer"], at, "optimizer", code="unknown-optimizer"
        )
    schedule: Schedule | None = Constant()
    if "schedule" in value:
        at = (*path, "schedule")
        schedule = read_word(
            faults, SCHEDULES, value["schedule"], at, "schedule", code="unknown-schedule"
        )
    batch = read_whole(faults, value.get("batch", 32), (*path, "batch"), 1, MOST_SIZE)
    epochs = read_whole(faults, value.get("epochs", 1), (*path, "epochs"), 1, MOST_SIZE)
    accumulate = read_whole(faults, value.get("accumulate", 1), (*path, "accumulate"), 1, MOST_SIZE)
    groups = _groups(faults, value.get("groups", ()), (*path, "groups"))
    rest: dict[str, Any] = {
        name: _fields(faults, cls, value[name], (*path, name))
        for name, cls in WORDS.items()
        if name in value
    }
    if schedule is not None:
        _require_reached(faults, schedule, epochs)
    if loss is None or optimizer is None or schedule is None:
        return None
    return TrainSection(
        loss,
        optimizer,
        schedule,
        batch,
        epochs,
        accumulate,
        groups,
        rest.get("clip"),
        rest.get("average"),
        rest.get("early_stopping"),
    )


def _groups(faults: Faults, value: object, path: Path) -> tuple[Group, ...]:
    example = '`- {match: "*.bias", weight_decay: 0}`'
    if not isinstance(value, tuple):
        wrong_type(faults, path, "`groups` is a list", f"such as {example}")
        return ()
    found = (_fields(faults, Group, each, (*path, i)) for i, each in enumerate(value))
    return tuple(group for group in found if group is not None)


def _fields(faults: Faults, cls: type[FieldsT], value: object, path: Path) -> FieldsT | None:
    what = f"`{path[-1]}`" if isinstance(path[-1], str) else "a group"
    if not isinstance(value, dict):
        wrong_type(faults, path, f"{what} is a mapping of fields")
        return None
    return read_model(faults, cls, value, path, what=what, known=list(cls.model_fields))


def _require_reached(faults: Faults, schedule: Schedule, epochs: int) -> None:
    """Refuse what a schedule by epochs has beyond the last; of updates the data know the number."""
    if schedule.every == "update" or schedule.longest <= epochs:
        return
    given = [f for f in ("length", "milestones", "warmup") if f in schedule.model_fields_set]
    faults.add(
        "schedule-too-long",
        ("train", "schedule", schedule.key, given[0]),
        f"`{schedule.key}` needs {schedule.longest} epochs, and a run has {epochs}",
        help=f"`epochs: {schedule.longest}` or more, or a shorter schedule",
    )


def _losses(faults: Faults, value: object) -> Loss | Mapping[str, Loss] | None:
    path: Path = ("train", "loss")
    if not isinstance(value, dict) or not _is_by_output(value):
        return _loss(faults, value, path)
    found = {name: _loss(faults, entry, (*path, name)) for name, entry in value.items()}
    losses = {name: loss for name, loss in found.items() if loss is not None}
    return losses if len(losses) == len(found) else None


def _loss(faults: Faults, value: object, path: Path) -> Loss | None:
    return read_word(faults, LOSSES, value, path, "loss", code="unknown-loss")


def _is_by_output(value: Mapping[str, object]) -> bool:
    """Whether it is a loss for each output, and not one loss over its fields."""
    if len(value) != 1:
        return len(value) > 1
    ((key, entry),) = value.items()
    if key in LOSSES or entry is None:
        return False
    if isinstance(entry, str) or (isinstance(entry, dict) and any(k in LOSSES for k in entry)):
        return True
    return closest(key, LOSSES) is None
