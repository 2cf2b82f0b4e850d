"""How each loss is spelled in the NumPy file: a kernel that gives ((sum, weight), gradient)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from cnnspec.backends.writer import Code, call
from cnnspec.training import CrossEntropy, Loss, MeanSquaredError

__all__ = ["LOSSES", "spelled"]


def _cross_entropy(_: CrossEntropy, output: Code, target: Code) -> Code:
    return call("cross_entropy", output, target)


def _mean_squared_error(_: MeanSquaredError, output: Code, target: Code) -> Code:
    return call("squared_error", output, target)


LOSSES: dict[type[Loss], Callable[[Any, Code, Code], Code]] = {
    CrossEntropy: _cross_entropy,
    MeanSquaredError: _mean_squared_error,
}


def spelled(loss: Loss, output: str, target: str) -> Code:
    """The call of a loss's kernel."""
    return LOSSES[type(loss)](loss, Code(output), Code(target))
