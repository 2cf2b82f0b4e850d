"""Resize: `upsample`, where it reads at the positions that ONNX asks for."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import Any

from tests.conformance.case import Case
from tests.conformance.network import Network, Unsupported, positive

HALF = Fraction(1, 2)

ROUNDING: dict[str, Callable[[Fraction], int]] = {
    "floor": math.floor,
    "ceil": math.ceil,
    "round_prefer_floor": lambda x: math.ceil(x - HALF),
    "round_prefer_ceil": lambda x: math.floor(x + HALF),
}


def resize(case: Case) -> Network:
    """Resize is `upsample` to the size that comes out, if positions agree along every axis."""
    attributes = case.attributes
    if attributes["antialias"]:
        raise Unsupported("a filter against aliasing: `upsample` has none")
    if attributes["exclude_outside"]:
        raise Unsupported("weights of what is outside, left out: `upsample` repeats the edge")
    x, mode = case.inputs[0], attributes["mode"]
    if mode == "cubic" and attributes["cubic_coeff_a"] != -0.75:
        raise Unsupported("a cubic with another coefficient than -0.75")
    if x.shape[:2] != case.expected.shape[:2]:
        raise Unsupported("`upsample` resizes space only")
    transformation = attributes["coordinate_transformation_mode"]
    if transformation == "tf_crop_and_resize":
        raise Unsupported("a region of the input (tf_crop_and_resize): `upsample` reads all of it")
    axes = [
        (n, o, _scale(case, 2 + axis))
        for axis, (n, o) in enumerate(zip(x.shape[2:], case.expected.shape[2:], strict=True))
    ]
    fields: dict[str, Any] = {"size": list(case.expected.shape[2:])}
    if mode == "nearest":
        fields["mode"] = _nearest(case, axes)
    else:
        fields["mode"] = "bicubic" if mode == "cubic" else "linear"
        fields["align_corners"] = transformation == "align_corners"
        for n, o, scale in axes:
            ours = [_ours(i, n, o, align=fields["align_corners"]) for i in range(o)]
            theirs = [_position(transformation, i, n, o, scale) for i in range(o)]
            if mode == "linear":  # beyond the ends both read what is there
                ours, theirs = _inside(ours, n), _inside(theirs, n)
            _require_same(transformation, scale, Fraction(o, n), ours, theirs)
    network = Network()
    network.output(network.layer("upsample", network.batch(x), **fields), case.expected)
    return network


def upsample(case: Case) -> Network:
    """Upsample, which Resize has replaced, by whole numbers."""
    x, scales = case.inputs
    network = Network(exact=True)
    layer = network.layer(
        "upsample",
        network.batch(x),
        scale=[int(scale) for scale in scales[2:]],
        mode=case.attributes["mode"],
    )
    network.output(layer, case.expected)
    return network


def _scale(case: Case, axis: int) -> Fraction:
    """The scale that ONNX computes with: the one given, or that of the sizes asked for."""
    x, scales, sizes = case.inputs[0], case.given(2), case.whole(3)
    axes = [positive(a, x.ndim) for a in case.attributes.get("axes", range(x.ndim))]
    if scales is not None:
        # 0.6 as written, not as float32 has it
        written = [Fraction(str(scale)) for scale in scales]
        return dict(zip(axes, written, strict=True)).get(axis, Fraction(1))
    assert sizes is not None
    wanted = {a: Fraction(size, x.shape[a]) for a, size in zip(axes, sizes, strict=True)}
    policy = case.attributes["keep_aspect_ratio_policy"]
    if policy != "stretch" and axis in wanted:
        return min(wanted.values()) if policy == "not_larger" else max(wanted.values())
    return wanted.get(axis, Fraction(1))


def _position(transformation: str, i: int, n: int, o: int, scale: Fraction) -> Fraction:
    """Where ONNX's documented formula reads output element i."""
    half_pixel = (i + HALF) / scale - HALF
    match transformation:
        case "half_pixel":
            return half_pixel
        case "pytorch_half_pixel":
            return half_pixel if o > 1 else Fraction(0)
        case "half_pixel_symmetric":
            return Fraction(n, 2) * (1 - o / (scale * n)) + half_pixel
        case "asymmetric":
            return i / scale
        case "align_corners":
            return _ours(i, n, o, align=True)
    raise Unsupported(f"positions by {transformation}")


def _ours(i: int, n: int, o: int, *, align: bool) -> Fraction:
    """Where `upsample` reads it."""
    if align:
        return Fraction(i * (n - 1), o - 1) if o > 1 else Fraction(0)
    return (i + HALF) * n / o - HALF


def _inside(positions: Sequence[Fraction], n: int) -> list[Fraction]:
    return [min(max(position, Fraction(0)), Fraction(n - 1)) for position in positions]


def _nearest(case: Case, axes: Sequence[tuple[int, int, Fraction]]) -> str:
    """The mode of `upsample` that takes the same elements."""
    transformation = case.attributes["coordinate_transformation_mode"]
    rounding = case.attributes["nearest_mode"]
    tables = [
        [
            min(max(ROUNDING[rounding](_position(transformation, i, n, o, scale)), 0), n - 1)
            for i in range(o)
        ]
        for n, o, scale in axes
    ]
    modes = {
        "nearest": [[i * n // o for i in range(o)] for n, o, _ in axes],
        "nearest_exact": [[(2 * i + 1) * n // (2 * o) for i in range(o)] for n, o, _ in axes],
    }
    for name, taken in modes.items():
        if taken == tables:
            return name
    raise Unsupported(
        f"`nearest` by {transformation} and {rounding} takes other elements at these sizes "
        "than `nearest` and `nearest_exact`"
    )


def _require_same(
    transformation: str,
    scale: Fraction,
    ratio: Fraction,
    ours: Sequence[Fraction],
    theirs: Sequence[Fraction],
) -> None:
    if ours == theirs:
        return
    if scale != ratio and transformation == "half_pixel":
        raise Unsupported(
            "a scale that is not the ratio of the sizes: `upsample` takes whole scales, or sizes"
        )
    raise Unsupported(f"positions by {transformation}: `upsample` has no such option")


CONVERTERS = {"Resize": resize, "Upsample": upsample}
