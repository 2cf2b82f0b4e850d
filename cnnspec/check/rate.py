"""The learning rate that a network without `train:` is checked with."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from cnnspec.check.pieces import root_mean_square
from cnnspec.training import DEFAULT_RATE

Array = npt.NDArray[Any]

MOST_MOVED = 2.0**-8
"""Of a parameter, by the first update. Behind many norms gradients are large, and weights that
move further multiply a rounding by thousands in every update."""
SMALLEST = 1e-9


def furthest(gradients: Mapping[str, Array], weights: Mapping[str, Array]) -> float:
    """How far a learning rate of 1 moves the parameter that it moves furthest.

    Returns:
        The root mean square of its gradient in proportion to its own, 0 if there is none.
    """
    with np.errstate(over="ignore"):
        sizes = {name: root_mean_square(weights[name]) for name in gradients}
        moved = [root_mean_square(gradients[n]) / size for n, size in sizes.items() if size]
    return max(moved, default=0.0)


def fitting(far: float) -> float:
    """The largest power of ten up to the default at which no parameter moves too far.

    Args:
        far: how far a rate of 1 would move it, not a number where no rate is right.
    """
    rate = DEFAULT_RATE
    while math.isfinite(far) and rate * far > MOST_MOVED and rate > SMALLEST:
        rate = float(f"{rate / 10:.0e}")
    return rate
