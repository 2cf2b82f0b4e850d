"""What scripts in any framework have in common: their head, their numbers, and how they are run."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from cnnspec.backends.base import Slot
from cnnspec.check.engines import DEFAULTS
from cnnspec.check.minimize.case import MOST_INLINE, WIDTH, Case, Number, written

Array = npt.NDArray[Any]

MOST_EXPECTED = 2 * MOST_INLINE
SECONDS = 300.0
"""That a script may take before it is given up."""


def headline(about: str) -> str:
    """The docstring: what is wrong. The text has passed no spec: it is numbers and own words."""
    return f'"""{about}"""'


def printed(head: str, code: str, tail: str) -> Iterator[str]:
    """One statement, on one line where it fits."""
    line = head + code + tail
    if len(line) <= WIDTH or not code.startswith(("[", "{")):
        yield line
        return
    yield head
    yield from (f"    {part}" for part in code.splitlines())
    yield tail.removeprefix(", ") if tail == ")" else tail


def code_in(number: Number, slot: Slot | None = None) -> str:
    """A tensor in a framework's own layout: nested lists, or what draws it."""
    if not number.drawn:
        return written(number.value if slot is None else slot.store(number.value))
    code = number.code
    if slot is not None and slot.permutation != tuple(range(len(slot.permutation))):
        code += f".transpose{slot.permutation}"
    if slot is not None and slot.own is not None:
        code += f".reshape{slot.own}"
    return code


@dataclass(frozen=True, slots=True)
class Picked:
    """What is compared: a tensor, or some of its elements and the index that takes them."""

    value: Array
    index: str


def picked(expected: Array, case: Case, *, own: bool) -> Picked:
    """A tensor if it is small; else the worst element and others all over it.

    Args:
        expected: in the framework's layout.
        case: what it is of.
        own: whether that is the canonical one, in which the worst element is known.
    """
    if expected.size <= MOST_EXPECTED:
        return Picked(expected, "")
    worst = case.comparison.worst
    places = list(np.linspace(0, expected.size - 1, MOST_INLINE).astype(int).tolist())
    if (
        own
        and worst is not None
        and all(i < n for i, n in zip(worst.index, expected.shape, strict=False))
    ):
        places.insert(0, int(np.ravel_multi_index(worst.index, expected.shape)))
    return Picked(expected.reshape(-1)[places], f".reshape(-1)[{places}]")


@dataclass(frozen=True, slots=True)
class Outcome:
    """Whether a script shows the fault, and the end of what it wrote."""

    shows: bool
    output: str


def run_script(path: Path) -> Outcome:
    """Run a script in a process of its own; it shows the fault if its last assertion fails."""
    try:
        done = subprocess.run(  # noqa: S603 - it was written by us a moment ago
            [sys.executable, path.name],
            cwd=path.parent,
            env={**DEFAULTS, **os.environ},
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return Outcome(False, f"it took more than {SECONDS:g} s")
    last = done.stderr.strip().splitlines()[-15:]
    return Outcome(
        done.returncode != 0 and "AssertionError" in done.stderr,
        "\n".join(last),
    )
