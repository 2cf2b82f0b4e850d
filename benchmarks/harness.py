"""Interleaved measurements: ours, the peer, ours, the peer, and the ratio of each pair."""

from __future__ import annotations

import math
import os
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

QUICK = bool(os.environ.get("CNNSPEC_BENCH_QUICK"))
"""Whether this is the short profile of CI: fewer pairs, and only gross regressions fail."""
GROSS = 1.5
"""Times a limit that a ratio may be in the short profile: other programs share its machines."""
REPEATS = 4 if QUICK else 12
"""Pairs in a measurement."""
THREADS = int(os.environ.get("CNNSPEC_BENCH_THREADS", "1"))
"""That each library may use."""
CLOCK = time.process_time if THREADS == 1 else time.perf_counter
"""Seconds; threads that wait for each other use processor time too."""
AT_LEAST = 0.05 if QUICK else 0.2
"""Seconds that one measurement of a pair takes at least; short calls are repeated."""


@dataclass(frozen=True, slots=True)
class Result:
    """One line of the table.

    Attributes:
        name: what is measured.
        peer: what it is compared with.
        ours: median seconds of a call.
        theirs: the same of the peer.
        ratio: median of the pairs' ratios, ours over the peer's.
        low: the smallest ratio of a pair.
        high: the largest.
        goal: what is wanted, in words; empty where the number is for information.
        met: whether it is so.
        memory: bytes, the peak of resident memory of the process that ran both, or what the row
            says; 0 where nobody measured.
        unit: of `ours` and `theirs`: "s", or "B" for bytes.
    """

    name: str
    peer: str
    ours: float
    theirs: float
    ratio: float
    low: float
    high: float
    goal: str = ""
    met: bool = True
    memory: int = 0
    unit: str = "s"


@dataclass(frozen=True, slots=True)
class Curve:
    """Numbers that are drawn: how a cost grows.

    Attributes:
        chart: curves of one chart have the same title.
        name: of this one.
        x: what is varied, with its unit.
        y: what it costs, with its unit.
        points: both, in order.
    """

    chart: str
    name: str
    x: str
    y: str
    points: list[tuple[float, float]]


def judged(result: Result, limit: float, goal: str = "") -> Result:
    """Whether the ratio is at most `limit`; in the short profile, whether it is not far above."""
    met = result.ratio <= limit * (GROSS if QUICK else 1.0)
    return replace(result, goal=goal or f"at most {limit:g}", met=met)


def slope(points: Sequence[tuple[float, float]]) -> float:
    """The exponent of a cost that grows as a power, fitted by least squares of logarithms."""
    found = statistics.linear_regression(
        [math.log(x) for x, _ in points], [math.log(y) for _, y in points]
    )
    return found.slope


def clock_of(call: Callable[[], object]) -> Callable[[], float]:
    """A clock for a call: seconds by `CLOCK`, the mean of as many calls as it takes.

    With one thread that is processor time: what the call takes on a machine with nothing else to
    do, and other programs disturb it less than wall time.
    """
    start = CLOCK()
    call()
    once = CLOCK() - start
    count = max(1, round(AT_LEAST / max(once, 1e-7)))

    def clock() -> float:
        begin = CLOCK()
        for _ in range(count):
            call()
        return (CLOCK() - begin) / count

    return clock


def compare(
    name: str,
    peer: str,
    ours: Callable[[], float],
    theirs: Callable[[], float],
    *,
    repeats: int = REPEATS,
    warm_up: int = 2,
    limit: float | None = None,
) -> Result:
    """Measure both by turns, each pair in the other order than the last.

    Args:
        name: what is measured.
        peer: what it is compared with.
        ours: returns the seconds of one measurement.
        theirs: the same for the peer.
        repeats: pairs that count.
        warm_up: pairs before, that do not.
        limit: a ratio; above it as many pairs again are measured, up to three times as many in
            all, since a few per cent is also what a busy machine makes of two equal programs.
    """
    pairs: list[tuple[float, float]] = []
    for index in range(warm_up + 3 * repeats):
        if index % 2:
            second, first = theirs(), ours()
        else:
            first, second = ours(), theirs()
        pairs.append((first, second))
        done = len(pairs) - warm_up
        if done >= repeats and done % repeats == 0:
            found = of_pairs(name, peer, pairs[warm_up:])
            if limit is None or found.ratio <= limit:
                break
    return found


def of_pairs(name: str, peer: str, pairs: Sequence[tuple[float, float]]) -> Result:
    """Medians, and the spread of the ratios."""
    ratios = [first / second for first, second in pairs]
    return Result(
        name,
        peer,
        ours=statistics.median(first for first, _ in pairs),
        theirs=statistics.median(second for _, second in pairs),
        ratio=statistics.median(ratios),
        low=min(ratios),
        high=max(ratios),
    )
