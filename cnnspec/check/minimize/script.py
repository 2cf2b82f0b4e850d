"""Runs a script that shows a fault, as a reader of it would."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from cnnspec.check.engines import DEFAULTS

SECONDS = 300.0
"""That a script may take before it is given up."""


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
