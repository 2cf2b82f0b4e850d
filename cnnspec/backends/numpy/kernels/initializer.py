"""Initial values, filled in place from a generator; shapes are (out, in, *kernel)."""

from __future__ import annotations

import math

import numpy as np

from cnnspec.backends.numpy.kernels.annotations import Array


def fans(shape: tuple[int, ...]) -> tuple[int, int]:
    """Inputs per unit of output, and outputs per unit of input."""
    kernel = math.prod(shape[2:])
    return shape[1] * kernel, shape[0] * kernel


def constant(array: Array, value: float) -> None:
    """The same value everywhere."""
    array[...] = value


def zeros(array: Array) -> None:
    """Zero everywhere."""
    array[...] = 0


def ones(array: Array) -> None:
    """One everywhere."""
    array[...] = 1


def uniform(array: Array, rng: np.random.Generator, low: float, high: float) -> None:
    """Uniform between low and high."""
    array[...] = rng.uniform(low, high, array.shape)


def normal(array: Array, rng: np.random.Generator, std: float = 1.0, mean: float = 0.0) -> None:
    """Normal with this standard deviation and mean."""
    array[...] = rng.normal(mean, std, array.shape)


def truncated_normal(
    array: Array, rng: np.random.Generator, std: float = 1.0, mean: float = 0.0
) -> None:
    """Normal, drawn again where more than two standard deviations from the mean."""
    z = rng.standard_normal(array.shape)
    while (outside := np.abs(z) > 2).any():
        z[outside] = rng.standard_normal(np.count_nonzero(outside))
    array[...] = mean + std * z


def he_uniform(array: Array, rng: np.random.Generator, slope: float = 0.0, fan: str = "in") -> None:
    """Uniform with variance 2 / (1 + slope^2) / fan, for a (leaky) relu."""
    fan_in, fan_out = fans(array.shape)
    bound = math.sqrt(6 / (1 + slope**2) / (fan_in if fan == "in" else fan_out))
    uniform(array, rng, -bound, bound)


def he_normal(array: Array, rng: np.random.Generator, slope: float = 0.0, fan: str = "in") -> None:
    """Normal with variance 2 / (1 + slope^2) / fan, for a (leaky) relu."""
    fan_in, fan_out = fans(array.shape)
    normal(array, rng, math.sqrt(2 / (1 + slope**2) / (fan_in if fan == "in" else fan_out)))


def glorot_uniform(array: Array, rng: np.random.Generator, gain: float = 1.0) -> None:
    """Uniform with variance 2 gain^2 / (fan_in + fan_out)."""
    bound = gain * math.sqrt(6 / sum(fans(array.shape)))
    uniform(array, rng, -bound, bound)


def glorot_normal(array: Array, rng: np.random.Generator, gain: float = 1.0) -> None:
    """Normal with variance 2 gain^2 / (fan_in + fan_out)."""
    normal(array, rng, gain * math.sqrt(2 / sum(fans(array.shape))))


def lecun_uniform(array: Array, rng: np.random.Generator) -> None:
    """Uniform with variance 1 / fan_in."""
    bound = math.sqrt(3 / fans(array.shape)[0])
    uniform(array, rng, -bound, bound)


def lecun_normal(array: Array, rng: np.random.Generator) -> None:
    """Normal with variance 1 / fan_in."""
    normal(array, rng, math.sqrt(1 / fans(array.shape)[0]))


def orthogonal(array: Array, rng: np.random.Generator, gain: float = 1.0) -> None:
    """Orthonormal rows (or columns, the fewer) of the (out, in * kernel) matrix, times gain."""
    rows, columns = len(array), math.prod(array.shape[1:])
    q, r = np.linalg.qr(rng.standard_normal((max(rows, columns), min(rows, columns))))
    q *= np.sign(np.diag(r))
    array[...] = gain * (q if rows >= columns else q.T).reshape(array.shape)
