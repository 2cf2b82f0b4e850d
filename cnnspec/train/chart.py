"""What is drawn of a run: which curves share a chart, and where its axes have their ticks."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from cnnspec.train.metrics import Epoch

__all__ = ["Chart", "Curve", "charts", "ticks"]

MOST_POINTS = 2000
"""Of a curve; more of them than a screen has columns are not seen."""


@dataclass(frozen=True, slots=True)
class Curve:
    """A metric over epochs, where it is known."""

    name: str
    points: tuple[tuple[int, float], ...]


@dataclass(frozen=True, slots=True)
class Chart:
    """Curves over one axis.

    Attributes:
        title: of the chart.
        axis: what its vertical axis shows.
        curves: at least one.
    """

    title: str
    axis: str
    curves: tuple[Curve, ...]


METRICS = (
    ("Loss", "loss", "loss"),
    ("Accuracy", "accuracy", "share of samples"),
    ("Top-5 accuracy", "top5", "share of samples"),
)


def charts(history: Sequence[Epoch]) -> tuple[Chart, ...]:
    """Loss, accuracy and top-5 of training and test set and of each output, and the rate."""
    found = []
    values = [epoch.values() for epoch in history]
    names = list(values[0]) if values else []
    for title, metric, axis in METRICS:
        own = [n for n in names if n.partition(".")[0] in (f"train_{metric}", f"test_{metric}")]
        curves = [Curve(_spoken(name), _points(values, name)) for name in own]
        if drawn := tuple(curve for curve in curves if curve.points):
            found.append(Chart(title, axis, drawn))
    if values:
        rate = Curve("learning rate", _points(values, "learning_rate"))
        found.append(Chart("Learning rate", "learning rate", (rate,)))
    return tuple(found)


def _spoken(column: str) -> str:
    metric, _, output = column.partition(".")
    split = {"train": "training", "test": "test"}[metric.partition("_")[0]]
    return f"{split}, {output}" if output else split


def _points(
    values: Sequence[dict[str, int | float | None]], name: str
) -> tuple[tuple[int, float], ...]:
    found = [(int(row["epoch"] or 0), float(v)) for row in values if (v := row[name]) is not None]
    stride = math.ceil(len(found) / MOST_POINTS)
    return (*found[:-1:stride], *found[-1:]) if stride > 1 else tuple(found)


def ticks(low: float, high: float, count: int = 5) -> list[float]:
    """Round numbers from at or below `low` to at or above `high`, about `count` of them."""
    if high - low <= 1e-9 * max(abs(low), abs(high), 1e-290):  # too little for round numbers
        margin = abs(low) / 2 if abs(low) > 1e-290 else 1.0
        low, high = low - margin, high + margin
    rough = (high - low) / count
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(m * power for m in (1, 2, 2.5, 5, 10) if m * power >= rough * (1 - 1e-9))
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [number * step for number in range(first, last + 1)]
