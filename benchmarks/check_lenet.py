"""`cnnspec check` of LeNet on three back ends, against training it in both frameworks by hand."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable

from benchmarks.harness import Result, compare, judged

SPEC = "specs/lenet5.yaml"
GOAL = 2.0
"""Times as long as the peer, which has one process while `check` has three on two cores."""
REPEATS = 4


def wall_time(*arguments: str) -> Callable[[], float]:
    """A clock for a whole process: the seconds until it ends."""

    def clock() -> float:
        start = time.perf_counter()
        subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL)  # noqa: S603 - ours
        return time.perf_counter() - start

    return clock


def run() -> list[Result]:
    """Wall time, as a user waits."""
    found = compare(
        "`cnnspec check` of LeNet-5, all three back ends",
        "five steps by hand in torch and Keras",
        wall_time("-m", "cnnspec", "check", SPEC),
        wall_time("-m", "benchmarks.by_hand"),
        repeats=REPEATS,
        warm_up=1,
        limit=GOAL,
    )
    return [judged(found, GOAL, "at most 2 times")]
