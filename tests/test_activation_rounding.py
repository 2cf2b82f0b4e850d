"""The stated rounding of each activation, measured against 50 digits in every back end."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from cnnspec.backends import get
from cnnspec.backends.base import Dtype
from cnnspec.check.bounds import UNIT
from cnnspec.ops import lookup, registered
from cnnspec.ops.activation import Activation
from cnnspec.ops.base import Op
from tests.networks import BACKENDS, graph

Array = npt.NDArray[Any]
mp: Any = pytest.importorskip("mpmath")

mp.mp.dps = 50
CONDITION = 4.0
"""A bound counts ten times what a perturbation of the input does; half of one counts this much."""

SELU = mp.mpf("1.0507009873554804934193349852946")
SELU_END = mp.mpf("1.6732632423543772848170429916717")


def clip(x: Any, low: int, high: int) -> Any:
    return min(max(x, mp.mpf(low)), mp.mpf(high))


def softplus(x: Any) -> Any:
    return mp.log1p(mp.exp(x))


EXACT: dict[str, Callable[[Any], Any]] = {
    "relu": lambda x: max(x, mp.mpf(0)),
    "relu6": lambda x: clip(x, 0, 6),
    "leaky_relu": lambda x: x if x > 0 else mp.mpf(0.1) * x,
    "tanh": mp.tanh,
    "sigmoid": lambda x: 1 / (1 + mp.exp(-x)),
    "silu": lambda x: x / (1 + mp.exp(-x)),
    "elu": lambda x: x if x > 0 else mp.expm1(x),
    "celu": lambda x: x if x > 0 else mp.mpf(0.7) * mp.expm1(x / mp.mpf(0.7)),
    "selu": lambda x: SELU * (x if x > 0 else SELU_END * mp.expm1(x)),
    "gelu": lambda x: x / 2 * (1 + mp.erf(x / mp.sqrt(2))),
    "gelu_tanh": lambda x: (
        x / 2 * (1 + mp.tanh(mp.sqrt(2 / mp.pi) * (x + mp.mpf("0.044715") * x**3)))
    ),
    "mish": lambda x: x * mp.tanh(softplus(x)),
    "softplus": softplus,
    "softsign": lambda x: x / (1 + abs(x)),
    "log_sigmoid": lambda x: -softplus(-x),
    "hard_sigmoid": lambda x: clip(x + 3, 0, 6) / 6,
    "hard_swish": lambda x: x * clip(x + 3, 0, 6) / 6,
    "hard_tanh": lambda x: clip(x, -1, 1),
}
FIELDS = {"celu": "{alpha: 0.7}", "leaky_relu": "{slope: 0.1}"}
OVER_CHANNELS = {"softmax", "log_softmax"}


def op_of(key: str) -> type[Op]:
    found = lookup(key)
    assert found is not None
    return found


def test_none_is_left_out() -> None:
    """Of those that are functions of one number, or of one position's channels."""
    known = {
        op.key
        for op in registered()
        if op.__module__ == Activation.__module__ and "weight_init" not in op.model_fields
    }
    assert known == EXACT.keys() | OVER_CHANNELS


@cache
def points() -> Array:
    """Where the terms of a value or a derivative cancel, where it saturates, and around 0."""
    rng = np.random.default_rng(0)
    small = 10.0 ** rng.uniform(-10, 0, 60)
    x = np.concatenate(
        [
            np.linspace(-45, 45, 500) + 0.00317,
            np.linspace(6.9, 7.4, 60),
            np.linspace(-7.4, -4.6, 150),
            np.linspace(7.5, 10.5, 60),
            np.linspace(16, 19, 120),
            np.linspace(-19, -16, 60),
            rng.normal(size=300),
            small,
            -small,
        ]
    )
    return x.astype(np.float32).astype(np.float64)  # so that both dtypes have the same numbers


@cache
def exactly(key: str) -> tuple[list[Any], list[Any], Array]:
    """Value and first derivative in 50 digits, and the magnitude of the second."""
    function, h = EXACT[key], mp.mpf(10) ** -16
    values, slopes, bends = [], [], []
    for number in points():
        x = mp.mpf(float(number))
        left, middle, right = function(x - h), function(x), function(x + h)
        values.append(middle)
        slopes.append((right - left) / (2 * h))
        bends.append(abs(float((right - 2 * middle + left) / h**2)))
    return values, slopes, np.array(bends)


