"""Cases whose expected values are not what ONNX's own text says, with the proof of it.

Each names the values that its node has by that text, and those that the expected ones follow;
both are computed here on their own, without cnnspec.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from tests.conformance.case import Array, Case


@dataclass(frozen=True, slots=True)
class Difference:
    """Why a case is not followed.

    Attributes:
        reason: in one sentence.
        documented: what the node gives by ONNX's text; back ends are within their bound of it.
        followed: what the expected values follow.
        tolerance: how far the expected values may lie from that, and why is in the reason.
    """

    reason: str
    documented: Callable[[Case], Array]
    followed: Callable[[Case], Array]
    tolerance: float


def _mean_over_padding(case: Case) -> Array:
    """The one window covers all of the input and 9 places altogether."""
    sums = [sum(Fraction(float(v)) for v in channel.ravel()) for channel in case.inputs[0][0]]
    return np.array([float(total / 9) for total in sums]).reshape(case.expected.shape)


def _linear(position: Fraction, n: int) -> dict[int, float]:
    """Weights of the elements around a position; beyond the ends stands the edge."""
    first = position.numerator // position.denominator
    t = float(position - first)
    return _clamped({first: 1 - t, first + 1: t}, n)


def _cubic(position: Fraction, n: int) -> dict[int, float]:
    """Keys' cubic with a = -0.75."""
    first = position.numerator // position.denominator
    a, found = -0.75, {}
    for i in range(first - 1, first + 3):
        d = abs(float(position - i))
        near = ((a + 2) * d - (a + 3)) * d * d + 1
        found[i] = near if d <= 1 else ((a * d - 5 * a) * d + 8 * a) * d - 4 * a
    return _clamped(found, n)


def _clamped(weights: dict[int, float], n: int) -> dict[int, float]:
    found = dict.fromkeys(range(n), 0.0)
    for i, weight in weights.items():
        found[min(max(i, 0), n - 1)] += weight
    return found


def _resized(case: Case, lengths: Sequence[Fraction]) -> Array:
    """Read at i (n - 1) / (length - 1) along each axis of space."""
    kernel = _cubic if case.attributes["mode"] == "cubic" else _linear
    value: Array = case.inputs[0].astype(np.float64)
    for axis, length in enumerate(lengths, 2):
        n, o = value.shape[axis], case.expected.shape[axis]
        rows = []
        for i in range(o):
            position = i * (n - 1) / (length - 1) if length != 1 else Fraction(0)
            rows.append(list(kernel(position, n).values()))
        value = np.moveaxis(np.tensordot(np.array(rows), value, (1, axis)), 0, axis)
    return value


def _by_size(case: Case) -> Array:
    return _resized(case, [Fraction(o) for o in case.expected.shape[2:]])


def _by_scale(case: Case) -> Array:
    sizes = zip(case.inputs[0].shape[2:], case.inputs[2][2:], strict=True)
    return _resized(case, [n * Fraction(str(scale)) for n, scale in sizes])


FRACTIONAL_LENGTH = Difference(
    "with align_corners ONNX documents i * (length_original - 1) / (length_resized - 1), which "
    "reads the last element last; its expected values have scale * length_original, before it is "
    "rounded down, in the place of length_resized, and never read the last element",
    _by_size,
    _by_scale,
    1e-5,  # float32, and a scale rounded to it
)

DIFFERENCES = {
    "averagepool_2d_ceil_last_window_starts_on_pad": Difference(
        "inputs and expected values were printed with four digits somewhere else: four inputs in "
        "a mean over nine, each off by up to half a digit, and the mean itself, make 7.3e-5",
        _mean_over_padding,
        _mean_over_padding,
        0.5e-4 * (1 + 4 / 9) + 1e-6,
    ),
    "resize_downsample_scales_cubic_align_corners": FRACTIONAL_LENGTH,
    "resize_downsample_scales_linear_align_corners": FRACTIONAL_LENGTH,
}
"""By name of the case."""
