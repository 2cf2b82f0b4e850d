"""`validate` of a small spec, against importing the libraries that it is made of."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable

from benchmarks.harness import Result, compare, judged

SPEC = "specs/conv_pool.yaml"
GOAL = 1.6


def process_time(*arguments: str) -> Callable[[], float]:
    """A clock for a whole process: the seconds that it computes."""

    def clock() -> float:
        null = os.open(os.devnull, os.O_WRONLY)
        try:
            pid = os.posix_spawn(
                sys.executable,
                [sys.executable, *arguments],
                os.environ,
                file_actions=[(os.POSIX_SPAWN_DUP2, null, 1)],
            )
        finally:
            os.close(null)
        _, status, usage = os.wait4(pid, 0)
        if status:
            raise RuntimeError(f"{arguments} failed")
        return usage.ru_utime + usage.ru_stime

    return clock


def run() -> list[Result]:
    """Process time, which waiting for the disk is no part of."""
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # an installed package is compiled already
    found = compare(
        "`cnnspec validate` of a small spec",
        "`import typer, yaml, pydantic`",
        process_time("-m", "cnnspec", "validate", SPEC),
        process_time("-c", "import typer, yaml, pydantic"),
        limit=GOAL,
    )
    return [judged(found, GOAL)]
