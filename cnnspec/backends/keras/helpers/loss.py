"""Sums of losses, with the weights that make means of them."""

from __future__ import annotations

from typing import Any

from keras import ops


def cross_entropy(outputs: Any, targets: Any) -> tuple[Any, Any]:
    """Sum of -log softmax(outputs)[label], and the number of labels."""
    labels = ops.cast(targets, "int32")
    # A copy, since Keras takes what goes into a sigmoid or softmax in the place of its value.
    losses = ops.sparse_categorical_crossentropy(labels, ops.copy(outputs), from_logits=True)
    return ops.sum(losses), ops.cast(ops.size(labels), losses.dtype)


def squared_error(outputs: Any, targets: Any) -> tuple[Any, Any]:
    """Sum of (output - target)^2, and the number of elements."""
    losses = ops.square(outputs - targets)
    return ops.sum(losses), ops.cast(ops.size(losses), losses.dtype)
