"""The time that a call takes."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

from cnnspec.bench.results import Time

__all__ = ["measure"]

LEAST, MOST = 5, 1000
"""Measurements of a call."""
SHORT = 1e-3
"""Seconds; a shorter call is repeated, so that the clock itself does not count."""


def measure(call: Callable[[], object], seconds: float, *, warm_up: int = 2) -> Time:
    """Call again and again, for as many seconds at least, and at least `LEAST` times.

    Args:
        call: returns when what it does is done.
        seconds: wall time.
        warm_up: calls before, that do not count.
    """
    for _ in range(warm_up):
        call()
    start = time.perf_counter()
    call()
    repeats = max(1, round(SHORT / max(time.perf_counter() - start, 1e-7)))
    found: list[float] = []
    begin = time.perf_counter()
    while len(found) < LEAST or (time.perf_counter() - begin < seconds and len(found) < MOST):
        start = time.perf_counter()
        for _ in range(repeats):
            call()
        found.append((time.perf_counter() - start) / repeats)
    return Time(statistics.median(found), min(found), max(found), len(found))
