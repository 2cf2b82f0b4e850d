"""The function `learning_rate`, which is the same in all back ends."""

from __future__ import annotations

from cnnspec.backends.writer import Code, Writer, literal
from cnnspec.training import (
    Constant,
    Cosine,
    Exponential,
    MultiStep,
    OneCycle,
    Polynomial,
    Schedule,
    Step,
    Training,
)
from cnnspec.training.schedules import Lengthy

EPOCHS = "update // updates_per_epoch"


def write(writer: Writer, training: Training) -> None:
    """Write it; constants of the spec, and the epoch's length, which comes from the data."""
    schedule, lr = training.schedule, training.optimizer.lr
    with writer.indented("def learning_rate(update, updates_per_epoch):"):
        writer.line('"""Learning rate of an update, which is counted from 0."""')
        t = "update"
        if schedule.every == "epoch":
            t = f"({EPOCHS})"
        if schedule.warmup:
            if schedule.every == "epoch":
                writer.line(f"epoch = {EPOCHS}")
                t = "epoch"
            with writer.indented(f"if {t} < {schedule.warmup}:"):
                writer.line(f"return {literal(lr)} * ({t} + 1) / {schedule.warmup}")
            t = f"({t} - {schedule.warmup})"
        if isinstance(schedule, Lengthy):
            _lengthy(writer, training, schedule, t)
            return
        writer.line(f"return {_at(schedule, lr, t)}")


def _at(schedule: Schedule, lr: float, t: str) -> Code:
    """The rate at t, of a schedule that needs no length."""
    if isinstance(schedule, Constant):
        return literal(lr)
    # Spaces around the power as formatters want them: none between two simple operands.
    if isinstance(schedule, Exponential):
        power = f"**{t}" if t == "update" else f" ** {t}"
        return Code(f"{literal(lr)} * {literal(schedule.gamma)}{power}")
    if isinstance(schedule, Step):
        return Code(f"{literal(lr)} * {literal(schedule.gamma)} ** ({_bare(t)} // {schedule.size})")
    assert isinstance(schedule, MultiStep)
    marks = literal(schedule.milestones)
    count = f"sum({_plain(t)} >= m for m in {marks})"
    return Code(f"{literal(lr)} * {literal(schedule.gamma)} ** {count}")


def _bare(t: str) -> str:
    """Without brackets, where precedence needs none."""
    return t[1:-1] if t.startswith("(") and "-" not in t else t


def _lengthy(writer: Writer, training: Training, schedule: Lengthy, t: str) -> None:
    length = str(schedule.length or max(training.epochs - schedule.warmup, 1))
    if schedule.length is None and schedule.every == "update":
        run = f"{training.epochs} * updates_per_epoch"
        length = f"max({run} - {schedule.warmup}, 1)" if schedule.warmup else run
        writer.line(f"length = {length}")
        length = "length"
    writer.line(f"t = min({_plain(t)}, {length})")
    lr = training.optimizer.lr
    if isinstance(schedule, Cosine):
        wave = f"(1 + math.cos(math.pi * t / {length})) / 2"
        writer.line(f"return {_towards(lr, schedule.end)} * {wave}")
    elif isinstance(schedule, Polynomial):
        power = "" if schedule.power == 1 else f" ** {literal(schedule.power)}"
        writer.line(f"return {_towards(lr, schedule.end)} * (1 - t / {length}){power}")
    else:
        assert isinstance(schedule, OneCycle)
        writer.line(f"top = {literal(schedule.rise)} * {length}")
        divisor = literal(schedule.start_div)
        with writer.indented("if t < top:"):
            writer.line(f"start = {literal(lr)} / {divisor}")
            up = "(1 - math.cos(math.pi * t / top)) / 2"
            writer.line(f"return start + ({literal(lr)} - start) * {up}")
        writer.line(f"end = {literal(lr)} / ({divisor} * {literal(schedule.end_div)})")
        down = f"(1 + math.cos(math.pi * (t - top) / ({length} - top))) / 2"
        writer.line(f"return end + ({literal(lr)} - end) * {down}")


def _plain(t: str) -> str:
    """Without its outer brackets."""
    return t[1:-1] if t.startswith("(") else t


def _towards(lr: float, end: float) -> str:
    """The part of a rate that goes from 1 to 0, in front of what says how far."""
    if not end:
        return literal(lr)
    return f"{literal(end)} + ({literal(lr)} - {literal(end)})"
