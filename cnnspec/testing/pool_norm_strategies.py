"""How the fields of pools beyond the plain ones, of norms and of means are drawn."""

from __future__ import annotations

from typing import Any

from cnnspec.ops import adaptive_pool, norm, pool, reduce
from cnnspec.ops.axes import NAMES, WORDS
from cnnspec.ops.base import AXIS_NAMES, Shape, spatial
from cnnspec.testing import choices as st
from cnnspec.testing.strategies import (
    OPS,
    Draw,
    Fields,
    initializers,
    one_of,
    per_axis,
    some,
    window_fields,
)


@OPS(pool.LpPool)
def _lp_pool(draw: Draw, shape: Shape) -> Fields:
    found = window_fields(draw, shape)
    some(draw, found, p=one_of(1, 3, 1.5, 2.5))
    return found


@OPS(adaptive_pool.AdaptiveAvgPool, adaptive_pool.AdaptiveMaxPool)
def _adaptive_pool(draw: Draw, shape: Shape) -> Fields:
    return {"size": draw(per_axis(len(spatial(shape)), 6))}


def _axes(shape: Shape) -> st.Choice[Any]:
    """Every form of axes that an input of this shape has."""
    names = ("channels", *AXIS_NAMES.get(len(spatial(shape)), ()))
    words = [*WORDS, *(name for name in NAMES if name in names or name == "space")]
    listed = st.lists(st.sampled_from(names), min_size=1, max_size=len(names), unique=True)
    return st.sampled_from(words) | listed | st.just(["channels", "space"])


def _norm(draw: Draw, found: Fields, *, vector: bool = True) -> Fields:
    some(
        draw,
        found,
        eps=one_of(1e-3, 0.5),
        affine=st.booleans(),
        weight_init=initializers(vector=vector),
        bias_init=initializers(vector=vector),
    )
    return found


@OPS(norm.LayerNorm)
def _layer_norm(draw: Draw, shape: Shape) -> Fields:
    found: Fields = {}
    some(draw, found, axes=_axes(shape))
    return _norm(draw, found, vector=draw(st.booleans()))


@OPS(norm.GroupNorm)
def _group_norm(draw: Draw, shape: Shape) -> Fields:
    channels = shape[0]
    divisors = [n for n in range(1, channels + 1) if channels % n == 0]
    return _norm(draw, {"groups": draw(st.sampled_from(divisors))})


@OPS(norm.InstanceNorm)
def _instance_norm(draw: Draw, shape: Shape) -> Fields:
    return _norm(draw, {})


@OPS(norm.LocalResponseNorm)
def _local_response_norm(draw: Draw, shape: Shape) -> Fields:
    found: Fields = {}
    some(
        draw,
        found,
        size=one_of(3, 2, 1, 4, 9),
        alpha=one_of(0.5, 0, 5e-4),
        beta=one_of(0.5, 1, -0.25),
        k=one_of(2, 0.5),
    )
    return found


@OPS(norm.Normalize)
def _normalize(draw: Draw, shape: Shape) -> Fields:
    means, stds = one_of(0.1, 0, -0.75, 0.4914), one_of(0.25, 1, 0.3, 2)
    count = shape[0]
    return {
        "mean": draw(st.lists(means, min_size=count, max_size=count)),
        "std": draw(st.lists(stds, min_size=count, max_size=count)),
    }


@OPS(reduce.Mean)
def _mean(draw: Draw, shape: Shape) -> Fields:
    return {"axes": draw(_axes(shape))}
