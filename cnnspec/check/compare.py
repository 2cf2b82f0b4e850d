"""Comparing two answers, element by element, against a bound; the result is data."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from cnnspec.check.pieces import magnitude, pieces
from cnnspec.quantities import Mode, Quantity

Array = npt.NDArray[Any]


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
        mode: isolated, a probe of ties and kinks, end to end, or in inference after training;
            initial, where nothing has run; optimized, against what was optimized.
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
        terms: of the sum that each element is, where its bound is that of a sum; else 0.
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
    terms: int = 0

    @property
    def headroom(self) -> float | None:
        """The largest error over 8 sqrt(K) u B, what is seen in practice, for a sum of K terms.

        The bound is 2 K u B, which holds for the worst order of summation.
        """
        return severity(self) * math.sqrt(self.terms) / 4 if self.terms else None

    @property
    def relative(self) -> float:
        """max|a-b| / max|a| over the tensor."""
        if self.max_error == 0:
            return 0.0
        return self.max_error / self.magnitude if self.magnitude else math.inf


def compare(
    a: Array, b: Array, bound: Any, *, unit: float = 1.0, floor: float = 0.0, **about: Any
) -> Comparison:
    """Hold two tensors against each other; what is not finite, or of another shape, disagrees.

    Args:
        a: the first answer, of the reference where there is one.
        b: the second.
        bound: a number for each element, or one for all: two elements may lie
            `unit * bound + floor` apart.
        unit: what the bound is a coefficient of.
        floor: what is allowed in any case.
        **about: the other fields of the comparison.
    """
    a, b, bound = np.asarray(a), np.asarray(b), np.asarray(bound)
    if a.shape != b.shape:
        return Comparison(
            agree=False,
            max_error=math.inf,
            magnitude=magnitude(a),
            bound=0.0,
            worst=None,
            **{**about, "reason": f"shapes {a.shape} and {b.shape}"},
        )
    if not a.size:
        return Comparison(agree=True, max_error=0.0, magnitude=0.0, bound=0.0, worst=None, **about)
    if bound.shape != a.shape:
        bound = np.broadcast_to(bound, a.shape)
    agree, max_error, largest, worst_ratio = True, 0.0, 0.0, -1.0
    worst: tuple[int, float, float, float] = (0, 0.0, 0.0, 0.0)
    start = 0
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        for narrow in pieces(a, b, bound):
            left, right, coefficient = (x.astype(np.float64, copy=False) for x in narrow)
            limit = unit * coefficient + floor
            error = np.abs(left - right)
            # An infinity or NaN is never right, not even the same one on both sides.
            if not math.isfinite(magnitude(error)):
                error[~(np.isfinite(left) & np.isfinite(right))] = math.inf
            ratio = error / limit
            ratio[np.isinf(error)] = math.inf
            at = int(np.argmax(ratio))
            if math.isnan(ratio[at]):  # no error within no bound is 0 / 0
                ratio[error == 0] = 0.0
                at = int(np.argmax(ratio))
            agree = agree and bool(ratio[at] < 1 or np.all((error <= limit) & (error < math.inf)))
            max_error = max(max_error, float(error.max()))
            largest = max(largest, magnitude(left))
            if not ratio[at] <= worst_ratio:
                worst_ratio = float(ratio[at])
                worst = (start + at, float(left[at]), float(right[at]), float(limit[at]))
            start += len(left)
    index = tuple(int(i) for i in np.unravel_index(worst[0], a.shape))
    return Comparison(
        agree=agree,
        max_error=max_error,
        magnitude=largest,
        bound=worst[3],
        worst=Worst(index, *worst[1:]),
        **about,
    )


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
