"""How each loss is spelled in the Keras file: a helper that gives (sum, weight)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from cnnspec.backends.writer import Code, call
from cnnspec.training import CrossEntropy, Loss, MeanSquaredError

__all__ = ["LOSSES", "function", "spelled"]

Spelled = tuple[str, dict[str, object]]
"""The helper, and its options."""


def _cross_entropy(_: CrossEntropy) -> Spelled:
    return "cross_entropy", {}


def _mean_squared_error(_: MeanSquaredError) -> Spelled:
    return "squared_error", {}


LOSSES: dict[type[Loss], Callable[[Any], Spelled]] = {
    CrossEntropy: _cross_entropy,
    MeanSquaredError: _mean_squared_error,
}


def spelled(loss: Loss, outputs: str, targets: str) -> Code:
    """The call of a loss's helper."""
    name, options = LOSSES[type(loss)](loss)
    return call(name, Code(outputs), Code(targets), **options)


def function(loss: Loss) -> Code:
    """The same as a function of outputs and targets."""
    name, options = LOSSES[type(loss)](loss)
    return Code(f"lambda y, t: {call(name, Code('y'), Code('t'), **options)}" if options else name)
