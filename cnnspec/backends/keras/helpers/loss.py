"""Sums of losses, with the weights that make means of them; channels are the last axis."""

from __future__ import annotations

from typing import Any

from keras import ops


def cross_entropy(outputs: Any, targets: Any) -> tuple[Any, Any]:
    """Sum of -log softmax(outputs)[label], and the number of labels."""
    labels = ops.cast(targets, "int32")
    # A copy, since Keras takes what goes into a sigmoid or softmax in the place of its value.
    losses = ops.sparse_categorical_crossentropy(labels, ops.copy(outputs), from_logits=True)
    return ops.sum(losses), ops.cast(ops.size(labels), losses.dtype)


def soft_cross_entropy(
    outputs: Any,
    targets: Any,
    label_smoothing: float = 0.0,
    class_weights: Any = (1.0,),
    weight_norm: str = "batch",
) -> tuple[Any, Any]:
    """Sum of -weight * target * log softmax(outputs); targets may be smoothed.

    Its own weight is the number of positions (`batch`), or of the targets' weights (`sum_w`).
    """
    weights = ops.convert_to_tensor(class_weights, outputs.dtype)
    smoothed = (1 - label_smoothing) * targets + label_smoothing / targets.shape[-1]
    losses = -weights * smoothed * ops.log_softmax(outputs)
    if weight_norm == "sum_w":
        return ops.sum(losses), ops.sum(weights * targets)
    return ops.sum(losses), ops.cast(ops.size(targets[..., 0]), losses.dtype)


def one_hot(labels: Any, outputs: Any) -> Any:
    """1 in the channel of the label, else 0, in the shape of the outputs."""
    return ops.one_hot(ops.cast(labels, "int32"), outputs.shape[-1], dtype=outputs.dtype)


def kl_divergence(outputs: Any, targets: Any) -> tuple[Any, Any]:
    """Sum of target * (log target - log softmax(outputs)), and the number of positions."""
    logarithms = ops.log(ops.where(targets > 0, targets, 1.0))  # 0 log 0 is 0
    losses = targets * logarithms - targets * ops.log_softmax(outputs)
    return ops.sum(losses), ops.cast(ops.size(targets[..., 0]), losses.dtype)


def binary_cross_entropy(
    outputs: Any, targets: Any, label_smoothing: float = 0.0, pos_weight: Any = 1.0
) -> tuple[Any, Any]:
    """Sum of -w t log sigmoid(outputs) - (1 - t) log sigmoid(-outputs), over all elements."""
    weights = ops.convert_to_tensor(pos_weight, outputs.dtype)
    smoothed = (1 - label_smoothing) * targets + label_smoothing / 2
    losses = weights * smoothed * ops.softplus(-outputs) + (1 - smoothed) * ops.softplus(outputs)
    return ops.sum(losses), ops.cast(ops.size(losses), losses.dtype)


def squared_error(outputs: Any, targets: Any) -> tuple[Any, Any]:
    """Sum of (output - target)^2, and the number of elements."""
    losses = ops.square(outputs - targets)
    return ops.sum(losses), ops.cast(ops.size(losses), losses.dtype)


def absolute_error(outputs: Any, targets: Any) -> tuple[Any, Any]:
    """Sum of |output - target|, and the number of elements."""
    losses = ops.abs(outputs - targets)
    return ops.sum(losses), ops.cast(ops.size(losses), losses.dtype)


def huber(outputs: Any, targets: Any, delta: float = 1.0) -> tuple[Any, Any]:
    """Sum of half the squares of output - target up to delta, from there on a line."""
    distances = ops.abs(outputs - targets)
    squared = ops.minimum(distances, ops.convert_to_tensor(delta, outputs.dtype))
    losses = squared * (distances - squared / 2)
    return ops.sum(losses), ops.cast(ops.size(losses), losses.dtype)


def hinge(outputs: Any, targets: Any) -> tuple[Any, Any]:
    """Sum of max(0, 1 - target * output), and the number of elements."""
    losses = ops.relu(1 - targets * outputs)
    return ops.sum(losses), ops.cast(ops.size(losses), losses.dtype)


def squared_hinge(outputs: Any, targets: Any) -> tuple[Any, Any]:
    """Sum of max(0, 1 - target * output)^2, and the number of elements."""
    losses = ops.square(ops.relu(1 - targets * outputs))
    return ops.sum(losses), ops.cast(ops.size(losses), losses.dtype)


def multi_margin(outputs: Any, targets: Any) -> tuple[Any, Any]:
    """Sum of max(0, 1 - output[label] + output[c]) over the other channels c, divided by C."""
    label = one_hot(targets, outputs)
    losses = ops.relu(1 - ops.sum(label * outputs, -1, keepdims=True) + outputs) * (1 - label)
    return ops.sum(losses) / outputs.shape[-1], ops.cast(ops.size(targets), losses.dtype)
