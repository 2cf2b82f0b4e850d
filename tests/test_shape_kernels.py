"""Kernels that join, cut, resize and reshape, against their definitions, element by element."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from cnnspec.backends.numpy.kernels import merge
from cnnspec.backends.numpy.kernels.annotations import Array, Forward
from cnnspec.backends.numpy.kernels.reshape import (
    channel_shuffle,
    permute,
    pixel_shuffle,
    pixel_unshuffle,
    reshape,
)
from cnnspec.backends.numpy.kernels.resize import pad, resize_taps, upsample
from cnnspec.backends.numpy.kernels.slicing import crop, slice_axes
from tests.test_kernels import check

SHAPES = [(2, 8, 5), (2, 8, 4, 3), (2, 8, 2, 4, 3)]
each_shape = pytest.mark.parametrize("shape", SHAPES, ids=len)


def normal(*shape: int, seed: int = 0) -> Array:
    return np.random.default_rng(seed).standard_normal(shape)


def moves(forward: Callable[[Array], Forward], x: Array) -> Array:
    """What only moves values: its gradient is the transposed move, bit by bit; returns y."""
    return check(forward, x)


# --- several into one --------------------------------------------------------------------------


def pulled(name: str, xs: list[Array]) -> tuple[Array, tuple[Array, ...], Array]:
    y, backward = getattr(merge, name)(*xs)
    g = normal(*y.shape, seed=9)
    return y, backward(g), g


@pytest.mark.parametrize("count", [2, 3, 4])
@each_shape
def test_elementwise(shape: tuple[int, ...], count: int) -> None:
    xs = [normal(*shape, seed=i) for i in range(count)]
    y, gs, g = pulled("average", xs)
    y_product, gs_product, _ = pulled("product", xs)
    y_largest, gs_largest, _ = pulled("maximum", xs)
    for at in np.ndindex(shape):
        values = [float(x[at]) for x in xs]
        assert y[at] == pytest.approx(math.fsum(values) / count, rel=1e-15, abs=1e-15)
        assert y_product[at] == pytest.approx(math.prod(values), rel=1e-15)
        assert y_largest[at] == max(values)
        winner = values.index(max(values))
        for i in range(count):
            others = math.prod(values[:i] + values[i + 1 :])
            assert gs[i][at] == g[at] / count
            assert gs_product[i][at] == pytest.approx(g[at] * others, rel=1e-15)
            assert gs_largest[i][at] == (g[at] if i == winner else 0)


def test_difference() -> None:
    a, b = normal(2, 3, 4), normal(2, 3, 4, seed=1)
    y, (ga, gb), g = pulled("subtract", [a, b])
    assert (y == a - b).all()
    assert (ga == g).all()
    assert (gb == -g).all()


def test_the_first_of_equal_values_gets_the_gradient() -> None:
    a = np.array([[1.0, 2.0, 0.0, -1.0, -0.0]])
    b = np.array([[1.0, 1.0, 3.0, -1.0, 0.0]])
    c = np.array([[1.0, 2.0, 3.0, 5.0, 0.0]])
    _, backward = merge.maximum(a, b, c)
    found = backward(np.array([[1.0, 2.0, 3.0, 4.0, 5.0]]))
    assert found[0].tolist() == [[1, 2, 0, 0, 5]]
    assert found[1].tolist() == [[0, 0, 3, 0, 0]]
    assert found[2].tolist() == [[0, 0, 0, 4, 0]]


@pytest.mark.parametrize("space", [(5,), (4, 3), (2, 4, 3)])
@pytest.mark.parametrize("first", [True, False])
def test_one_factor_for_each_channel(space: tuple[int, ...], first: bool) -> None:
    x, s = normal(2, 3, *space), normal(2, 3, *(1 for _ in space), seed=1)
    y, gs, g = pulled("product", [s, x] if first else [x, s])
    g_s, gx = gs if first else gs[::-1]
    assert g_s.shape == s.shape
    for n, c in itertools.product(range(2), range(3)):
        terms = []
        for at in np.ndindex(space):
            assert y[(n, c, *at)] == s[n, c].item() * x[(n, c, *at)]
            assert gx[(n, c, *at)] == s[n, c].item() * g[(n, c, *at)]
            terms.append(g[(n, c, *at)] * x[(n, c, *at)])
        assert g_s[n, c].item() == pytest.approx(math.fsum(terms), rel=1e-14, abs=1e-15)


@pytest.mark.parametrize("name", ["average", "product", "maximum", "subtract"])
def test_merging_keeps_float32(name: str) -> None:
    y, gs, _ = pulled(name, [normal(2, 3, 4).astype(np.float32)] * 2)
    assert y.dtype == np.float32
    _, backward = getattr(merge, name)(*[normal(2, 3).astype(np.float32)] * 2)
    assert all(g.dtype == np.float32 for g in backward(np.ones((2, 3), np.float32)))
    assert len(gs) == 2


# --- parts -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "ranges",
    [
        [(2, 5)],
        [(None,), (1, -1)],
        [(-3, None, 2), (0, 3)],
        [(None, None), (None, None, 3)],
        [(-6, -1)],
    ],
)
@each_shape
def test_slice(shape: tuple[int, ...], ranges: list[tuple[int | None, ...]]) -> None:
    x = normal(*shape)
    y = moves(lambda x: slice_axes(x, *ranges), x)
    taken = [list(range(n)) for n in shape]
    for axis, (found, n) in enumerate(zip(ranges, shape[1:], strict=False), start=1):
        start, stop, step = [*found, None, None][:3]
        first = 0 if start is None else start + n * (start < 0)
        last = n if stop is None or len(found) == 1 else stop + n * (stop < 0)
        taken[axis] = [i for i in range(n) if first <= i < last and not (i - first) % (step or 1)]
    assert y.shape == tuple(map(len, taken))
    for at in np.ndindex(y.shape):
        assert y[at] == x[tuple(places[i] for places, i in zip(taken, at, strict=True))]


@pytest.mark.parametrize("sides", [((1, 1), (2, 0)), ((0, 0), (0, 1)), 1, 0, (1, (0, 1))])
def test_crop(sides: Any) -> None:
    x = normal(2, 3, 4, 5)
    y = moves(lambda x: crop(x, sides), x)
    pairs = [(sides, sides)] * 2 if isinstance(sides, int) else sides
    (t, b), (left, r) = [(p, p) if isinstance(p, int) else p for p in pairs]
    for i, j in itertools.product(range(y.shape[2]), range(y.shape[3])):
        assert (y[:, :, i, j] == x[:, :, i + t, j + left]).all()
    assert y.shape == (2, 3, 4 - t - b, 5 - left - r)


# --- margins -----------------------------------------------------------------------------------


def source(i: int, n: int, mode: str) -> int:
    """The element that lies i from the first one, by walking."""
    place, step = 0, 1 if i > 0 else -1
    for _ in range(abs(i)):
        if mode == "circular":
            place = (place + step) % n
        elif mode == "replicate":
            place = min(max(place + step, 0), n - 1)
        elif n > 1:
            direction = step if 0 <= place + step < n else -step
            if direction != step:
                step = direction
            place += step
    return place


@pytest.mark.parametrize("mode", ["constant", "reflect", "replicate", "circular"])
@pytest.mark.parametrize("space", [(5,), (4, 3), (3, 2, 4)])
def test_pad(space: tuple[int, ...], mode: str) -> None:
    x = normal(2, 3, *space)
    for pads in itertools.product([(0, 0), (1, 0), (0, 1), (1, 1)], repeat=len(space)):
        wide = tuple((b * (n - 1), a * (n - 1)) for (b, a), n in zip(pads, space, strict=True))
        for given in (pads, wide):
            value = 0.1 if mode == "constant" else 0.0

            def forward(x: Array, given: Any = given, value: float = value) -> Forward:
                return pad(x, given, mode, value)

            y = moves(forward, x) if given is pads else forward(x)[0]
            for at in np.ndindex(y.shape[2:]):
                shifted = tuple(i - before for i, (before, _) in zip(at, given, strict=True))
                inside = all(0 <= i < n for i, n in zip(shifted, space, strict=True))
                if mode != "constant":
                    shifted = tuple(source(i, n, mode) for i, n in zip(shifted, space, strict=True))
                    inside = True
                index: tuple[Any, ...] = (..., *shifted)
                assert (y[(..., *at)] == (x[index] if inside else 0.1)).all()


# --- interpolation -----------------------------------------------------------------------------


def keys(s: Fraction) -> Fraction:
    a = Fraction(-3, 4)
    if s <= 1:
        return (a + 2) * s**3 - (a + 3) * s**2 + 1
    return a * s**3 - 5 * a * s**2 + 8 * a * s - 4 * a if s < 2 else Fraction(0)


def weights(n: int, o: int, mode: str, align_corners: bool) -> list[dict[int, Fraction]]:
    """For each output element the exact weights of the input's."""
    rows = []
    for i in range(o):
        if mode == "nearest":
            rows.append({math.floor(Fraction(i * n, o)): Fraction(1)})
            continue
        if mode == "nearest_exact":
            rows.append({math.floor((i + Fraction(1, 2)) * n / o): Fraction(1)})
            continue
        src = (i + Fraction(1, 2)) * n / o - Fraction(1, 2)
        if align_corners:
            src = Fraction(i * (n - 1), o - 1) if o > 1 else Fraction(0)
        if mode == "linear":
            src = max(src, Fraction(0))
        row: dict[int, Fraction] = {}
        for j in range(math.floor(src) - 2, math.floor(src) + 4):
            s = abs(src - j)
            weight = max(1 - s, Fraction(0)) if mode == "linear" else keys(s)
            place = min(max(j, 0), n - 1)
            row[place] = row.get(place, Fraction(0)) + weight
        rows.append(row)
    return rows


