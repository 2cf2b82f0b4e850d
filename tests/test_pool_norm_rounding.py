"""The bounds of norms and of lp pooling, held against 50 digits in every back end.

The inputs are those that rounding is hardest on: means far from 0, sets of nearly equal elements,
and sets of two, whose gradient is what is left when nearly everything has cancelled.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from cnnspec.backends import At, get
from cnnspec.backends.base import Dtype
from cnnspec.check import samples
from cnnspec.check.bounds import UNIT, isolated
from cnnspec.check.effort import replicates
from cnnspec.graph import Graph, Node
from cnnspec.ops.norm import LocalResponseNorm, Normalize, SampleNorm
from cnnspec.ops.pool import LpPool
from tests.networks import BACKENDS, layers

Array = npt.NDArray[Any]
mp: Any = pytest.importorskip("mpmath")

mp.mp.dps = 50
SHARE = 0.5
"""Two right answers lie apart by at most the bound if each is within half of it of the truth."""

exact: Callable[[Any], Array] = np.vectorize(mp.mpf, otypes=[object])
root: Callable[[Any], Array] = np.vectorize(mp.sqrt, otypes=[object])
power: Callable[[Any, Any], Array] = np.vectorize(mp.power, otypes=[object])
rounded: Callable[[Any], Array] = np.vectorize(float, otypes=[float])

CASES = [
    ("layer_norm", "[4, 3, 2]"),
    ("layer_norm: {axes: C}", "[2, 3, 2]"),
    ("layer_norm: {axes: C, affine: false}", "[3, 5]"),
    ("layer_norm: {axes: [height, width]}", "[2, 2, 3]"),
    ("group_norm: {groups: 2}", "[4]"),
    ("group_norm: {groups: 2}", "[4, 3, 2]"),
    ("group_norm: {groups: 3, eps: 0.5}", "[6]"),
    ("instance_norm", "[3, 2]"),
    ("instance_norm: {affine: true}", "[3, 7, 9]"),
    ("local_response_norm: {alpha: 1}", "[7, 3]"),
    ("local_response_norm: {size: 4, alpha: 0.01, beta: 1.5, k: 0.1}", "[3, 2, 2]"),
    ("normalize: {mean: [0.485, 0.456], std: [0.229, 0.3]}", "[2, 3, 4]"),
    ("lp_pool: {kernel: 2, p: 2}", "[2, 4, 6]"),
    ("lp_pool: {kernel: 3, stride: 1, p: 3}", "[2, 9]"),
    ("lp_pool: {kernel: 3, stride: 2, padding: 1, p: 1.5}", "[2, 5, 6]"),
    ("lp_pool: {kernel: 2, p: 1}", "[2, 4, 6]"),
    ("lp_pool: {kernel: 2, p: 50}", "[2, 4, 6]"),
]
DATA: dict[str, Callable[[Array], Array]] = {
    "normal": lambda x: x,
    "far": lambda x: 1000 + x,
    "close": lambda x: 1 + 1e-6 * x,
    "small": lambda x: 1e-6 * x,
}


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("data", DATA)
@pytest.mark.parametrize(("line", "shape"), CASES)
def test_bounds_hold(line: str, shape: str, data: str, dtype: Dtype) -> None:
    network = layers(line, input=shape)
    (node,) = network.nodes
    drawn = samples.sample(network, 0, 0, 3)
    inputs = {name: _fitting(DATA[data](x), dtype) for name, x in drawn.inputs.items()}
    cotangents = {node.id: _fitting(drawn.cotangents["output"], dtype)}
    weights = {name: _fitting(w, dtype) for name, w in samples.weights(network, 0).items()}
    wanted = _truth(node, inputs["input"], cotangents[node.id], weights)
    bounds = _bounds(network, weights, inputs, cotangents)
    for name in BACKENDS:
        session = get(name).open(get(name).emit(network), dtype=dtype)
        session.assign(weights)
        feed = {node.id: (inputs["input"],)}
        found = session.trace(inputs, feed=feed, cotangents=cotangents)
        session.close()
        answers = {
            "value": found.values[node.id],
            "own": found.own[node.id][0],
            **found.parameters,
        }
        assert answers.keys() == wanted.keys()
        for key, answer in answers.items():
            error = rounded(np.abs(exact(answer.astype(float)) - wanted[key]))
            limit = SHARE * UNIT[dtype] * bounds[key] + 1e-37
            assert (error <= limit).all(), (name, key, float((error / limit).max()))


@pytest.mark.parametrize(("line", "shape"), CASES)
def test_bounds_are_far_below_a_mistake(line: str, shape: str) -> None:
    network = layers(line, input=shape)
    (node,) = network.nodes
    drawn = samples.sample(network, 0, 0, 3)
    weights = samples.weights(network, 0)
    cotangents = {node.id: drawn.cotangents["output"]}
    bounds = _bounds(network, weights, drawn.inputs, cotangents)
    for key, bound in bounds.items():
        assert UNIT["float64"] * bound.max() < 1e-10, key


def _fitting(value: Array, dtype: Dtype) -> Array:
    """The nearest numbers of this precision, so that every back end reads the same."""
    found: Array = value.astype(dtype).astype("float64")
    return found


def _bounds(
    network: Graph,
    weights: Mapping[str, Array],
    inputs: Mapping[str, Array],
    cotangents: Mapping[str, Array],
) -> dict[str, Array]:
    """In units of the roundoff, by quantity."""
    (node,) = network.nodes
    reference: Any = get("numpy").open(get("numpy").emit(network))
    reference.assign(weights)
    answer = reference.trace(inputs, cotangents={"output": cotangents[node.id]})
    own = reference.trace(inputs, feed={node.id: (inputs["input"],)}, cotangents=cotangents)
    answer.own = own.own
    found = isolated(
        network.nodes,
        reference,
        weights,
        inputs,
        answer,
        replicates=replicates(network)[0],
        training=False,
        at=At(),
        seed=0,
    )
    return {"value": found.values[node.id], "own": found.own[node.id][0], **found.parameters}


def _truth(node: Node[Any], x: Array, g: Array, weights: Mapping[str, Array]) -> dict[str, Array]:
    """Value and gradients to 50 digits."""
    op = node.op
    x, g = exact(x), exact(g)
    if isinstance(op, SampleNorm):
        return _norm(node, op, x, g, {name: exact(w) for name, w in weights.items()})
    if isinstance(op, LocalResponseNorm):
        alpha, beta = mp.mpf(op.alpha) / op.size, mp.mpf(op.beta)
        base = mp.mpf(op.k) + alpha * _around(x * x, op.size // 2, (op.size - 1) // 2)
        spread = _around(g * x * power(base, -beta - 1), (op.size - 1) // 2, op.size // 2)
        factor = power(base, -beta)
        return {"value": x * factor, "own": g * factor - 2 * alpha * beta * x * spread}
    if isinstance(op, Normalize):
        along = (-1, *(1 for _ in x.shape[2:]))
        mean, std = exact(op.mean).reshape(along), exact(op.std).reshape(along)
        return {"value": (x - mean) / std, "own": g / std}
    assert isinstance(op, LpPool)
    return _lp(op, x, g, node.inputs[0].shape)


def _around(values: Array, before: int, after: int) -> Array:
    """The sum over the channels around each."""
    count = values.shape[1]
    rows = [values[:, max(0, c - before) : c + after + 1].sum(1) for c in range(count)]
    return np.stack(rows, 1)


def _norm(
    node: Node[Any], op: SampleNorm, x: Array, g: Array, weights: Mapping[str, Array]
) -> dict[str, Array]:
    view, over = op.sets(node.shape)
    axes, owned = tuple(axis + 1 for axis in over), op.owned(node.shape)
    along = [n if axis in owned else 1 for axis, n in enumerate(node.shape)]
    others = tuple(axis for axis in range(x.ndim) if axis - 1 not in owned)
    size = op.size(node.shape)

    def mean(values: Array) -> Array:
        found: Array = values.sum(axes, keepdims=True) / mp.mpf(size)
        return found

    sets = x.reshape(len(x), *view)
    centred = sets - mean(sets)
    inverse = 1 / root(mean(centred * centred) + mp.mpf(op.eps))
    normalised = centred * inverse
    y, inner = normalised.reshape(x.shape), g
    found = {}
    if op.affine:
        weight, bias = (weights[f"{node.id}.{k}"].reshape(along) for k in ("weight", "bias"))
        found = {f"{node.id}.weight": (g * y).sum(others), f"{node.id}.bias": g.sum(others)}
        y, inner = y * weight + bias, g * weight
    inner = inner.reshape(sets.shape)
    own = inverse * (inner - mean(inner) - normalised * mean(inner * normalised))
    return {"value": y, "own": own.reshape(x.shape), **found}


def _lp(op: LpPool, x: Array, g: Array, shape: tuple[int, ...]) -> dict[str, Array]:
    window, p = op.window(shape), mp.mpf(op.p)
    y, own = exact(np.zeros(g.shape)), exact(np.zeros(x.shape))
    for n, c, *index in np.ndindex(*g.shape):
        taps = []
        for tap in np.ndindex(*window.kernel):
            at = [
                i * s + q - before
                for i, q, s, (before, _) in zip(index, tap, window.stride, window.pads, strict=True)
            ]
            if all(0 <= i < size for i, size in zip(at, shape[1:], strict=True)):
                taps.append((n, c, *at))
        total = sum(abs(x[tap]) ** p for tap in taps) ** (1 / p)
        y[(n, c, *index)] = total
        for tap in taps:
            slope = mp.sign(x[tap]) * (abs(x[tap]) / total) ** (p - 1)
            own[tap] += slope * g[(n, c, *index)]
    return {"value": y, "own": own}
