"""What would not fit into this machine's memory is refused with the figures, and not tried."""

from __future__ import annotations

import math
import os
from contextlib import suppress
from pathlib import Path

from cnnspec.diagnostics import Diagnostic, SetupError
from cnnspec.graph import Graph

__all__ = [
    "activation_bytes",
    "available",
    "drawing_bytes",
    "require",
    "session_bytes",
    "weights_bytes",
]

_MEMINFO = Path("/proc/meminfo")
_CGROUP_LIMITS = (
    Path("/sys/fs/cgroup/memory.max"),
    Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"),
)


def weights_bytes(graph: Graph, itemsize: int = 8) -> int:
    """Bytes of all parameters and running statistics, `itemsize` for each element."""
    return itemsize * sum(param.size for param in graph.params().values())


def drawing_bytes(graph: Graph) -> int:
    """Bytes at the moment when the largest parameter is drawn, beside all others."""
    largest = max((param.size for param in graph.params().values()), default=0)
    # Random words, uniforms and what is made of them, all of 8 bytes.
    return weights_bytes(graph) + 3 * 8 * largest


def activation_bytes(graph: Graph, batch: int, itemsize: int = 8) -> int:
    """Bytes of every layer's input and output for a batch."""
    elements = sum(
        math.prod(shape) for node in graph.nodes for shape in (node.shape, *node.input_shapes)
    )
    return itemsize * batch * elements


def session_bytes(graph: Graph, batch: int, itemsize: int = 8) -> int:
    """A lower bound of what one model needs for a training step.

    That is parameters, gradients and an optimizer's buffer, each value that backward needs, and
    its gradient.
    """
    return 3 * weights_bytes(graph, itemsize) + 2 * activation_bytes(graph, batch, itemsize)


def available() -> int | None:
    """Bytes of memory that this process may use; None where that cannot be found."""
    try:
        found = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    except (AttributeError, ValueError, OSError):
        return None
    with suppress(
        OSError, ValueError, IndexError, StopIteration
    ):  # other systems have no such file
        lines = _MEMINFO.read_text().splitlines()
        free = next(line.split() for line in lines if line.startswith("MemAvailable:"))
        found.append(1024 * int(free[1]))
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
                f"{purpose} would take {_gib(needed)}, and this machine has {_gib(have)} to give",
            )
        )


def _gib(count: int) -> str:
    return f"{count / 2**30:,.1f} GiB of memory"
