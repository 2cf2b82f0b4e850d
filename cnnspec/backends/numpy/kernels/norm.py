"""Normalisation and rescaling."""

from __future__ import annotations

import numpy as np

from cnnspec.backends.numpy.kernels.annotations import Array, Forward
from cnnspec.backends.numpy.kernels.base import Layer, keeping


class BatchNorm(Layer):
    """y = weight (x - mean) / sqrt(variance + eps) + bias, per channel.

    Training takes both from the batch (the biased variance) and moves the running statistics by
    `momentum`, the weight of the new value; inference takes the running statistics.
    """

    def __init__(
        self,
        channels: int,
        eps: float = 1e-5,
        momentum: float = 0.1,
        affine: bool = True,
        running_var: str = "unbiased",
    ) -> None:
        super().__init__()
        self.eps, self.momentum, self.unbiased = eps, momentum, running_var == "unbiased"
        self.statistics["running_mean"] = np.zeros(channels, np.float32)
        self.statistics["running_var"] = np.ones(channels, np.float32)
        if affine:
            self.parameters["weight"] = np.ones(channels, np.float32)
            self.parameters["bias"] = np.zeros(channels, np.float32)

    def forward(self, x: Array, training: bool = False) -> Forward:
        """(N, C) or (N, C, *space) to the same shape."""
        shape = (1, -1, *(1 for _ in x.shape[2:]))
        elements = x.size // x.shape[1]
        if training:
            if elements == 1:
                raise ValueError(f"batch norm needs several values per channel, not {x.shape}")
            mean = x.mean((0, *range(2, x.ndim)))
            centred = x - mean.reshape(shape)
            variance = channel_dots(centred, centred) / elements
            factor = elements / (elements - 1) if self.unbiased else 1.0
            for name, value in (("running_mean", mean), ("running_var", variance * factor)):
                running = self.statistics[name]
                running[...] = (1 - self.momentum) * running + self.momentum * value
        else:
            mean, variance = self.statistics["running_mean"], self.statistics["running_var"]
            centred = None
        inverse = 1 / np.sqrt(variance + self.eps)
        affine = "weight" in self.parameters
        scale = self.parameters["weight"] * inverse if affine else inverse
        offset = self.parameters["bias"] if affine else np.zeros_like(mean)
        if training:
            y = centred * scale.reshape(shape)
        else:
            y, offset = x * scale.reshape(shape), offset - mean * scale
        y += offset.reshape(shape)

        def backward(g: Array) -> Array:
            from_mean = centred if training else x - mean.reshape(shape)
            g_bias = g.sum((0, *range(2, x.ndim)))
            along = channel_dots(g, from_mean) * inverse
            if affine:
                self.accumulate("weight", along)
                self.accumulate("bias", g_bias)
            if not training:
                gx: Array = g * scale.reshape(shape)
                return gx
            gx = centred * (-along * inverse / elements).reshape(shape)
            gx += g
            gx -= (g_bias / elements).reshape(shape)
            gx *= scale.reshape(shape)
            return gx

        return y, keeping(backward)


def channel_dots(a: Array, b: Array) -> Array:
    """Sum of a b over all samples and positions, for each channel."""
    flat = (*a.shape[:2], -1)
    dots: Array = np.vecdot(a.reshape(flat), b.reshape(flat)).sum(0)
    return dots


class LayerNorm(Layer):
    """y = weight (x - mean) / sqrt(variance + eps) + bias, both statistics over `axes`.

    These are the last axes, unless told otherwise; weight and bias have their sizes.
    """

    def __init__(
        self,
        sizes: tuple[int, ...],
        axes: tuple[int, ...] | None = None,
        eps: float = 1e-5,
        affine: bool = True,
    ) -> None:
        super().__init__()
        self.sizes, self.eps = sizes, eps
        self.axes = tuple(range(-len(sizes), 0)) if axes is None else axes
        if affine:
            self.parameters["weight"] = np.ones(sizes, np.float32)
            self.parameters["bias"] = np.zeros(sizes, np.float32)

    def forward(self, x: Array, training: bool = False) -> Forward:
        """(N, C, *space) to the same shape."""
        axes = tuple(axis % x.ndim for axis in self.axes)
        normalised, norm_backward = standardise(x, axes, self.eps)
        if "weight" not in self.parameters:
            return normalised, norm_backward
        shape = tuple(n if axis in axes else 1 for axis, n in enumerate(x.shape))
        others = tuple(axis for axis in range(x.ndim) if axis not in axes)
        weight, bias = (self.parameters[name].reshape(shape) for name in ("weight", "bias"))

        def backward(g: Array) -> Array:
            self.accumulate("weight", (g * normalised).sum(others))
            self.accumulate("bias", g.sum(others))
            return norm_backward(g * weight)

        return normalised * weight + bias, backward


