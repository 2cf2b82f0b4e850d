"""How the fields of transposed, depthwise and separable convolutions are drawn at random."""

from __future__ import annotations

from typing import Any

from cnnspec.ops import conv_transpose, depthwise_conv
from cnnspec.ops.base import Shape, spatial
from cnnspec.ops.fields import CROPS
from cnnspec.testing import choices as st
from cnnspec.testing.strategies import (
    MOST_CHANNELS,
    MOST_KERNEL,
    OPS,
    Draw,
    Fields,
    initializers,
    literals,
    padding,
    per_axis,
    some,
)


def crops(rank: int, most: int = 2) -> st.Choice[Any]:
    """Every form of a transposed convolution's padding."""
    side = st.integers(0, most)
    forms: list[st.Choice[Any]] = [side, st.sampled_from(CROPS)]
    if rank:
        pair = st.lists(side, min_size=2, max_size=2)
        forms += [st.lists(form, min_size=rank, max_size=rank) for form in (side, pair)]
    return st.one_of(forms)


def output_padding(rank: int) -> st.Choice[Any]:
    """A number for all axes, or a list with one for each."""
    number = st.integers(0, 2)
    return number | st.lists(number, min_size=rank, max_size=rank) if rank else number


@OPS(conv_transpose.ConvTranspose)
def _conv_transpose(draw: Draw, shape: Shape) -> Fields:
    channels, rank = shape[0], len(spatial(shape))
    groups = draw(st.sampled_from([g for g in range(1, channels + 1) if channels % g == 0]))
    found: Fields = {
        "filters": groups * draw(st.integers(1, max(1, MOST_CHANNELS // groups))),
        "kernel": draw(per_axis(rank, MOST_KERNEL)),
    }
    if groups > 1:
        found["groups"] = groups
    some(
        draw,
        found,
        stride=per_axis(rank, 3),
        padding=crops(rank),
        output_padding=output_padding(rank),
        dilation=per_axis(rank, 3),
        bias=st.booleans(),
    )
    some(draw, found, weight_init=initializers(), bias_init=initializers(vector=True))
    return found


@OPS(depthwise_conv.DepthwiseConv)
def _depthwise_conv(draw: Draw, shape: Shape) -> Fields:
    rank = len(spatial(shape))
    found: Fields = {"kernel": draw(per_axis(rank, MOST_KERNEL))}
    some(
        draw,
        found,
        multiplier=st.integers(1, 3),
        stride=per_axis(rank, 3),
        padding=padding(rank),
        dilation=per_axis(rank, 3),
        padding_mode=literals(depthwise_conv.DepthwiseConv, "padding_mode"),
        flip=st.booleans(),
        bias=st.booleans(),
    )
    some(draw, found, weight_init=initializers(), bias_init=initializers(vector=True))
    return found


@OPS(depthwise_conv.SeparableConv)
def _separable_conv(draw: Draw, shape: Shape) -> Fields:
    rank = len(spatial(shape))
    found: Fields = {
        "filters": draw(st.integers(1, MOST_CHANNELS)),
        "kernel": draw(per_axis(rank, MOST_KERNEL)),
    }
    some(
        draw,
        found,
        multiplier=st.integers(1, 3),
        stride=per_axis(rank, 3),
        padding=padding(rank),
        dilation=per_axis(rank, 3),
        bias=st.booleans(),
    )
    some(
        draw,
        found,
        weight_init=initializers(),
        depthwise_init=initializers(),
        pointwise_init=initializers(),
        bias_init=initializers(vector=True),
    )
    return found
