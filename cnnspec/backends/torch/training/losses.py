"""How each loss is spelled in the torch file: torch's own, where that means the spec's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from cnnspec.backends.training import given
from cnnspec.backends.writer import Code, call
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

__all__ = ["LOSSES", "spelled"]


def _cross_entropy(loss: CrossEntropy, output: Code, target: Code) -> Code:
    options = given(loss, "label_smoothing")
    if loss.class_weights is not None:
        name, weights = "weighted_cross_entropy", (loss.class_weights, loss.weight_norm)
        return call(name, output, target, *weights, **options)
    total = call("F.cross_entropy", output, target, reduction="sum", **options)
    return _over_positions(total, loss, target)


def _binary_cross_entropy(loss: BinaryCrossEntropy, output: Code, target: Code) -> Code:
    options = given(loss, "label_smoothing", "pos_weight")
    if options:
        return _over_elements(call("binary_cross_entropy", output, target, **options), target)
    total = call("F.binary_cross_entropy_with_logits", output, target, reduction="sum")
    return _over_elements(total, target)


def _mean_squared_error(_: MeanSquaredError, output: Code, target: Code) -> Code:
    return _over_elements(call("F.mse_loss", output, target, reduction="sum"), target)


def _mean_absolute_error(_: MeanAbsoluteError, output: Code, target: Code) -> Code:
    return _over_elements(call("F.l1_loss", output, target, reduction="sum"), target)


def _huber(loss: Huber, output: Code, target: Code) -> Code:
    total = call("F.huber_loss", output, target, reduction="sum", delta=loss.delta)
    return _over_elements(total, target)


def _hinge(_: Hinge, output: Code, target: Code) -> Code:
    return _over_elements(Code(f"F.relu(1 - {target} * {output}).sum()"), target)


def _squared_hinge(_: SquaredHinge, output: Code, target: Code) -> Code:
    return _over_elements(Code(f"F.relu(1 - {target} * {output}).square().sum()"), target)


def _multi_margin(loss: MultiMargin, output: Code, target: Code) -> Code:
    # Torch's own is of (N, C), so that the axes of space go to the samples.
    rows, labels = Code(f"{output}.movedim(1, -1).flatten(0, -2)"), Code(f"{target}.flatten()")
    total = call("F.multi_margin_loss", rows, labels, reduction="sum")
    return _over_positions(total, loss, target)


def _kl_divergence(loss: KlDivergence, output: Code, target: Code) -> Code:
    logarithm = call("F.log_softmax", output, 1)
    total = call("F.kl_div", logarithm, target, reduction="sum")
    return _over_positions(total, loss, target)


def _over_elements(total: Code, target: Code) -> Code:
    return Code(f"({total}, {target}.numel())")


def _over_positions(total: Code, loss: Loss, target: Code) -> Code:
    labels = target if loss.expects == "labels" else Code(f"{target}[:, 0]")
    return Code(f"({total}, {labels}.numel())")


LOSSES: dict[type[Loss], Callable[[Any, Code, Code], Code]] = {
    CrossEntropy: _cross_entropy,
    BinaryCrossEntropy: _binary_cross_entropy,
    MeanSquaredError: _mean_squared_error,
    MeanAbsoluteError: _mean_absolute_error,
    Huber: _huber,
    Hinge: _hinge,
    SquaredHinge: _squared_hinge,
    MultiMargin: _multi_margin,
    KlDivergence: _kl_divergence,
}


def spelled(loss: Loss, output: str, target: str) -> Code:
    """The sum of a loss over a batch, and its weight, as one expression."""
    return LOSSES[type(loss)](loss, Code(output), Code(target))
