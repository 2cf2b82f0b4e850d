"""Activations; at a kink the gradient is that of the negative side."""

from __future__ import annotations

import math

import numpy as np
from scipy import special

from cnnspec.backends.numpy.kernels.annotations import Array, Forward
from cnnspec.backends.numpy.kernels.base import Layer, keeping


def relu(x: Array) -> Forward:
    """max(x, 0)."""
    y = np.clip(x, 0, math.inf)  # faster than np.maximum with a number
    return y, keeping(lambda g: g * (y > 0))


def leaky_relu(x: Array, slope: float = 0.01) -> Forward:
    """Compute x where positive, slope x elsewhere."""
    return np.where(x > 0, x, slope * x), lambda g: np.where(x > 0, g, slope * g)


class PRelu(Layer):
    """x where positive, weight x elsewhere; one weight per channel, or one in all."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.parameters["weight"] = np.full(channels, 0.25, np.float32)

    def forward(self, x: Array, training: bool = False) -> Forward:
        """Any shape (N, C, ...)."""
        weight = self.parameters["weight"]
        slope = weight.reshape(1, -1, *(1 for _ in x.shape[2:]))

        def backward(g: Array) -> Array:
            axes = (0, *range(2, x.ndim)) if len(weight) > 1 else None
            self.accumulate("weight", np.where(x > 0, 0, g * x).sum(axes).reshape(weight.shape))
            return np.where(x > 0, g, slope * g)

        return np.where(x > 0, x, slope * x), backward


def elu(x: Array, alpha: float = 1.0) -> Forward:
    """Compute x where positive, alpha (exp(x) - 1) elsewhere."""
    negative = np.minimum(x, 0)
    y = np.where(x > 0, x, alpha * np.expm1(negative))
    return y, lambda g: np.where(x > 0, g, alpha * np.exp(negative) * g)


def selu(x: Array) -> Forward:
    """Self-normalising: a scaled elu."""
    scale = 1.0507009873554804934
    y, elu_backward = elu(x, 1.6732632423543772848)
    return scale * y, lambda g: elu_backward(scale * g)


def logistic(x: Array) -> Array:
    """1 / (1 + exp(-x)), without overflow."""
    e = np.exp(-np.abs(x))
    y: Array = np.where(x > 0, 1, e) / (1 + e)
    return y


def sigmoid(x: Array) -> Forward:
    """1 / (1 + exp(-x))."""
    y = logistic(x)
    return y, keeping(lambda g: g * y * (1 - y))


def silu(x: Array) -> Forward:
    """Compute x sigmoid(x)."""
    s = logistic(x)
    return x * s, keeping(lambda g: g * s * (1 + x * (1 - s)))


def tanh(x: Array) -> Forward:
    """Hyperbolic tangent."""
    y = np.tanh(x)
    return y, keeping(lambda g: g * (1 - y * y))


def gelu(x: Array) -> Forward:
    """Compute x Phi(x), Phi the normal distribution function (exact, by erf)."""
    phi = 0.5 * (1 + special.erf(x * math.sqrt(0.5)))

    def backward(g: Array) -> Array:
        density = np.exp(-0.5 * x * x) / math.sqrt(2 * math.pi)
        gx: Array = g * (phi + x * density)
        return gx

    return x * phi, keeping(backward)


def softmax(x: Array) -> Forward:
    """exp(x) over its sum along the channel axis."""
    e = np.exp(x - x.max(1, keepdims=True))
    y = e / e.sum(1, keepdims=True)
    return y, lambda g: y * (g - (g * y).sum(1, keepdims=True))


def log_softmax(x: Array) -> Forward:
    """Logarithm of the softmax along the channel axis."""
    shifted = x - x.max(1, keepdims=True)
    y = shifted - np.log(np.exp(shifted).sum(1, keepdims=True))
    return y, lambda g: g - np.exp(y) * g.sum(1, keepdims=True)


def relu6(x: Array) -> Forward:
    """min(max(x, 0), 6)."""
    return np.clip(x, 0, 6), keeping(lambda g: g * ((x > 0) & (x < 6)))


def celu(x: Array, alpha: float = 1.0) -> Forward:
    """Compute x where positive, alpha (exp(x / alpha) - 1) elsewhere."""
    negative = np.minimum(x, 0) / alpha
    y = np.where(x > 0, x, alpha * np.expm1(negative))
    return y, lambda g: np.where(x > 0, g, np.exp(negative) * g)


def gelu_tanh(x: Array) -> Forward:
    """Close to gelu, by tanh in place of erf; (1 + tanh(z)) / 2 is sigmoid(2 z)."""
    twice, cubic = math.sqrt(8 / math.pi), 0.044715
    z = twice * (x + cubic * x * x * x)
    s = logistic(z)

    def backward(g: Array) -> Array:
        slope = twice * (1 + 3 * cubic * x * x)
        gx: Array = g * s * (1 + x * logistic(-z) * slope)
        return gx

    return x * s, backward


def softplus(x: Array) -> Forward:
    """log(1 + exp(x)), without overflow."""
    return np.logaddexp(0, x), lambda g: g * logistic(x)


def log_sigmoid(x: Array) -> Forward:
    """-log(1 + exp(-x)), without overflow."""
    return -np.logaddexp(0, -x), lambda g: g * logistic(-x)


def mish(x: Array) -> Forward:
    """Compute x tanh(softplus(x))."""
    t = np.tanh(np.logaddexp(0, x))
    return x * t, lambda g: g * (t + x * (1 - t * t) * logistic(x))


def softsign(x: Array) -> Forward:
    """Compute x / (1 + |x|)."""
    size = 1 + np.abs(x)
    return x / size, lambda g: g / size / size


def hard_sigmoid(x: Array) -> Forward:
    """min(max(x + 3, 0), 6) / 6."""
    y, relu6_backward = relu6(x + 3)
    return y / 6, lambda g: relu6_backward(g / 6)


def hard_swish(x: Array) -> Forward:
    """Compute x hard_sigmoid(x)."""
    y, hard_sigmoid_backward = hard_sigmoid(x)
    return x * y, keeping(lambda g: g * y + hard_sigmoid_backward(g * x))


def hard_tanh(x: Array) -> Forward:
    """min(max(x, -1), 1)."""
    return np.clip(x, -1, 1), lambda g: np.where((x > -1) & (x < 1), g, 0)
