"""NumPy kernels of the lp and adaptive pools, of the norms within a sample, and of means."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from cnnspec.backends.numpy.kernels.adaptive_pool import (
    adaptive_avg_pool,
    adaptive_max_pool,
    bins,
)
from cnnspec.backends.numpy.kernels.annotations import Array, Forward
from cnnspec.backends.numpy.kernels.norm import (
    GroupNorm,
    LayerNorm,
    local_response_norm,
    normalize,
)
from cnnspec.backends.numpy.kernels.pool import lp_pool
from cnnspec.backends.numpy.kernels.reduce import mean_over
from tests.test_kernels import check, randomised


def draw(*shape: int, seed: int = 0) -> Array:
    return np.random.default_rng(seed).standard_normal(shape)


# --- lp pooling --------------------------------------------------------------------------------


@pytest.mark.parametrize("p", [1, 1.5, 2, 2.5, 3, 7])
@pytest.mark.parametrize(
    ("space", "kernel", "stride", "pads"),
    [
        ((7,), (3,), (2,), ((1, 0),)),
        ((5, 6), (2, 3), (2, 1), ((0, 1), (2, 0))),
        ((3, 4, 5), (2, 1, 3), (1, 2, 2), ((1, 1), (0, 0), (0, 1))),
    ],
)
def test_lp_pool(
    p: float,
    space: tuple[int, ...],
    kernel: tuple[int, ...],
    stride: tuple[int, ...],
    pads: tuple[tuple[int, int], ...],
) -> None:
    x = draw(2, 3, *space)
    y = check(lambda x: lp_pool(x, kernel, p, stride, pads), x)
    padded = np.pad(x, [(0, 0), (0, 0), *pads])
    for index in np.ndindex(*y.shape[2:]):
        starts = [i * s for i, s in zip(index, stride, strict=True)]
        window = tuple(slice(a, a + k) for a, k in zip(starts, kernel, strict=True))
        for n, c in np.ndindex(*y.shape[:2]):
            terms = [abs(v) ** p for v in padded[(n, c, *window)].ravel()]
            wanted = sum(terms) ** (1 / p)
            assert abs(y[(n, c, *index)] - wanted) <= 1e-14 * wanted


@pytest.mark.parametrize("p", [1.0, 1.5, 2.0, 40.0])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_lp_pool_of_zeros_and_of_extremes(p: float, dtype: type[Any]) -> None:
    x = np.array([[[0.0, -0.0, 0.0, 3.0, 1e-30, -1e-30, 1e30, 1e29]]], dtype)
    y, backward = lp_pool(x, 2, p)
    assert y.dtype == dtype
    wanted = [0, 3, 1e-30 * 2 ** (1 / p), 1e30 * (1 + 0.1**p) ** (1 / p)]
    np.testing.assert_allclose(y[0, 0], wanted, rtol=1e-6)
    gx = backward(np.ones_like(y))[0, 0]
    each = 2 ** (1 / p - 1)
    assert gx[:3].tolist() == [0, 0, 0]
    np.testing.assert_allclose(gx[3:6], [1, each, -each], rtol=1e-6)


# --- adaptive pooling --------------------------------------------------------------------------


def test_bins_cover_everything_and_have_at_most_two_sizes() -> None:
    for n, count in itertools.product(range(1, 20), range(1, 25)):
        found = bins(n, count)
        assert found == [
            (math.floor(i * n / count), math.ceil((i + 1) * n / count)) for i in range(count)
        ]
        assert {i for first, end in found for i in range(first, end)} == set(range(n))
        sizes = {end - first for first, end in found}
        assert len(sizes) <= 2


SIZES: list[tuple[tuple[int, ...], int | tuple[int, ...]]] = [
    ((7,), 3),
    ((5,), 8),
    ((5, 6), (2, 4)),
    ((4, 7), (6, 3)),
    ((2, 5), 1),
    ((3, 4, 5), (2, 5, 3)),
]


def reduced(x: Array, size: int | tuple[int, ...], f: Callable[[Array], Any]) -> Array:
    """A function of each bin, the plain way."""
    space = x.shape[2:]
    counts = (size,) * len(space) if isinstance(size, int) else size
    y = np.zeros((*x.shape[:2], *counts))
    for n, c, *index in np.ndindex(*y.shape):
        bin = tuple(
            slice(i * m // o, -(-(i + 1) * m // o))
            for i, m, o in zip(index, space, counts, strict=True)
        )
        y[(n, c, *index)] = f(x[(n, c, *bin)])
    return y


@pytest.mark.parametrize(("space", "size"), SIZES)
def test_adaptive_avg_pool(space: tuple[int, ...], size: int | tuple[int, ...]) -> None:
    x = draw(2, 3, *space)
    y = check(lambda x: adaptive_avg_pool(x, size), x)
    np.testing.assert_allclose(y, reduced(x, size, np.mean), rtol=0, atol=2e-15)


@pytest.mark.parametrize(("space", "size"), SIZES)
def test_adaptive_max_pool(space: tuple[int, ...], size: int | tuple[int, ...]) -> None:
    x = draw(2, 3, *space)
    y = check(lambda x: adaptive_max_pool(x, size), x)
    np.testing.assert_array_equal(y, reduced(x, size, np.max))


@pytest.mark.parametrize(("space", "size"), SIZES)
def test_adaptive_max_pool_takes_the_first_of_equals(
    space: tuple[int, ...], size: int | tuple[int, ...]
) -> None:
    """As torch does, on inputs where nearly every bin has a tie."""
    torch = pytest.importorskip("torch")
    x = np.random.default_rng(1).integers(0, 2, (3, 2, *space)).astype(float)
    y, backward = adaptive_max_pool(x, size)
    g = draw(*y.shape, seed=2)
    tensor = torch.tensor(x, requires_grad=True)
    pool = getattr(torch.nn.functional, f"adaptive_max_pool{len(space)}d")
    pool(tensor, size).backward(torch.tensor(g))
    np.testing.assert_allclose(backward(g), tensor.grad.numpy(), rtol=0, atol=1e-15)


# --- norms -------------------------------------------------------------------------------------


def standard(x: Array, eps: float) -> Array:
    """A set of numbers with its mean taken away, in standard deviations."""
    mean = sum(x.ravel()) / x.size
    variance = sum((v - mean) ** 2 for v in x.ravel()) / x.size
    return np.asarray((x - mean) / math.sqrt(variance + eps))


SHAPES = [(3, 4), (2, 4, 5), (2, 4, 2, 3), (2, 4, 2, 3, 2)]


@pytest.mark.parametrize("eps", [1e-5, 0.5])
@pytest.mark.parametrize("affine", [True, False])
@pytest.mark.parametrize("shape", SHAPES)
def test_layer_norm(shape: tuple[int, ...], affine: bool, eps: float) -> None:
    rank = len(shape) - 1
    for count in range(1, rank + 1):
        for axes in itertools.combinations(range(1, rank + 1), count):
            sizes = tuple(shape[axis] for axis in axes)
            layer = randomised(LayerNorm(sizes, axes, eps=eps, affine=affine))
            kept = tuple(n if axis in axes else 1 for axis, n in enumerate(shape))
            weight, bias = 1.0, 0.0
            if affine:
                weight, bias = (
                    layer.parameters[k].reshape(kept).copy() for k in ("weight", "bias")
                )
            x = 2 * draw(*shape) + 1
            y = check(layer.forward, x, layer)
            wanted = np.zeros(shape)
            others = [1 if axis in axes else n for axis, n in enumerate(shape)]
            for index in np.ndindex(*others):
                part = tuple(slice(None) if axis in axes else i for axis, i in enumerate(index))
                wanted[part] = standard(x[part], eps)
            np.testing.assert_allclose(y, wanted * weight + bias, rtol=0, atol=1e-13)


def test_layer_norm_is_over_the_last_axes_if_not_told() -> None:
    x = draw(2, 3, 4, 5)
    for sizes, axes in (((5,), (3,)), ((4, 5), (2, 3)), ((3, 4, 5), (1, 2, 3))):
        found = LayerNorm(sizes).forward(x)[0]
        np.testing.assert_array_equal(found, LayerNorm(sizes, axes).forward(x)[0])


@pytest.mark.parametrize("groups", [1, 2, 4])
@pytest.mark.parametrize("affine", [True, False])
@pytest.mark.parametrize("shape", SHAPES)
def test_group_norm(shape: tuple[int, ...], affine: bool, groups: int) -> None:
    if groups == 4 and len(shape) == 2:
        return  # a group of one element, which shape inference refuses
    layer = randomised(GroupNorm(groups, 4, affine=affine))
    along = (-1, *(1 for _ in shape[2:]))
    weight, bias = 1.0, 0.0
    if affine:
        weight, bias = (layer.parameters[k].reshape(along).copy() for k in ("weight", "bias"))
    x = 2 * draw(*shape) + 1
    y = check(layer.forward, x, layer)
    wanted = np.zeros(shape)
    each = 4 // groups
    for n, group in np.ndindex(shape[0], groups):
        part = (n, slice(group * each, (group + 1) * each))
        wanted[part] = standard(x[part], 1e-5)
    np.testing.assert_allclose(y, wanted * weight + bias, rtol=0, atol=1e-13)


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 9])
@pytest.mark.parametrize("shape", SHAPES[1:])
def test_local_response_norm(shape: tuple[int, ...], size: int) -> None:
    x = draw(*shape)
    alpha, beta, k = 0.7, 0.6, 1.5
    y = check(lambda x: local_response_norm(x, size, alpha, beta, k), x)
    for c in range(shape[1]):
        around = range(c - size // 2, c + math.ceil(size / 2))
        squares = sum(x[:, j] ** 2 for j in around if 0 <= j < shape[1])
        wanted = x[:, c] * (k + alpha / size * squares) ** -beta
        np.testing.assert_allclose(y[:, c], wanted, rtol=1e-14)


def test_alexnets_alpha_is_not_divided_by_the_size() -> None:
    x = 30 * draw(2, 7, 3)
    y, _ = local_response_norm(x, 5, 5e-4, 0.75, 2.0)
    for c in range(7):
        squares = sum(x[:, j] ** 2 for j in range(max(0, c - 2), min(6, c + 2) + 1))
        np.testing.assert_allclose(y[:, c], x[:, c] / (2 + 1e-4 * squares) ** 0.75, rtol=1e-14)


@pytest.mark.parametrize("shape", SHAPES)
def test_normalize(shape: tuple[int, ...]) -> None:
    mean, std = (0.485, 0.456, 0.406, 0.1), (0.229, 0.224, 0.225, 2.0)
    x = draw(*shape)
    y = check(lambda x: normalize(x, mean, std), x)
    for c in range(4):
        np.testing.assert_array_equal(y[:, c], (x[:, c] - mean[c]) / std[c])


@pytest.mark.parametrize("shape", SHAPES)
def test_mean_over_axes(shape: tuple[int, ...]) -> None:
    x = draw(*shape)
    rank = len(shape) - 1
    for count in range(1, rank + 1):
        for axes in itertools.combinations(range(1, rank + 1), count):

            def forward(x: Array, axes: tuple[int, ...] = axes) -> Forward:
                return mean_over(x, axes)

            y = check(forward, x)
            kept = [1 if axis in axes else n for axis, n in enumerate(shape)]
            assert list(y.shape) == kept
            for index in np.ndindex(*kept):
                part = tuple(slice(None) if axis in axes else i for axis, i in enumerate(index))
                values = x[part].ravel()
                assert abs(y[index] - math.fsum(values) / len(values)) < 1e-15
