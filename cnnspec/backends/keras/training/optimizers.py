"""How each optimizer is spelled in the Keras file: a helper class with the spec's formulas."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from cnnspec.backends.training import given
from cnnspec.training import Adam, Optimizer, Sgd

__all__ = ["OPTIMIZERS", "spelled"]

Spelled = tuple[str, dict[str, object]]
"""The class, and its options besides those of all."""


def _sgd(made: Sgd) -> Spelled:
    return "SGD", given(made, "momentum", "dampening", "nesterov")


def _adam(made: Adam) -> Spelled:
    return "Adam", {"betas": made.betas, "epsilon": made.eps}


OPTIMIZERS: dict[type[Optimizer], Callable[[Any], Spelled]] = {
    Sgd: _sgd,
    Adam: _adam,
}


def spelled(made: Optimizer) -> Spelled:
    """The class, and its options besides those of all."""
    return OPTIMIZERS[type(made)](made)
