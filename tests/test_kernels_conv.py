"""Convolution and pooling kernels against their definitions, finite differences and torch."""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from cnnspec.backends.numpy.kernels import conv as conv_file
from cnnspec.backends.numpy.kernels.annotations import Array, Forward
from cnnspec.backends.numpy.kernels.conv import Conv, tiles
from cnnspec.backends.numpy.kernels.pool import (
    avg_pool,
    global_avg_pool,
    global_max_pool,
    max_pool,
    sum_pool,
)
from cnnspec.backends.numpy.kernels.window import pad_indexed

MODES = {"zeros": "constant", "reflect": "reflect", "replicate": "edge", "circular": "wrap"}


def slope(f: Callable[[], Array], array: Array, g: Array, h: float) -> Array:
    """Central differences of sum(g * f()) in every element of `array`, which f reads."""
    result = np.zeros_like(array)
    for index in np.ndindex(array.shape):
        value = array[index]
        array[index] = value + h
        up = np.array(f())
        array[index] = value - h
        result[index] = ((up - f()) * g).sum() / (2 * h)
        array[index] = value
    return result


def draw(rng: np.random.Generator, rank: int) -> tuple[Array, dict[str, Any]]:
    groups = int(rng.choice([1, 1, 2, 3]))
    width = int(rng.integers(1, 3))
    options = {
        "kernel": tuple(int(k) for k in rng.integers(1, 4, rank)),
        "stride": tuple(int(k) for k in rng.integers(1, 4, rank)),
        "dilation": tuple(int(k) for k in rng.integers(1, 3, rank)),
        "pads": tuple((int(a), int(b)) for a, b in rng.integers(0, 3, (rank, 2))),
        "groups": groups,
        "filters": groups * int(rng.integers(1, 3)),
        "bias": bool(rng.integers(2)),
        "mode": str(rng.choice(list(MODES))),
        "flip": bool(rng.integers(2)),
    }
    space = rng.integers(5 if rank < 3 else 3, 8 if rank < 3 else 6, rank)
    extent = (np.array(options["kernel"]) - 1) * options["dilation"] + 1
    space = np.maximum(space, extent)
    return rng.standard_normal((int(rng.integers(1, 3)), groups * width, *space)), options


def build(rng: np.random.Generator, x: Array, options: dict[str, Any]) -> Conv:
    layer = Conv(x.shape[1], **options)
    for name, array in layer.parameters.items():
        assert array.dtype == np.float32
        layer.parameters[name] = rng.standard_normal(array.shape)
    return layer


