"""`validate` of a small spec, against importing the libraries that it is made of."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from dataclasses import replace

from benchmarks.harness import Result, compare

SPEC = "specs/conv_pool.yaml"
GOAL = 0.2
"""Seconds of process time, user and system."""


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
    found = compare(
        "`cnnspec validate` of a small spec",
        "`import typer, yaml, pydantic`",
        process_time("-m", "cnnspec", "validate", SPEC),
        process_time("-c", "import typer, yaml, pydantic"),
    )
    return [replace(found, goal="under 200 ms", met=found.ours < GOAL)]
