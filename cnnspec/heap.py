"""Memory that is freed stays with the process: getting it anew costs more than arithmetic does.

The kernel clears every page that it hands out, and the C library hands large arrays back as soon
as they are freed. Where a process makes arrays of megabytes again and again, adding two of them
takes less time than getting the memory of their sum.
"""

from __future__ import annotations

import ctypes
from contextlib import suppress

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, M_ARENA_MAX = -1, -3, -8  # of glibc's malloc.h
MOST = 2**31 - 1
"""Bytes; it takes an int."""
USUAL = 1 << 25
"""Up to which the library itself raises both."""


def keep_freed_memory(most: int = MOST) -> None:
    """Let arrays of up to 2 GiB live in the heap, and 2 GiB of it stay; nothing without glibc."""
    with suppress(AttributeError, OSError, TypeError):
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(M_TRIM_THRESHOLD, most)
        mallopt(M_MMAP_THRESHOLD, most)
        mallopt(M_ARENA_MAX, 1)  # that of another thread has no room for large arrays


def give_back() -> None:
    """Hand back what is free now, where another process needs it more; nothing without glibc."""
    with suppress(AttributeError, OSError, TypeError):
        ctypes.CDLL(None).malloc_trim(0)
