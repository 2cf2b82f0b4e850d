"""When a run is good enough: which epoch was the best one, and how long ago it was."""

from __future__ import annotations

import math
from collections.abc import Sequence

__all__ = ["best", "exhausted", "rises"]


def rises(monitor: str) -> bool:
    """Whether more is better of this metric, a column of metrics.csv."""
    return "accuracy" in monitor or "top5" in monitor


def best(values: Sequence[float | None], *, rising: bool, min_delta: float = 0.0) -> int | None:
    """The position of the best value; None where there is no value.

    Args:
        values: of one metric, an epoch each; None, where it has none, is never the best.
        rising: whether more is better.
        min_delta: by how much more than this a value must be better than the best one before it;
            of equal ones the first is the best.
    """
    found: int | None = None
    limit = -math.inf
    for position, value in enumerate(values):
        gain = None if value is None else value if rising else -value
        if gain is not None and gain > limit + min_delta:
            found, limit = position, gain
    return found


def exhausted(
    values: Sequence[float | None], *, patience: int, rising: bool, min_delta: float = 0.0
) -> bool:
    """Whether the last `patience` epochs have brought nothing better than those before them.

    Args:
        values: of the monitored metric, an epoch each, in order.
        patience: epochs without a better value after which a run ends, at least 1.
        rising: whether more is better.
        min_delta: see `best`.
    """
    found = best(values, rising=rising, min_delta=min_delta)
    since = len(values) if found is None else len(values) - 1 - found
    return since >= patience
