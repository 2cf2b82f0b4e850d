"""Targets as losses compare with them: what labels become, and what the values have to be."""

from __future__ import annotations

import numpy as np

from cnnspec.data.dataset import Array
from cnnspec.ops.base import Shape
from cnnspec.training.losses import Targets

__all__ = ["SLACK", "are_labels", "converted", "fault", "takes"]

SLACK = 1e-6
"""By which the probabilities of a position may miss 1, as they do in float32."""


def are_labels(target: Array, shape: Shape) -> bool:
    """Whether targets of an output of this shape are whole numbers without channels."""
    return bool(np.issubdtype(target.dtype, np.integer)) and target.ndim == len(shape)


def takes(kind: Targets, target: Array, shape: Shape) -> bool:
    """Whether a loss compares with such targets, of whatever size and values they are.

    Labels are probabilities of 0 and 1 as well, and where there is a single channel the values
    of that channel.
    """
    if kind == "labels":
        return bool(np.issubdtype(target.dtype, np.integer))
    if not are_labels(target, shape):
        return True
    return kind == "probabilities" or (shape[0] == 1 and kind in ("fractions", "signs"))


def converted(kind: Targets, target: Array, shape: Shape) -> Array:
    """Targets that the loss takes, as it reads them; the same array where that is what it is.

    Args:
        kind: what the loss expects.
        target: (N, *space) labels within the channels, or (N, C, *space).
        shape: of the output, (C, *space).
    """
    if kind == "labels" or not np.issubdtype(target.dtype, np.integer):
        return target
    if kind == "probabilities" and are_labels(target, shape):
        found = np.zeros((len(target), *shape))
        np.put_along_axis(found, target[:, None], 1, 1)
        return found
    return (target[:, None] if are_labels(target, shape) else target).astype(np.float64)


def fault(kind: Targets, target: Array) -> str:
    """What is wrong with the values of targets that have the output's shape; mostly nothing."""
    least, most = target.min(), target.max()
    match kind:
        case "fractions" if not (least >= 0 and most <= 1):
            return f"a value {_worst(target, (target >= 0) & (target <= 1))}, outside of 0 to 1"
        case "signs" if not np.isin(target, (-1, 1)).all():
            return f"a value {_worst(target, np.isin(target, (-1, 1)))}, and signs are -1 or 1"
        case "probabilities":
            sums = target.sum(1)
            if not least >= 0:
                return f"a probability {_worst(target, target >= 0)}, below 0"
            if not np.abs(sums - 1).max() <= SLACK:
                worst = sums.flat[np.abs(sums - 1).argmax()]
                return f"probabilities that add up to {worst:.9g} over the channels, not to 1"
    return ""


def _worst(target: Array, right: Array) -> str:
    """The first value that is not right."""
    return f"{target[~right].flat[0]:g}"
