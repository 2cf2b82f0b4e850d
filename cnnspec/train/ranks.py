"""Several processes that make one run, as torchrun starts them."""

from __future__ import annotations

import os
from typing import Any, TypeVar

from cnnspec.backends.base import Backend, Ranks
from cnnspec.diagnostics import Diagnostic, SetupError

__all__ = ["first", "joined", "only_first"]

ValueT = TypeVar("ValueT")


def first() -> bool:
    """Whether this process is the only one, or the first of several, which speaks for them all."""
    return os.environ.get("RANK", "0") == "0"


def joined(backend: Backend, device: str) -> Ranks | None:
    """The processes of this run; None where it is alone.

    Raises:
        SetupError: the back end knows nothing of others, or they cannot be reached.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) < 2:
        return None
    join: Any = getattr(backend, "join", None)
    if join is None:
        raise SetupError(
            Diagnostic(
                "one-process-only",
                f"the back end {backend.name} trains in one process, and torchrun has started "
                f"{os.environ['WORLD_SIZE']}",
                help="`--backend torch`, or the command without torchrun",
            )
        )
    ranks: Ranks = join(device)
    return ranks


def only_first(ranks: Ranks | None, value: ValueT) -> ValueT:
    """What the first process has."""
    if ranks is None:
        return value
    found: ValueT = ranks.broadcast(value)
    return found