def reference_conv(layer: Conv, x: Array) -> Array:
    """The definition, one output element at a time."""
    rank, weight = len(layer.kernel), layer.parameters["weight"]
    padded = np.pad(x, ((0, 0), (0, 0), *layer.pads), MODES[layer.mode])  # type: ignore[call-overload]
    geometry = zip(padded.shape[2:], layer.kernel, layer.stride, layer.dilation, strict=True)
    size = [(n - (k - 1) * d - 1) // s + 1 for n, k, s, d in geometry]
    y = np.zeros((len(x), len(weight), *size), x.dtype)
    width, per_group = weight.shape[1], len(weight) // layer.groups
    for n, o, *p in np.ndindex(*y.shape):
        for c, *q in np.ndindex(*weight.shape[1:]):
            at = [
                a * s + b * d for a, s, b, d in zip(p, layer.stride, q, layer.dilation, strict=True)
            ]
            tap = [k - 1 - b for k, b in zip(layer.kernel, q, strict=True)] if layer.flip else q
            y[(n, o, *p)] += weight[(o, c, *tap)] * padded[(n, o // per_group * width + c, *at)]
    bias = layer.parameters.get("bias", np.zeros(len(weight)))
    return np.asarray(y + bias.reshape(-1, *(1 for _ in range(rank))))


@pytest.mark.parametrize("seed", range(30))
@pytest.mark.parametrize("rank", [1, 2, 3])
def test_conv_is_its_definition(rank: int, seed: int) -> None:
    rng = np.random.default_rng((rank, seed))
    x, options = draw(rng, rank)
    layer = build(rng, x, options)
    y, backward = layer.forward(x)
    np.testing.assert_allclose(y, reference_conv(layer, x), rtol=0, atol=1e-13)
    assert backward(np.ones_like(y)).shape == x.shape


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("rank", [1, 2, 3])
def test_conv_gradients_are_slopes(rank: int, seed: int) -> None:
    rng = np.random.default_rng((rank, seed, 1))
    x, options = draw(rng, rank)
    layer = build(rng, x, options)
    y, backward = layer.forward(x)
    g = rng.standard_normal(y.shape)
    before, g_before = x.copy(), g.copy()
    gx = backward(g)
    np.testing.assert_array_equal(x, before)
    np.testing.assert_array_equal(g, g_before)
    # Linear in each argument: a step of 1 has no truncation error.
    for array, gradient in [
        (x, gx),
        *((layer.parameters[k], v) for k, v in layer.gradients.items()),
    ]:
        found = slope(lambda: layer.forward(x)[0], array, g, 1.0)
        np.testing.assert_allclose(gradient, found, rtol=0, atol=1e-10)
    assert layer.gradients.keys() == layer.parameters.keys()
    backward(g)
    np.testing.assert_allclose(
        layer.gradients["weight"],
        2 * slope(lambda: layer.forward(x)[0], layer.parameters["weight"], g, 1.0),
        rtol=0,
        atol=1e-10,
    )


@pytest.mark.parametrize("seed", range(30))
@pytest.mark.parametrize("rank", [1, 2, 3])
def test_conv_agrees_with_torch(rank: int, seed: int) -> None:
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng((rank, seed, 2))
    x, options = draw(rng, rank)
    layer = build(rng, x, options)
    y, backward = layer.forward(x)
    g = rng.standard_normal(y.shape)
    tx = torch.tensor(x, requires_grad=True)
    values = {k: torch.tensor(v, requires_grad=True) for k, v in layer.parameters.items()}
    padded = torch.nn.functional.pad(
        tx,
        tuple(itertools.chain(*reversed(layer.pads))),
        "constant" if layer.mode == "zeros" else layer.mode,
    )
    weight = values["weight"]
    flipped = torch.flip(weight, tuple(range(2, 2 + rank))) if layer.flip else weight
    convolve = getattr(torch.nn.functional, f"conv{rank}d")
    ty = convolve(
        padded, flipped, values.get("bias"), layer.stride, 0, layer.dilation, layer.groups
    )
    ty.backward(torch.tensor(g))
    np.testing.assert_allclose(y, ty.detach().numpy(), rtol=0, atol=1e-13)
    np.testing.assert_allclose(backward(g), tx.grad.numpy(), rtol=0, atol=1e-13)
    for name, value in values.items():
        np.testing.assert_allclose(layer.gradients[name], value.grad.numpy(), rtol=0, atol=1e-12)


def test_conv_in_pieces_is_conv_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    x, options = rng.standard_normal((3, 4, 9, 8)), {"filters": 6, "kernel": (3, 2), "groups": 2}
    layer = build(rng, x, {**options, "stride": (2, 1), "dilation": (2, 3), "pads": ((2, 1), 1)})
    y, backward = layer.forward(x)
    g = rng.standard_normal(y.shape)
    gx, gw = backward(g), layer.gradients.pop("weight")
    monkeypatch.setattr(
        conv_file,
        "tiles",
        lambda n, groups, rows, *_: [
            (slice(i, i + 1), slice(k, k + 1), slice(r, r + 1))
            for i, k, r in np.ndindex(n, groups, rows)
        ],
    )
    y1, backward1 = layer.forward(x)
    np.testing.assert_allclose(y1, y, rtol=0, atol=1e-13)
    np.testing.assert_allclose(backward1(g), gx, rtol=0, atol=1e-13)
    np.testing.assert_allclose(layer.gradients["weight"], gw, rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("images", "groups", "rows", "row_size"),
    [(5, 1, 7, 1), (5, 1, 7, 30), (5, 3, 7, 10), (3, 2, 9, 1 << 30), (5, 4, 7, 2)],
)
def test_tiles_cover_everything_once(images: int, groups: int, rows: int, row_size: int) -> None:
    seen = np.zeros((images, groups, rows), int)
    for n, g, r in tiles(images, groups, rows, row_size, 100):
        assert n.stop <= images
        assert g.stop <= groups
        assert r.stop <= rows
        piece = seen[n, g, r]
        assert piece.size * row_size <= 100 or piece.size == 1
        piece += 1
    assert (seen == 1).all()


def test_conv_keeps_float32_and_checks_its_input() -> None:
    layer = Conv(2, 4, (3, 3), pads=1)
    y, backward = layer.forward(np.ones((1, 2, 5, 5), np.float32))
    assert y.dtype == np.float32
    assert backward(y).dtype == np.float32
    assert all(a.dtype == np.float32 for a in layer.gradients.values())
    with pytest.raises(ValueError, match="4 axes"):
        layer.forward(np.ones((2, 5, 5), np.float32))
    with pytest.raises(ValueError, match="window"):
        Conv(2, 4, (3, 3)).forward(np.ones((1, 2, 2, 5), np.float32))


def test_a_frozen_weight_gathers_no_gradient() -> None:
    layer = Conv(1, 1, (1,))
    layer.frozen.add("weight")
    y, backward = layer.forward(np.ones((1, 1, 3), np.float32))
    backward(y)
    assert layer.gradients.keys() == {"bias"}


@pytest.mark.parametrize(("mode", "pad"), [("reflect", 3), ("circular", 4)])
def test_padding_wider_than_the_input_is_refused(mode: str, pad: int) -> None:
    x = np.arange(3.0).reshape(1, 1, 3)
    with pytest.raises(ValueError, match="too wide"):
        pad_indexed(x, ((0, pad),), mode)
    y, _ = pad_indexed(x, ((pad - 1, pad - 1),), mode)
    assert y.shape == (1, 1, 3 + 2 * (pad - 1))


def test_lenet_convolutions_beat_nested_loops_a_hundredfold() -> None:
    rng = np.random.default_rng(0)
    layer = build(rng, np.zeros((1, 6, 14, 14)), {"filters": 16, "kernel": (5, 5)})
    x = rng.standard_normal((1, 6, 14, 14))
    began = time.perf_counter()
    weight, image = layer.parameters["weight"].tolist(), x[0].tolist()
    y = [
        [
            [
                sum(
                    weight[o][c][i][j] * image[c][a + i][b + j]
                    for c in range(6)
                    for i in range(5)
                    for j in range(5)
                )
                for b in range(10)
            ]
            for a in range(10)
        ]
        for o in range(16)
    ]
    loops = time.perf_counter() - began
    times = []
    for _ in range(20):
        began = time.perf_counter()
        fast, _ = layer.forward(x)
        times.append(time.perf_counter() - began)
    bias = layer.parameters["bias"].reshape(-1, 1, 1)
    np.testing.assert_allclose(fast[0] - bias, y, rtol=0, atol=1e-12)
    assert loops > 100 * min(times)


# --- pooling -----------------------------------------------------------------------------------


def draw_pool(rng: np.random.Generator, rank: int) -> tuple[Array, dict[str, Any]]:
    kernel = tuple(int(k) for k in rng.integers(1, 4, rank))
    dilation = tuple(int(k) for k in rng.integers(1, 3, rank))
    pads = tuple(
        tuple(int(a) for a in rng.integers(0, (k - 1) * d + 1, 2))
        for k, d in zip(kernel, dilation, strict=True)
    )
    stride = tuple(int(k) for k in rng.integers(1, 4, rank))
    space = rng.integers(5, 8, rank)
    x = rng.integers(-2, 3, (2, 2, *space)).astype(float)  # many ties
    return x, {"kernel": kernel, "stride": stride, "dilation": dilation, "pads": pads}


def reference_pool(
    x: Array, g: Array | None, kind: str, options: dict[str, Any], include: bool = False
) -> tuple[Array, Array]:
    """Value and input gradient, one window at a time; `overhang` in the options as in avg_pool."""
    rank = x.ndim - 2
    k, s, d, pads = (options[name] for name in ("kernel", "stride", "dilation", "pads"))
    over = options.get("overhang", (0,) * rank)
    size = [
        (n + lo + hi + v - (a - 1) * c - 1) // b + 1
        for n, a, b, c, (lo, hi), v in zip(x.shape[2:], k, s, d, pads, over, strict=True)
    ]
    y, gx = np.zeros((*x.shape[:2], *size)), np.zeros_like(x)
    for n, c, *p in np.ndindex(*y.shape):
        real, count = [], 0
        for q in np.ndindex(*k):
            at = [a * b + e * f - lo for a, b, e, f, (lo, _) in zip(p, s, q, d, pads, strict=True)]
            if all(0 <= i < m for i, m in zip(at, x.shape[2:], strict=True)):
                real.append((n, c, *at))
            count += all(i < m + hi for i, m, (_, hi) in zip(at, x.shape[2:], pads, strict=True))
        here = (n, c, *p)
        grad = 1.0 if g is None else g[here]
        if kind == "max":
            values = [x[i] for i in real]
            y[here] = max(values, default=-math.inf)
            if values:
                gx[real[values.index(y[here])]] += grad
        else:
            share = 1.0 if kind == "sum" else 1 / (count if include else max(len(real), 1))
            y[here] = sum(x[i] for i in real) * share
            for i in real:
                gx[i] += grad * share
    return y, gx


def whole_windows(x: Array, options: dict[str, Any]) -> bool:
    """Every window holds a real element."""
    return bool(np.isfinite(reference_pool(x, None, "max", options)[0]).all())


@pytest.mark.parametrize("seed", range(25))
@pytest.mark.parametrize("rank", [1, 2, 3])
def test_pools_are_their_definitions(rank: int, seed: int) -> None:
    rng = np.random.default_rng((rank, seed, 3))
    x, options = draw_pool(rng, rank)
    while not whole_windows(x, options):
        x, options = draw_pool(rng, rank)
    before = x.copy()
    pools: list[tuple[str, bool, Callable[[], Forward]]] = [
        ("max", False, lambda: max_pool(x, **options)),
        ("sum", False, lambda: sum_pool(x, **options)),
        ("avg", False, lambda: avg_pool(x, **options)),
        ("avg", True, lambda: avg_pool(x, **options, count_include_pad=True)),
    ]
    for kind, include, pool in pools:
        y, backward = pool()
        g = rng.standard_normal(y.shape)
        expected, gradient = reference_pool(x, g, kind, options, include)
        np.testing.assert_allclose(y, expected, rtol=0, atol=1e-14)
        np.testing.assert_allclose(backward(g), gradient, rtol=0, atol=1e-13)
        np.testing.assert_array_equal(x, before)


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_pools_agree_with_torch_in_ceil_mode(rank: int) -> None:
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(rank)
    functional, tried = torch.nn.functional, 0
    for n, k, s, p in itertools.product((5, 6, 7), (2, 3), (1, 2, 3), (0, 1)):
        if p > k // 2:
            continue
        size = -(-(n + 2 * p - k) // s) + 1
        size -= (size - 1) * s >= n + p
        over = max((size - 1) * s + k - n - 2 * p, 0)
        tried += over > 0
        x = rng.standard_normal((2, 3, *((n,) * rank)))
        for name, include in (("max", False), ("avg", False), ("avg", True)):
            tx = torch.tensor(x, requires_grad=True)
            extra = {"count_include_pad": include} if name == "avg" else {}
            ty = getattr(functional, f"{name}_pool{rank}d")(tx, k, s, p, ceil_mode=True, **extra)
            if name == "max":
                y, backward = max_pool(x, k, s, 1, ((p, p + over),) * rank)
            else:
                y, backward = avg_pool(x, k, s, 1, p, overhang=over, count_include_pad=include)
            g = rng.standard_normal(y.shape)
            ty.backward(torch.tensor(g))
            np.testing.assert_allclose(y, ty.detach().numpy(), rtol=0, atol=1e-14)
            np.testing.assert_allclose(backward(g), tx.grad.numpy(), rtol=0, atol=1e-13)
    assert tried > 3


def test_the_first_maximum_gets_the_whole_gradient() -> None:
    x = np.ones((1, 1, 4, 4))
    y, backward = max_pool(x, 2)
    np.testing.assert_array_equal(y, np.ones((1, 1, 2, 2)))
    expected = np.zeros((4, 4))
    expected[::2, ::2] = 1
    np.testing.assert_array_equal(backward(np.ones_like(y))[0, 0], expected)
    y, backward = max_pool(x, 3, stride=1)
    expected = np.zeros((4, 4))
    expected[:2, :2] = 1
    np.testing.assert_array_equal(backward(np.ones_like(y))[0, 0], expected)
    y, backward = global_max_pool(x)
    assert y.shape == (1, 1, 1, 1)
    assert backward(np.ones_like(y)).reshape(-1).tolist() == [1.0] + [0.0] * 15


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_global_pools(rank: int) -> None:
    rng = np.random.default_rng(rank)
    x = rng.standard_normal((2, 3, *range(3, 3 + rank)))
    flat = x.reshape(2, 3, -1)
    y, backward = global_avg_pool(x)
    assert y.shape == (2, 3, *(1,) * rank)
    np.testing.assert_allclose(y.reshape(2, 3), flat.mean(2), rtol=0, atol=1e-15)
    g = rng.standard_normal(y.shape)
    np.testing.assert_array_equal(backward(g), np.broadcast_to(g / flat.shape[2], x.shape))
    y, backward = global_max_pool(x)
    assert y.shape == (2, 3, *(1,) * rank)
    np.testing.assert_array_equal(y.reshape(2, 3), flat.max(2))
    np.testing.assert_array_equal(backward(g), np.where(x == y, g, 0))


def test_pools_keep_float32() -> None:
    x = np.random.default_rng(0).standard_normal((2, 3, 7, 7)).astype(np.float32)
    results = [
        max_pool(x, 2, pads=1),
        sum_pool(x, 2, pads=1),
        avg_pool(x[:, :, :6, :6], 3, 2, pads=1, overhang=1),
        avg_pool(x, 2, pads=1, count_include_pad=True),
        global_avg_pool(x),
        global_max_pool(x),
    ]
    for y, backward in results:
        assert y.dtype == np.float32
        assert backward(y).dtype == np.float32


def test_a_kernel_that_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match="does not fit"):
        max_pool(np.ones((1, 1, 3)), 2, dilation=3)
