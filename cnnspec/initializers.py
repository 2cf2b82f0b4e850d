"""Initial values, drawn once, in NumPy, in canonical layout, and then given to every back end.

A parameter's values depend on the seed and on its own name alone: not on the order of layers, the
back end, or the version of NumPy, whose raw Philox stream is guaranteed to stay the same. Normal
and truncated values go through the system's `log`, `cos` and `ndtri`, whose last digit may differ
between machines.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from cnnspec import memory
from cnnspec.graph import Graph
from cnnspec.ops import initializer as kinds
from cnnspec.ops.base import Param

__all__ = ["draw", "initial_weights", "normal", "truncated_normal", "uniform"]

Float64 = npt.NDArray[np.float64]


def initial_weights(graph: Graph, *, seed: int | None = None) -> dict[str, Float64]:
    """Every parameter and running statistic of a network, in float64, by canonical name.

    Args:
        graph: the network.
        seed: instead of the one of the spec.

    Raises:
        SetupError: they would not fit into this machine's memory.
    """
    memory.require(memory.drawing_bytes(graph), "drawing the weights")
    seed = graph.seed if seed is None else seed
    return {name: draw(name, param, seed) for name, param in graph.params().items()}


def draw(name: str, param: Param, seed: int) -> Float64:
    """The initial value of one parameter.

    Args:
        name: its canonical name, `layer1.0.conv1.weight`.
        param: its shape, fans and initializer.
        seed: of the network.

    Returns:
        float64, in the canonical layout.
    """
    values = _DRAWS[type(param.init)](param.init, name, param, seed)
    return np.ascontiguousarray(values.reshape(param.shape))


PORTION = 1 << 15
"""Numbers that are made at a time, so that they stay in the cache."""


def uniform(name: str, count: int, seed: int) -> Float64:
    """`count` numbers in [0, 1), 53 random bits each."""
    digest = hashlib.blake2b(f"{seed}/{name}".encode(), digest_size=16).digest()
    # `key=` by keyword: the first positional argument is a seed, which is hashed again.
    stream = np.random.Philox(key=np.frombuffer(digest, "<u8").astype(np.uint64))
    values = np.empty(count)
    for start in range(0, count, PORTION):
        part = values[start : start + PORTION]
        part[...] = stream.random_raw(len(part)) >> np.uint64(11)
        part *= 2.0**-53
    return values


def normal(name: str, count: int, seed: int) -> Float64:
    """`count` standard normal numbers, by Box and Muller's method, two from two uniform ones."""
    values = uniform(name, 2 * math.ceil(count / 2), seed)
    for start in range(0, len(values), PORTION):
        pairs = values[start : start + PORTION]
        radius = np.sqrt(-2.0 * np.log1p(-pairs[0::2]))
        angle = 2.0 * np.pi * pairs[1::2]
        pairs[0::2] = radius * np.cos(angle)
        pairs[1::2] = radius * np.sin(angle)
    return values[:count]


def truncated_normal(name: str, count: int, seed: int) -> Float64:
    """`count` standard normal numbers within two standard deviations, by the inverse method."""
    from scipy.special import ndtr, ndtri

    low, high = ndtr(-2.0), ndtr(2.0)
    values: Float64 = ndtri(low + uniform(name, count, seed) * (high - low))
    return values


def _fill(value: float) -> Callable[..., Float64]:
    return lambda init, name, param, seed: np.full(param.size, value)


def _constant(init: kinds.Constant, name: str, param: Param, seed: int) -> Float64:
    return np.full(param.size, init.value)


def _normal(init: kinds.Normal, name: str, param: Param, seed: int) -> Float64:
    return init.mean + init.std * normal(name, param.size, seed)


def _truncated(init: kinds.TruncatedNormal, name: str, param: Param, seed: int) -> Float64:
    return init.mean + init.std * truncated_normal(name, param.size, seed)


def _uniform(init: kinds.Uniform, name: str, param: Param, seed: int) -> Float64:
    return init.low + (init.high - init.low) * uniform(name, param.size, seed)


def _orthogonal(init: kinds.Orthogonal, name: str, param: Param, seed: int) -> Float64:
    z = normal(name, param.size, seed).reshape(param.shape[0], -1)
    wide = z.shape[0] < z.shape[1]
    q, r = np.linalg.qr(z.T if wide else z)
    # The sign of a column of Q is the algorithm's choice; this makes the draw uniform over all
    # orthogonal matrices, and the same whatever the algorithm.
    q *= np.where(np.diag(r) < 0, -1.0, 1.0)
    return init.gain * (q.T if wide else q)


def _scaled_normal(
    init: kinds.HeNormal | kinds.GlorotNormal | kinds.LecunNormal,
    name: str,
    param: Param,
    seed: int,
) -> Float64:
    std = init.std(param.fan_in, param.fan_out)
    if init.truncated:
        return std / kinds.TRUNCATION * truncated_normal(name, param.size, seed)
    return std * normal(name, param.size, seed)


def _scaled_uniform(init: kinds.Scaled, name: str, param: Param, seed: int) -> Float64:
    limit = init.limit(param.fan_in, param.fan_out)
    return -limit + 2.0 * limit * uniform(name, param.size, seed)


_DRAWS: dict[type[kinds.Initializer], Callable[[Any, str, Param, int], Float64]] = {
    kinds.Zeros: _fill(0.0),
    kinds.Ones: _fill(1.0),
    kinds.Constant: _constant,
    kinds.Normal: _normal,
    kinds.TruncatedNormal: _truncated,
    kinds.Uniform: _uniform,
    kinds.Orthogonal: _orthogonal,
    kinds.HeNormal: _scaled_normal,
    kinds.GlorotNormal: _scaled_normal,
    kinds.LecunNormal: _scaled_normal,
    kinds.HeUniform: _scaled_uniform,
    kinds.GlorotUniform: _scaled_uniform,
    kinds.LecunUniform: _scaled_uniform,
    kinds.TorchDefault: _scaled_uniform,
}
