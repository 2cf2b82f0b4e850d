"""Comparing two answers, element by element, against a bound; the result is data."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

Quantity = Literal["forward", "input_gradient", "parameter_gradient", "running_statistics", "step"]
Mode = Literal["isolated", "end_to_end"]


@dataclass(frozen=True, slots=True)
class Worst:
    """The element that lies furthest outside, or least inside, its bound."""

    index: tuple[int, ...]
    a: float
    b: float
    bound: float


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two back ends' answers for one tensor.

    Attributes:
        backends: the pair; the first is the reference where there is one.
        quantity: what was compared.
        mode: isolated or end to end.
        dtype: of the arithmetic that is judged.
        training: whether in training mode.
        node: the layer.
        name: the tensor: an input, output, or canonical parameter name.
        agree: whether every element is within its bound.
        max_error: largest absolute difference.
        magnitude: largest absolute value of the first answer.
        bound: the bound at the worst element.
        worst: that element.
        judged: false where the answer may rightly differ; `reason` says why.
        update: for a step, how many updates were done before it.
        reference_error: in float32, the distance of a plain NumPy evaluation.
    """

    backends: tuple[str, str]
    quantity: Quantity
    mode: Mode
    dtype: str
    training: bool
    node: str
    name: str
    agree: bool
    max_error: float
    magnitude: float
    bound: float
    worst: Worst | None
    judged: bool = True
    reason: str = ""
    update: int | None = None
    reference_error: float | None = None

    @property
    def relative(self) -> float:
        """max|a-b| / max|a| over the tensor."""
        if self.max_error == 0:
            return 0.0
        return self.max_error / self.magnitude if self.magnitude else math.inf


def compare(a: Array, b: Array, bound: Any, **about: Any) -> Comparison:
    """Hold two tensors against each other; what is not finite, or of another shape, disagrees."""
    a, b = np.asarray(a), np.asarray(b)
    if a.shape != b.shape:
        return Comparison(
            agree=False,
            max_error=math.inf,
            magnitude=_magnitude(a),
            bound=0.0,
            worst=None,
            **{**about, "reason": f"shapes {a.shape} and {b.shape}"},
        )
    if not a.size:
        return Comparison(agree=True, max_error=0.0, magnitude=0.0, bound=0.0, worst=None, **about)
    a64, b64 = a.astype(np.float64), b.astype(np.float64)
    limit = np.broadcast_to(np.asarray(bound, dtype=np.float64), a.shape)
    with np.errstate(invalid="ignore", over="ignore"):
        error = np.abs(a64 - b64)
    # An infinity or NaN is never right, not even the same one on both sides.
    error = np.where(np.isfinite(a64) & np.isfinite(b64), error, math.inf)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        ratio = np.where(error == 0, 0.0, error / limit)
    index = tuple(int(i) for i in np.unravel_index(int(np.argmax(ratio)), a.shape))
    return Comparison(
        agree=bool(np.all(error <= limit)),
        max_error=float(np.max(error)),
        magnitude=_magnitude(a64),
        bound=float(limit[index]),
        worst=Worst(index, float(a64[index]), float(b64[index]), float(limit[index])),
        **about,
    )


def _magnitude(value: Array) -> float:
    return float(np.max(np.abs(value))) if value.size else 0.0


def severity(comparison: Comparison) -> float:
    """Error over bound at the worst element, to find the worst of several."""
    worst = comparison.worst
    if worst is None:
        return math.inf if not comparison.agree else 0.0
    error = abs(worst.a - worst.b)
    if not math.isfinite(error):
        return math.inf
    if error == 0:
        return 0.0
    return error / worst.bound if worst.bound else math.inf
