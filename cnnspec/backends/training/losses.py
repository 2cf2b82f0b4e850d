"""How each loss is spelled in the NumPy and the Keras file, whose own functions are called alike.

NumPy's give ((sum, weight), gradient of the sum), those of Keras (sum, weight).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from cnnspec.backends.training import given
from cnnspec.backends.writer import Call, Code, call
from cnnspec.training import (
    BinaryCrossEntropy,
    CrossEntropy,
    Hinge,
    Huber,
    KlDivergence,
    Loss,
    MeanAbsoluteError,
    MeanSquaredError,
    MultiMargin,
    SquaredHinge,
)

__all__ = ["LOSSES", "function", "spelled"]


def _cross_entropy(loss: CrossEntropy, output: Code, target: Code) -> Call:
    options = given(loss, "label_smoothing", "class_weights", "weight_norm")
    if loss.targets == "probabilities":
        return call("soft_cross_entropy", output, target, **options)
    if options:
        return call("soft_cross_entropy", output, call("one_hot", target, output), **options)
    return call("cross_entropy", output, target)


def _binary_cross_entropy(loss: BinaryCrossEntropy, output: Code, target: Code) -> Call:
    options = given(loss, "label_smoothing", "pos_weight")
    return call("binary_cross_entropy", output, target, **options)


def _huber(loss: Huber, output: Code, target: Code) -> Call:
    return call("huber", output, target, delta=loss.delta)


def _plain(name: str) -> Callable[[Any, Code, Code], Call]:
    """A function without options."""
    return lambda _, output, target: call(name, output, target)


LOSSES: dict[type[Loss], Callable[[Any, Code, Code], Call]] = {
    CrossEntropy: _cross_entropy,
    BinaryCrossEntropy: _binary_cross_entropy,
    MeanSquaredError: _plain("squared_error"),
    MeanAbsoluteError: _plain("absolute_error"),
    Huber: _huber,
    Hinge: _plain("hinge"),
    SquaredHinge: _plain("squared_hinge"),
    MultiMargin: _plain("multi_margin"),
    KlDivergence: _plain("kl_divergence"),
}


def spelled(loss: Loss, output: str, target: str) -> Call:
    """The call of a loss's function."""
    return LOSSES[type(loss)](loss, Code(output), Code(target))


def function(loss: Loss) -> Code:
    """The same as a function of outputs and targets."""
    made = spelled(loss, "y", "t")
    alone = made.args == ("y", "t") and not made.kwargs
    return Code(made.function if alone else f"lambda y, t: {made}")
