"""Random layers that decide for a whole channel or sample, or that drop to a negative value."""

from __future__ import annotations

import numpy as np

from cnnspec.backends.numpy.kernels.annotations import Array, Forward
from cnnspec.backends.numpy.kernels.dropout import CounterDropout, Dropout


def leading_ones(x: Array, axes: int) -> Array:
    """Ones in the shape of the first axes of x, which broadcast over the others."""
    return np.ones((*x.shape[:axes], *(1 for _ in x.shape[axes:])), x.dtype)


class SpatialDropout(Dropout):
    """Dropout of whole channels of a sample."""

    def forward(self, x: Array, training: bool = False) -> Forward:
        """Any shape (N, C, ...)."""
        if not training:
            return x, lambda g: g
        factor, _ = super().forward(leading_ones(x, 2), training)
        return x * factor, lambda g: g * factor


class CounterSpatialDropout(CounterDropout):
    """Dropout of whole channels of a sample."""

    def forward(self, x: Array, training: bool = False) -> Forward:
        """Any shape (N, C, ...)."""
        if not training:
            return x, lambda g: g
        factor, _ = super().forward(leading_ones(x, 2), training)
        return x * factor, lambda g: g * factor


class StochasticDepth(Dropout):
    """Dropout of whole samples."""

    def forward(self, x: Array, training: bool = False) -> Forward:
        """Any shape."""
        if not training:
            return x, lambda g: g
        factor, _ = super().forward(leading_ones(x, 1), training)
        return x * factor, lambda g: g * factor


class CounterStochasticDepth(CounterDropout):
    """Dropout of whole samples."""

    def forward(self, x: Array, training: bool = False) -> Forward:
        """Any shape."""
        if not training:
            return x, lambda g: g
        factor, _ = super().forward(leading_ones(x, 1), training)
        return x * factor, lambda g: g * factor


def alpha_drop(x: Array, keep: Array, p: float) -> Forward:
    """Compute a x + b where kept, a low + b elsewhere; mean and variance after a selu stay."""
    low = -1.0507009873554804934 * 1.6732632423543772848
    a = ((1 - p) * (1 + p * low**2)) ** -0.5
    y = np.where(keep, a * x - a * p * low, a * (1 - p) * low)
    return y, lambda g: np.where(keep, a * g, 0)


class AlphaDropout(Dropout):
    """Drop elements to where a selu ends, in training."""

    def forward(self, x: Array, training: bool = False) -> Forward:
        """Any shape."""
        if not training or self.p in {0, 1}:
            return super().forward(x, training)
        return alpha_drop(x, self.rng.random(x.shape) >= self.p, self.p)


class CounterAlphaDropout(CounterDropout):
    """Drop elements to where a selu ends, in training."""

    def forward(self, x: Array, training: bool = False) -> Forward:
        """Any shape."""
        if not training or self.p in {0, 1}:
            return super().forward(x, training)
        return alpha_drop(x, self.keep(x.shape, self.p), self.p)