MODES = [
    ("nearest", False),
    ("nearest_exact", False),
    ("linear", False),
    ("linear", True),
    ("cubic", False),
    ("cubic", True),
]
SIZES = [*itertools.product((1, 2, 3, 5, 8), (1, 2, 3, 4, 7, 16)), (8, 57), (2, 82), (7, 110)]


@pytest.mark.parametrize(("mode", "align_corners"), MODES)
def test_weights_are_exact_but_for_their_last_bits(mode: str, align_corners: bool) -> None:
    for n, o in SIZES:
        found = np.zeros((o, n))
        for at, weight in resize_taps(n, o, mode, align_corners):
            np.add.at(found, (np.arange(o), at), weight)
        exact = weights(n, o, mode, align_corners)
        for i, j in itertools.product(range(o), range(n)):
            wanted = float(exact[i].get(j, Fraction(0)))
            assert abs(found[i, j] - wanted) <= 8 * 2.0**-53, (n, o, i, j)


@pytest.mark.parametrize(("mode", "align_corners"), MODES)
@pytest.mark.parametrize("space", [(4,), (3, 2), (2, 3, 1)])
@pytest.mark.parametrize("size", [(5, 7, 2), (2, 1, 3)])
def test_upsample(
    space: tuple[int, ...], size: tuple[int, ...], mode: str, align_corners: bool
) -> None:
    x, size = normal(2, 2, *space), size[: len(space)]
    y = check(lambda x: upsample(x, size=size, mode=mode, align_corners=align_corners), x)
    rows = [weights(n, o, mode, align_corners) for n, o in zip(space, size, strict=True)]
    assert y.shape == (2, 2, *size)
    for at in np.ndindex(*size):
        wanted = np.zeros((2, 2))
        for taps in itertools.product(*(row[i].items() for row, i in zip(rows, at, strict=True))):
            weight = float(math.prod(w for _, w in taps))
            wanted += weight * x[(..., *(j for j, _ in taps))]
        np.testing.assert_allclose(y[(..., *at)], wanted, rtol=0, atol=1e-14)


