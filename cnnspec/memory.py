"""What would not fit into this machine's memory is refused with the figures, and not tried."""

from __future__ import annotations

import os
from pathlib import Path

from cnnspec.diagnostics import Diagnostic, SetupError
from cnnspec.graph import Graph

__all__ = ["available", "require", "weights_bytes"]

_CGROUP_LIMITS = (
    Path("/sys/fs/cgroup/memory.max"),
    Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"),
)


def weights_bytes(graph: Graph, itemsize: int = 8) -> int:
    """Bytes of all parameters and running statistics, `itemsize` for each element."""
    return itemsize * sum(param.size for param in graph.params().values())


def available() -> int | None:
    """Bytes of physical memory that this process may use in all; None where it cannot be found."""
    try:
        found = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    except (AttributeError, ValueError, OSError):
        return None
    for path in _CGROUP_LIMITS:
        try:
            found.append(int(path.read_text()))
        except (OSError, ValueError):  # no container, or no limit ("max")
            continue
    return min(found)


def require(needed: int, purpose: str) -> None:
    """Refuse what needs more bytes than there are.

    Args:
        needed: bytes, a lower bound.
        purpose: what for, such as "the weights".

    Raises:
        SetupError: there is not as much memory.
    """
    have = available()
    if have is not None and needed > have:
        raise SetupError(
            Diagnostic(
                "not-enough-memory",
                f"{purpose} would take {_gib(needed)}, and this machine has {_gib(have)}",
            )
        )


def _gib(count: int) -> str:
    return f"{count / 2**30:,.1f} GiB of memory"