class GroupNorm(Layer):
    """y = weight (x - mean) / sqrt(variance + eps) + bias, the channels in equal groups.

    Mean and variance are those of a group in one sample; weight and bias are per channel.
    """

    def __init__(self, groups: int, channels: int, eps: float = 1e-5, affine: bool = True) -> None:
        super().__init__()
        self.groups, self.eps = groups, eps
        if affine:
            self.parameters["weight"] = np.ones(channels, np.float32)
            self.parameters["bias"] = np.zeros(channels, np.float32)

    def forward(self, x: Array, training: bool = False) -> Forward:
        """(N, C, *space) to the same shape."""
        grouped, norm_backward = standardise(x.reshape(len(x), self.groups, -1), (2,), self.eps)
        normalised = grouped.reshape(x.shape)
        affine = "weight" in self.parameters
        along, others = (-1, *(1 for _ in x.shape[2:])), (0, *range(2, x.ndim))

        def backward(g: Array) -> Array:
            if affine:
                self.accumulate("weight", (g * normalised).sum(others))
                self.accumulate("bias", g.sum(others))
                g = g * self.parameters["weight"].reshape(along)
            return norm_backward(g.reshape(grouped.shape)).reshape(x.shape)

        if not affine:
            return normalised, backward
        weight, bias = (self.parameters[name].reshape(along) for name in ("weight", "bias"))
        return normalised * weight + bias, backward


def standardise(x: Array, axes: tuple[int, ...], eps: float) -> Forward:
    """Compute (x - mean) / sqrt(variance + eps), with the biased variance."""
    centred = x - x.mean(axes, keepdims=True)
    inverse = 1 / np.sqrt(np.square(centred).mean(axes, keepdims=True) + eps)
    y = centred * inverse

    def backward(g: Array) -> Array:
        along = (g * y).mean(axes, keepdims=True)
        gx: Array = (g - g.mean(axes, keepdims=True) - y * along) * inverse
        return gx

    return y, backward


def local_response_norm(
    x: Array, size: int = 5, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0
) -> Forward:
    """Compute x (k + alpha / size sum of x_j^2)^-beta, the sum over `size` channels around each."""
    channels, before = x.shape[1], size // 2

    def around(values: Array, first: int) -> Array:
        padded = np.zeros((len(x), channels + size - 1, *x.shape[2:]), x.dtype)
        padded[:, first : first + channels] = values
        total = padded[:, :channels].copy()
        for i in range(1, size):
            total += padded[:, i : i + channels]
        return total

    base = k + alpha / size * around(np.square(x), before)
    factor = base**-beta

    def backward(g: Array) -> Array:
        spread = around(g * x * factor / base, size - 1 - before)
        return g * factor - 2 * alpha * beta / size * x * spread

    return x * factor, backward


def normalize(x: Array, mean: tuple[float, ...], std: tuple[float, ...]) -> Forward:
    """Compute (x - mean) / std, with a number for each channel."""
    shape = (-1, *(1 for _ in x.shape[2:]))
    centre, scale = (np.array(values, x.dtype).reshape(shape) for values in (mean, std))
    return (x - centre) / scale, lambda g: g / scale


def rescale(x: Array, scale: float = 1.0, offset: float = 0.0) -> Forward:
    """Compute scale x + offset."""
    return scale * x + offset, lambda g: scale * g
