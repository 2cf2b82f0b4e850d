"""How each optimizer is spelled in the NumPy file: a class of the kernel library."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from cnnspec.backends.training import given
from cnnspec.training import (
    Adadelta,
    Adagrad,
    Adam,
    Adamax,
    AdamW,
    Nadam,
    Optimizer,
    RmsProp,
    Sgd,
)

__all__ = ["OPTIMIZERS", "spelled"]

Spelled = tuple[str, dict[str, object]]
"""The class, and its options besides those of all."""


def _sgd(made: Sgd) -> Spelled:
    return "SGD", given(made, "momentum", "dampening", "nesterov")


def _adagrad(made: Adagrad) -> Spelled:
    return "Adagrad", {"eps": made.eps}


def _rmsprop(made: RmsProp) -> Spelled:
    return "RMSprop", {
        "alpha": made.alpha,
        "eps": made.eps,
        **given(made, "momentum", "centered"),
    }


def _adam(made: Adam) -> Spelled:
    return "Adam", {"betas": made.betas, "eps": made.eps, **given(made, "amsgrad")}


def _adadelta(made: Adadelta) -> Spelled:
    return "Adadelta", {"rho": made.rho, "eps": made.eps}


def _nadam(made: Nadam) -> Spelled:
    return "NAdam", {
        "betas": made.betas,
        "eps": made.eps,
        "momentum_decay": made.momentum_decay,
    }


def _adamax(made: Adamax) -> Spelled:
    return "Adamax", {"betas": made.betas, "eps": made.eps}


OPTIMIZERS: dict[type[Optimizer], Callable[[Any], Spelled]] = {
    Sgd: _sgd,
    Adagrad: _adagrad,
    RmsProp: _rmsprop,
    Adam: _adam,
    AdamW: _adam,
    Adadelta: _adadelta,
    Nadam: _nadam,
    Adamax: _adamax,
}


def spelled(made: Optimizer) -> Spelled:
    """The class, and its options besides those of all."""
    return OPTIMIZERS[type(made)](made)
