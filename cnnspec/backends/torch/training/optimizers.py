"""How each optimizer is spelled in the torch file: torch's own, where that means the spec's."""

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
"""The class, and its options besides rate and decay."""


def _sgd(made: Sgd) -> Spelled:
    return "torch.optim.SGD", given(made, "momentum", "dampening", "nesterov")


def _adagrad(made: Adagrad) -> Spelled:
    return "torch.optim.Adagrad", {"eps": made.eps}


def _rmsprop(made: RmsProp) -> Spelled:
    arguments = {"alpha": made.alpha, "eps": made.eps, **given(made, "momentum")}
    return "CenteredRMSprop" if made.centered else "torch.optim.RMSprop", arguments


def _adam(made: Adam) -> Spelled:
    arguments = {"betas": made.betas, "eps": made.eps, **given(made, "amsgrad")}
    if not made.decoupled:
        return "torch.optim.Adam", arguments
    # Its own default is 0.01.
    return "torch.optim.AdamW", {**arguments, "weight_decay": made.weight_decay}


def _adadelta(made: Adadelta) -> Spelled:
    return "torch.optim.Adadelta", {"rho": made.rho, "eps": made.eps}


def _nadam(made: Nadam) -> Spelled:
    arguments = {"betas": made.betas, "eps": made.eps, "momentum_decay": made.momentum_decay}
    if made.decoupled:
        arguments["decoupled_weight_decay"] = True
    return "torch.optim.NAdam", arguments


def _adamax(made: Adamax) -> Spelled:
    return "torch.optim.Adamax", {"betas": made.betas, "eps": made.eps}


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

DECOUPLED: tuple[type[Optimizer], ...] = (Adam, Nadam)
"""Those of which torch has one whose own `weight_decay` is decoupled."""


def spelled(made: Optimizer) -> Spelled:
    """The class, and its options besides rate and decay."""
    return OPTIMIZERS[type(made)](made)
