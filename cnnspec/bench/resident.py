"""Resident memory of this process: what it has now, and the most that it had."""

from __future__ import annotations

import gc
import sys
from contextlib import suppress
from pathlib import Path

from cnnspec.heap import give_back

__all__ = ["now", "peak", "reset_peak"]

_STATUS = Path("/proc/self/status")
_CLEAR = Path("/proc/self/clear_refs")
RESET_PEAK = "5"
"""What Linux is told to begin a new peak; proc(5)."""


def reset_peak() -> int | None:
    """Hand back what is free, begin a new peak, and return the bytes that are resident now.

    None where the system cannot do that; then `peak` is of the process' whole life.
    """
    gc.collect()
    give_back()
    try:
        _CLEAR.write_text(RESET_PEAK)
    except OSError:
        return None
    return now()


def now() -> int | None:
    """Bytes; None where that cannot be found."""
    return _read("VmRSS")


def peak() -> int | None:
    """Bytes, since `reset_peak`; None where that cannot be found."""
    found = _read("VmHWM")
    if found is not None:
        return found
    with suppress(ImportError):
        import resource

        usage = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return usage if sys.platform == "darwin" else 1024 * usage
    return None


def _read(name: str) -> int | None:
    try:
        lines = _STATUS.read_text().splitlines()
    except OSError:
        return None
    found = next((line.split() for line in lines if line.startswith(f"{name}:")), None)
    return None if found is None else 1024 * int(found[1])