def test_a_scale_multiplies_the_size() -> None:
    x = normal(2, 3, 4, 5)
    for mode, align_corners in MODES:
        options: dict[str, Any] = {"mode": mode, "align_corners": align_corners}
        for scale, size in ((3, (12, 15)), ((1, 2), (4, 10))):
            found = upsample(x, scale=scale, **options)[0]
            assert (found == upsample(x, size=size, **options)[0]).all()
    repeated = np.repeat(np.repeat(x, 2, 2), 3, 3)
    assert (upsample(x, (2, 3))[0] == repeated).all()
    assert (upsample(x, (2, 3), mode="nearest_exact")[0] == repeated).all()


# --- other shapes ------------------------------------------------------------------------------


@each_shape
def test_reshape_and_permute(shape: tuple[int, ...]) -> None:
    x = normal(*shape)
    flat = [float(v) for v in x[0].flat]
    y = moves(lambda x: reshape(x, math.prod(shape[2:]), shape[1]), x)
    assert y.shape == (2, math.prod(shape[2:]), shape[1])
    assert [float(v) for v in y[0].flat] == flat
    for axes in itertools.permutations(range(len(shape) - 1)):
        y = permute(x, *axes)[0]
        for at in np.ndindex(y.shape):
            read = [0] * len(axes)
            for axis, i in zip(axes, at[1:], strict=True):
                read[axis] = i
            assert y[at] == x[(at[0], *read)]
        moves(lambda x, axes=axes: permute(x, *axes), x)  # type: ignore[misc]  # a default


@pytest.mark.parametrize("groups", [1, 2, 4, 8])
@pytest.mark.parametrize("shape", [(2, 8), *SHAPES])
def test_channel_shuffle(shape: tuple[int, ...], groups: int) -> None:
    x = normal(*shape)
    y = moves(lambda x: channel_shuffle(x, groups), x)
    for j, i in itertools.product(range(groups), range(8 // groups)):
        assert (y[:, i * groups + j] == x[:, j * (8 // groups) + i]).all()


@each_shape
def test_pixel_shuffle_and_back(shape: tuple[int, ...]) -> None:
    x, rank = normal(*shape), len(shape) - 2
    y = moves(lambda x: pixel_shuffle(x, 2), x)
    assert y.shape == (2, 8 // 2**rank, *(2 * n for n in shape[2:]))
    for at in np.ndindex(y.shape[1:]):
        c, *p = at
        k = 0
        for i in p:
            k = 2 * k + i % 2
        assert (
            y[(slice(None), *at)] == x[(slice(None), c * 2**rank + k, *(i // 2 for i in p))]
        ).all()
    assert (moves(lambda y: pixel_unshuffle(y, 2), y) == x).all()


def test_pixel_shuffle_by_three() -> None:
    x = normal(1, 18, 2, 1)
    y = pixel_shuffle(x, 3)[0]
    for c, h, w, i, j in itertools.product(range(2), range(2), range(1), range(3), range(3)):
        assert y[0, c, 3 * h + i, 3 * w + j] == x[0, c * 9 + 3 * i + j, h, w]
    assert (pixel_unshuffle(y, 3)[0] == x).all()
