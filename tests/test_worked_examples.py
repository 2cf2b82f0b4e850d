"""Arithmetic that can be checked by hand, on every backend, through specs and sessions."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from cnnspec.api import read
from cnnspec.backends import BUILT_IN, Session, Style, get
from cnnspec.explain import explain
from cnnspec.graph import Graph

Array = npt.NDArray[Any]


@pytest.fixture(params=BUILT_IN, scope="module")
def backend(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def graph_of(layers: str, input: str, more: str = "") -> Graph:
    return read(f"cnnspec: 1\nname: example\ninput: {input}\nlayers: {layers}\n{more}").graph


def opened(graph: Graph, backend: str, weights: Mapping[str, Any]) -> Session:
    made = get(backend)
    session = made.open(made.emit(graph, Style(random="counter")), dtype="float64")
    session.assign({name: np.asarray(value, float) for name, value in weights.items()})
    return session


def output(graph: Graph, backend: str, x: Any, weights: Mapping[str, Any] | None = None) -> Array:
    """The only output for one sample."""
    session = opened(graph, backend, weights or {})
    try:
        found = session.forward({"input": np.asarray(x, float)[None]})["output"]
    finally:
        session.close()
    return np.asarray(found[0])


# 1. True convolution: the kernel is turned round.


def test_convolution_of_a_signal(backend: str) -> None:
    graph = graph_of("[conv: {name: w, filters: 1, kernel: 4, stride: 2, flip: true}]", "[1, 8]")
    weights = {"w.weight": [[[0.5, 0.75, 1, 0.25]]], "w.bias": [0]}
    y = output(graph, backend, [[3, 2, 1, 7, 1, 2, 5, 4]], weights)
    np.testing.assert_array_equal(y, [[7, 9, 8]])


# 2. Sizes: o = floor((n + 2p - m) / s) + 1.


@pytest.mark.parametrize("n", [7, 8, 28])
@pytest.mark.parametrize("m", [1, 2, 3, 5])
@pytest.mark.parametrize("s", [1, 2, 3])
@pytest.mark.parametrize("padding", ["valid", "same", "full", 1, 2])
def test_sizes(n: int, m: int, s: int, padding: str | int) -> None:
    layer = f"{{filters: 1, kernel: {m}, stride: {s}, padding: {padding}}}"
    (node,) = graph_of(f"[conv: {layer}]", f"[1, {n}]").nodes
    if padding == "same":
        wanted = math.ceil(n / s)
    else:
        p = {"valid": 0, "full": m - 1}.get(str(padding), padding)
        wanted = math.floor((n + 2 * int(p) - m) / s) + 1
    assert node.shape == (1, wanted)


# 3. Max pooling 2x2, stride 2.

X1 = [
    [10, 255, 125, 0, 170, 100],
    [70, 255, 105, 25, 25, 70],
    [255, 0, 150, 0, 10, 10],
    [0, 255, 10, 10, 150, 20],
    [70, 15, 200, 100, 95, 0],
    [35, 25, 100, 20, 0, 60],
]
X2 = [
    [100, 100, 100, 50, 100, 50],
    [95, 255, 100, 125, 125, 170],
    [80, 40, 10, 10, 125, 150],
    [255, 30, 150, 20, 120, 125],
    [30, 30, 150, 100, 70, 70],
    [70, 30, 100, 200, 70, 95],
]


@pytest.mark.parametrize("image", [X1, X2])
def test_max_pooling_of_two_images(backend: str, image: list[list[int]]) -> None:
    y = output(graph_of("[max_pool: {kernel: 2}]", "[1, 6, 6]"), backend, [image])
    np.testing.assert_array_equal(y, [[[255, 125, 170], [255, 150, 150], [70, 200, 95]]])


# 4. Sums of 3x3 neighbourhoods, once as a convolution and once as a pooling.


@pytest.mark.parametrize(
    ("layer", "weights"),
    [
        (
            "conv: {name: c, filters: 1, kernel: 3, stride: 2, bias: false}",
            {"c.weight": np.ones((1, 1, 3, 3))},
        ),
        ("sum_pool: {kernel: 3, stride: 2}", {}),
    ],
)
def test_sums(backend: str, layer: str, weights: Mapping[str, Any]) -> None:
    x = [[[10 * row + column for column in range(1, 8)] for row in range(7)]]
    y = output(graph_of(f"[{layer}]", "[1, 7, 7]"), backend, x, weights)
    np.testing.assert_array_equal(y, [[[108, 126, 144], [288, 306, 324], [468, 486, 504]]])


# 5. Two filters over three channels.

IMAGE = [
    [[0, 0, 1, 0, 2], [1, 0, 2, 0, 1], [1, 0, 2, 2, 0], [2, 0, 0, 2, 0], [2, 1, 2, 2, 0]],
    [[2, 1, 2, 1, 1], [2, 1, 2, 0, 1], [0, 2, 1, 0, 1], [1, 2, 2, 2, 2], [0, 1, 2, 0, 1]],
    [[2, 1, 1, 2, 0], [1, 0, 0, 1, 0], [0, 1, 0, 0, 0], [1, 0, 2, 1, 0], [2, 2, 1, 1, 1]],
]
FILTERS = [
    [
        [[-1, 0, 1], [0, 0, 1], [1, -1, 1]],
        [[-1, 0, 1], [1, -1, 1], [0, 1, 0]],
        [[-1, 1, 1], [1, 1, 0], [0, -1, 0]],
    ],
    [
        [[0, 1, -1], [0, -1, 0], [0, -1, 1]],
        [[-1, 0, 0], [1, -1, 0], [1, -1, 0]],
        [[-1, 1, -1], [0, -1, -1], [1, 0, 0]],
    ],
]


def test_two_filters(backend: str) -> None:
    graph = graph_of("[conv: {name: c, filters: 2, kernel: 3, stride: 2, padding: 1}]", "[3, 5, 5]")
    y = output(graph, backend, IMAGE, {"c.weight": FILTERS, "c.bias": [1, 0]})
    np.testing.assert_array_equal(
        y, [[[2, 3, 3], [3, 7, 3], [8, 10, -3]], [[-8, -8, -3], [-3, 1, 0], [-3, -8, -5]]]
    )


# 6. Back through one convolution.


def test_gradient_of_a_convolution(backend: str) -> None:
    graph = graph_of("[conv: {name: c, filters: 1, kernel: 2, bias: false}]", "[1, 3, 3]")
    rng = np.random.default_rng(6)
    x, w, errors = (rng.normal(size=(n, n)) for n in (3, 2, 2))
    session = opened(graph, backend, {"c.weight": w[None, None]})
    found = session.gradients(
        {"input": x[None, None]}, cotangents={"output": errors[None, None]}, training=True
    )
    session.close()
    h = found.outputs["output"][0, 0]
    dw, dx = np.zeros((2, 2)), np.zeros((3, 3))
    for i in range(2):
        for j in range(2):
            assert h[i, j] == pytest.approx(np.sum(w * x[i : i + 2, j : j + 2]), rel=1e-14)
            dw[i, j] = sum(errors[a, b] * x[a + i, b + j] for a in range(2) for b in range(2))
            dx[i : i + 2, j : j + 2] += errors[i, j] * w
    np.testing.assert_allclose(found.parameters["c.weight"][0, 0], dw, rtol=1e-13)
    np.testing.assert_allclose(found.inputs["input"][0, 0], dx, rtol=1e-13)


def test_the_gradient_of_a_sum_is_the_sum_of_what_a_weight_meets(backend: str) -> None:
    graph = graph_of("[conv: {name: c, filters: 1, kernel: 2, bias: false}]", "[1, 3, 3]")
    x = np.arange(1.0, 10).reshape(1, 1, 3, 3)
    session = opened(graph, backend, {"c.weight": np.ones((1, 1, 2, 2))})
    found = session.gradients({"input": x}, cotangents={"output": np.ones((1, 1, 2, 2))})
    session.close()
    np.testing.assert_array_equal(found.parameters["c.weight"], [[[[12, 16], [24, 28]]]])
    np.testing.assert_array_equal(found.inputs["input"], [[[[1, 2, 1], [2, 4, 2], [1, 2, 1]]]])


# 7. Parameters of a layer.


@pytest.mark.parametrize(
    ("kernel", "stride", "padding"), [(3, 1, 1), (5, 1, 2), (5, 2, 0), (5, 2, 2), (1, 1, 0)]
)
def test_parameters_of_a_convolution(kernel: int, stride: int, padding: int) -> None:
    d1, k, width, height = 3, 8, 17, 15
    layer = f"{{filters: {k}, kernel: {kernel}, stride: {stride}, padding: {padding}}}"
    (node,) = graph_of(f"[conv: {layer}]", f"[{d1}, {height}, {width}]").nodes
    weight, bias = node.params
    assert (weight.size, bias.size) == (kernel * kernel * d1 * k, k)
    sizes = [(n - kernel + 2 * padding) // stride + 1 for n in (height, width)]
    assert node.shape == (k, *sizes)


@pytest.mark.parametrize(("kernel", "stride"), [(2, 2), (3, 2)])
@pytest.mark.parametrize("op", ["max_pool", "avg_pool", "sum_pool"])
def test_pooling_has_no_parameters(op: str, kernel: int, stride: int) -> None:
    (node,) = graph_of(f"[{op}: {{kernel: {kernel}, stride: {stride}}}]", "[3, 9, 11]").nodes
    assert node.params == ()
    assert node.shape == (3, (9 - kernel) // stride + 1, (11 - kernel) // stride + 1)


# 8. One update of a softmax layer on 784 pixels, batches of 100.


def test_update_of_a_softmax_layer(backend: str) -> None:
    train = "train: {loss: cross_entropy, optimizer: {sgd: {lr: 0.5}}, batch: 100}\n"
    graph = graph_of("[flatten, {dense: {name: fc, units: 10}}, softmax]", "[1, 28, 28]", train)
    rng = np.random.default_rng(8)
    x = rng.uniform(size=(100, 1, 28, 28))
    labels = rng.integers(0, 10, 100)
    w, b = rng.normal(size=(10, 784)) / 28, rng.normal(size=10) / 10
    session = opened(graph, backend, {"fc.weight": w, "fc.bias": b})
    p = session.forward({"input": x})["output"]
    loss = session.step({"input": x}, {"output": labels})
    after = session.weights()
    session.close()
    flat = x.reshape(100, 784)
    scores = flat @ w.T + b
    exponentials = np.exp(scores)
    wanted = exponentials / exponentials.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(p, wanted, rtol=1e-12)
    assert loss == pytest.approx(-np.mean(np.log(wanted[np.arange(100), labels])), rel=1e-12)
    error = (wanted - np.eye(10)[labels]) / 100
    np.testing.assert_allclose(after["fc.weight"], w - 0.5 * error.T @ flat, rtol=0, atol=1e-14)
    np.testing.assert_allclose(after["fc.bias"], b - 0.5 * error.sum(axis=0), rtol=0, atol=1e-14)


# 9. The X and the O.

TABLE = [
    [0.77, 0, 0.11, 0.33, 0.55, 0, 0.33],
    [0, 1, 0, 0.33, 0, 0.11, 0],
    [0.11, 0, 1, 0, 0.11, 0, 0.55],
    [0.33, 0.33, 0, 0.55, 0, 0.33, 0.33],
    [0.55, 0, 0.11, 0, 1, 0, 0.11],
    [0, 0.11, 0, 0.33, 0, 1, 0],
    [0.33, 0, 0.55, 0.33, 0.11, 0, 0.77],
]


def test_max_pooling_of_the_last_odd_row_and_column(backend: str) -> None:
    graph = graph_of("[max_pool: {kernel: 2, ceil_mode: true}]", "[1, 7, 7]")
    y = output(graph, backend, [TABLE])
    wanted = [
        [1, 0.33, 0.55, 0.33],
        [0.33, 1, 0.33, 0.55],
        [0.55, 0.33, 1, 0.11],
        [0.33, 0.55, 0.11, 0.77],
    ]
    np.testing.assert_array_equal(y, [wanted])


SIZE = 9
X = [
    [1.0 if r in (c, SIZE - 1 - c) and 0 < r < SIZE - 1 else -1.0 for c in range(SIZE)]
    for r in range(SIZE)
]
O = [
    [1.0 if 8 <= (r - 4) ** 2 + (c - 4) ** 2 <= 10 else -1.0 for c in range(SIZE)]
    for r in range(SIZE)
]
DIAGONAL = [[1, -1, -1], [-1, 1, -1], [-1, -1, 1]]
CROSS = [[1, -1, 1], [-1, 1, -1], [1, -1, 1]]
ANTIDIAGONAL = [[-1, -1, 1], [-1, 1, -1], [1, -1, -1]]


def test_first_layers_on_the_x(backend: str) -> None:
    layers = """[conv: {name: c, filters: 3, kernel: 3, bias: false}, relu,
      max_pool: {name: p, kernel: 2, ceil_mode: true}]"""
    graph = graph_of(layers, "[1, 9, 9]", "outputs: {maps: relu1, pooled: p}\n")
    filters = np.array([DIAGONAL, CROSS, ANTIDIAGONAL])[:, None] / 9
    session = opened(graph, backend, {"c.weight": filters})
    found = session.forward({"input": np.array(X)[None, None]})
    session.close()
    maps = found["maps"][0]
    np.testing.assert_allclose(maps[0], np.round(np.array(TABLE) * 9) / 9, atol=1e-15)
    # The filter of the cross finds it in the middle; the two diagonals are mirror images.
    assert divmod(int(np.argmax(maps[1])), 7) == (3, 3)
    assert maps[1, 3, 3] == pytest.approx(1.0, abs=1e-15)
    np.testing.assert_allclose(maps[2], maps[0][:, ::-1], atol=1e-15)
    assert found["pooled"].shape == (1, 3, 4, 4)


def test_vote_between_x_and_o(backend: str) -> None:
    layers = """
