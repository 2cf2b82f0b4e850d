"""How each optimizer is spelled in the torch file: torch's own, where that means the spec's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from cnnspec.backends.training import given
from cnnspec.training import Adam, Optimizer, Sgd

__all__ = ["OPTIMIZERS", "spelled"]

Spelled = tuple[str, dict[str, object]]
"""The class, and its options besides rate and decay."""


def _sgd(made: Sgd) -> Spelled:
    return "torch.optim.SGD", given(made, "momentum", "dampening", "nesterov")


def _adam(made: Adam) -> Spelled:
    return "torch.optim.Adam", {"betas": made.betas, "eps": made.eps}


OPTIMIZERS: dict[type[Optimizer], Callable[[Any], Spelled]] = {
    Sgd: _sgd,
    Adam: _adam,
}

DECOUPLED: tuple[type[Optimizer], ...] = ()
"""Those whose own `weight_decay` is decoupled."""


def spelled(made: Optimizer) -> Spelled:
    """The class, and its options besides rate and decay."""
    return OPTIMIZERS[type(made)](made)
