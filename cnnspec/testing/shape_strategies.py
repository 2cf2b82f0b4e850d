"""How the fields of ops that join, cut, resize and reshape are drawn at random."""

from __future__ import annotations

import itertools
import math
from typing import Any

from cnnspec.ops import merge, pad, reshape, resize, slicing
from cnnspec.ops.base import AXIS_NAMES, Shape, spatial
from cnnspec.testing import choices as st
from cnnspec.testing.strategies import OPS, Draw, Fields, literals, one_of, some

MOST_FACTOR = 3


@OPS(merge.Average, merge.Maximum, merge.Multiply, merge.Subtract)
def _bare(draw: Draw, *shapes: Shape) -> Fields:
    return {}


def divisors(number: int) -> st.Choice[int]:
    """What divides a number, the largest first: 1 changes nothing."""
    return st.sampled_from([d for d in range(number, 0, -1) if number % d == 0])


def sides(rank: int, most: int) -> st.Choice[Any]:
    """Elements at each side, in every form."""
    side = st.integers(0, most)
    pair = st.lists(side, min_size=2, max_size=2)
    lists = (st.lists(form, min_size=rank, max_size=rank) for form in (pair, side))
    return st.one_of((side, *(lists if rank else ())))


@OPS(slicing.Slice)
def _slice(draw: Draw, shape: Shape) -> Fields:
    names = ("channels", *AXIS_NAMES.get(len(spatial(shape)), ()))
    sizes = dict(zip(names, shape, strict=True))
    chosen = draw(st.lists(st.sampled_from(names), min_size=1, unique=True))
    return {name: draw(_range(sizes[name])) for name in chosen}


@st.composite
def _range(draw: Draw, size: int) -> list[int | None]:
    start = draw(st.integers(0, size - 1))
    stop = draw(st.integers(start + 1, size))
    first = draw(st.sampled_from((start, start - size, None)))
    last = draw(st.sampled_from((stop, stop - size or None, None)))
    return [first, last, *draw(st.sampled_from(((), (2,), (1,), (3,))))]


@OPS(slicing.Split)
def _split(draw: Draw, shape: Shape) -> Fields:
    channels = shape[0]
    if draw(st.booleans()):
        return {"into": draw(divisors(channels))}
    ends = {0, channels, *draw(st.lists(st.integers(1, channels), max_size=2))}
    marks = sorted(ends)
    return {"sizes": [b - a for a, b in itertools.pairwise(marks)]}


@OPS(pad.Pad)
def _pad(draw: Draw, shape: Shape) -> Fields:
    found: Fields = {"padding": draw(sides(len(spatial(shape)), 3))}
    some(draw, found, mode=literals(pad.Pad, "mode"))
    if found.get("mode") == "constant":
        some(draw, found, value=one_of(0.1, -2, 0.75))
    return found


@OPS(pad.Crop)
def _crop(draw: Draw, shape: Shape) -> Fields:
    return {"cropping": draw(sides(len(spatial(shape)), 2))}


@OPS(resize.Upsample)
def _upsample(draw: Draw, shape: Shape) -> Fields:
    rank = len(spatial(shape))
    found: Fields = {}
    name, most = draw(one_of(("scale", MOST_FACTOR), ("size", 9)))
    number = st.integers(1, most)
    found[name] = draw(number | st.lists(number, min_size=rank, max_size=rank) if rank else number)
    some(draw, found, mode=literals(resize.Upsample, "mode"))
    if not found.get("mode", "nearest").startswith("nearest"):
        some(draw, found, align_corners=st.booleans())
    return found


@OPS(resize.PixelShuffle)
def _pixel_shuffle(draw: Draw, shape: Shape) -> Fields:
    rank = len(spatial(shape))
    fitting = [r for r in range(MOST_FACTOR, 1, -1) if shape[0] % r**rank == 0]
    return {"factor": draw(st.sampled_from(fitting or [1]))}


@OPS(resize.PixelUnshuffle)
def _pixel_unshuffle(draw: Draw, shape: Shape) -> Fields:
    return {"factor": draw(divisors(math.gcd(*spatial(shape)) or 1))}


@OPS(reshape.ChannelShuffle)
def _channel_shuffle(draw: Draw, shape: Shape) -> Fields:
    return {"groups": draw(divisors(shape[0]))}


@OPS(reshape.Reshape)
def _reshape(draw: Draw, shape: Shape) -> Fields:
    rest, sizes = math.prod(shape), []
    for _ in range(draw(st.integers(0, 3))):
        sizes.append(draw(divisors(rest)))
        rest //= sizes[-1]
    sizes.append(draw(st.sampled_from((rest, -1))))
    return {"shape": draw(st.permutations(sizes))}


@OPS(reshape.Permute)
def _permute(draw: Draw, shape: Shape) -> Fields:
    return {"axes": draw(st.permutations(range(len(shape))))}