- conv: {name: c1, filters: 3, kernel: 3, bias: false}
- relu
- max_pool: {kernel: 2, ceil_mode: true}
- max_pool: {kernel: 2, ceil_mode: true, expect: [3, 2, 2]}
- flatten
- dense: {name: vote, units: 2, bias: false}"""
    graph = graph_of(layers, "[1, 9, 9]")
    filters = np.array([DIAGONAL, CROSS, ANTIDIAGONAL])[:, None] / 9
    plain = graph_of(layers.rpartition("\n")[0], "[1, 9, 9]")
    x, o = (output(plain, backend, [image], {"c1.weight": filters}) for image in (X, O))
    assert x.shape == o.shape == (12,)
    # Each unit votes for what its own picture has more of.
    weights = {"c1.weight": filters, "vote.weight": [x - o, o - x]}
    votes = [output(graph, backend, [image], weights) for image in (X, O)]
    assert votes[0][0] > votes[0][1]
    assert votes[1][1] > votes[1][0]


# Figures that were published wrong.


@pytest.mark.parametrize(
    ("input", "conv", "wanted"),
    [
        ("[1, 28, 28]", "filters: 1, kernel: 5", 24),
        ("[3, 224, 224]", "filters: 96, kernel: 11, stride: 4, padding: same", 56),
        ("[3, 224, 224]", "filters: 96, kernel: 11, stride: 4, padding: 2", 55),
        ("[3, 227, 227]", "filters: 96, kernel: 11, stride: 4", 55),
    ],
)
def test_published_sizes(input: str, conv: str, wanted: int) -> None:
    graph = graph_of(f"[conv: {{name: c, {conv}}}]", input)
    (node,) = graph.nodes
    assert node.shape[1:] == (wanted, wanted)
    assert f"= {wanted}" in explain(graph, "c")