def answers(layer: str, x: Array, backend: str, dtype: Dtype, g: Array) -> tuple[Array, Array]:
    """Value and gradient of one layer."""
    made = graph(f"cnnspec: 1\nname: net\ninput: {list(x.shape[1:])}\nlayers: [{layer}]\n")
    session = get(backend).open(get(backend).emit(made), dtype=dtype)
    found = session.gradients({"input": x}, cotangents={"output": g}, training=False)
    session.close()
    return found.outputs["output"], found.inputs["input"]


def errors(found: Array, exact: list[Any], unit: float) -> Array:
    pairs = zip(found.ravel(), exact, strict=True)
    return np.array([abs(float(mp.mpf(float(a)) - b)) for a, b in pairs]) / unit


def measured(key: str, dtype: Dtype) -> float:
    """How large `rounding` has to be: twice the worst error, since two answers are compared."""
    op, x = op_of(key), points()
    values, slopes, bends = exactly(key)
    value, slope = (np.array([float(v) for v in exact]) for exact in (values, slopes))
    layer = f"{{{key}: {FIELDS[key]}}}" if key in FIELDS else key
    worst = 0.0
    for backend in BACKENDS:
        y, gx = answers(layer, x[None], backend, dtype, np.ones((1, x.size)))
        terms = np.abs(value) + (np.abs(x) if op.cancels else 0.0) + 1e-300
        wrong = errors(y, values, UNIT[dtype]) - CONDITION * np.abs(x * slope)
        worst = max(worst, float((wrong / terms).max()))
        wrong = errors(gx, slopes, UNIT[dtype]) - CONDITION * np.abs(x) * bends
        worst = max(worst, float((wrong / (np.abs(slope) + 1)).max()))
    return 2 * worst


@pytest.mark.parametrize("key", EXACT)
def test_rounding_is_what_is_stated(key: str) -> None:
    found = max(measured(key, "float64"), measured(key, "float32"))
    assert found <= op_of(key).rounding
    if op_of(key).rounding > 16:  # larger than the usual one for a reason
        assert found >= op_of(key).rounding / 4


@pytest.mark.parametrize("key", sorted(OVER_CHANNELS))
@pytest.mark.parametrize("dtype", UNIT)
@pytest.mark.parametrize("channels", [2, 7, 60])
@pytest.mark.parametrize("scale", [1, 30])
def test_rounding_over_channels(key: str, dtype: Dtype, channels: int, scale: int) -> None:
    rng = np.random.default_rng(channels)
    x, g = rng.normal(size=(2, 10, channels)).astype(np.float32).astype(np.float64)
    x *= scale
    logarithms, gradients = [], []
    for row, cotangent in zip(x, g, strict=True):
        z = [mp.mpf(float(v)) for v in row]
        total = mp.log(mp.fsum(mp.exp(v) for v in z))
        logarithm = [v - total for v in z]
        p = [mp.exp(v) for v in logarithm]
        given = [mp.mpf(float(v)) for v in cotangent]
        if key == "softmax":
            dot = mp.fsum(a * b for a, b in zip(p, given, strict=True))
            gradients += [a * (b - dot) for a, b in zip(p, given, strict=True)]
            logarithms += p
        else:
            dot = mp.fsum(given)
            gradients += [b - a * dot for a, b in zip(p, given, strict=True)]
            logarithms += logarithm
    size = np.abs(g).sum(1, keepdims=True).repeat(channels, 1).ravel()
    reach = np.abs(x).max(1, keepdims=True).repeat(channels, 1).ravel()
    value = np.array([float(v) for v in logarithms])
    # A value moves with all of its inputs: by itself times their size, its logarithm by that.
    moves = reach * (np.abs(value) if key == "softmax" else 1.0)
    for backend in BACKENDS:
        y, gx = answers(key, x, backend, dtype, g)
        rounding = op_of(key).rounding / 2
        limit = rounding * np.abs(value) + CONDITION * moves
        assert (errors(y, logarithms, UNIT[dtype]) <= limit + 1e-20).all()
        limit = rounding * size + CONDITION * reach * size
        assert (errors(gx, gradients, UNIT[dtype]) <= limit).all()
