"""How each loss is spelled in the torch file."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from cnnspec.backends.writer import Code, call
from cnnspec.training import CrossEntropy, Loss, MeanSquaredError

__all__ = ["LOSSES", "spelled"]

Spelled = tuple[Code, Code]
"""The sum over a batch, and its weight."""


def _cross_entropy(_: CrossEntropy, output: Code, target: Code) -> Spelled:
    total = call("F.cross_entropy", output, target, reduction="sum")
    return total, Code(f"{target}.numel()")


def _mean_squared_error(_: MeanSquaredError, output: Code, target: Code) -> Spelled:
    return call("F.mse_loss", output, target, reduction="sum"), Code(f"{target}.numel()")


LOSSES: dict[type[Loss], Callable[[Any, Code, Code], Spelled]] = {
    CrossEntropy: _cross_entropy,
    MeanSquaredError: _mean_squared_error,
}


def spelled(loss: Loss, output: str, target: str) -> Spelled:
    """The sum of a loss over a batch, and its weight."""
    return LOSSES[type(loss)](loss, Code(output), Code(target))
