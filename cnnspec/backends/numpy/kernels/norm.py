"""Normalisation and rescaling."""

from __future__ import annotations

import numpy as np

from cnnspec.backends.numpy.kernels.annotations import Array, Forward
from cnnspec.backends.numpy.kernels.base import Layer


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
        axes = (0, *range(2, x.ndim))
        shape = (1, -1, *(1 for _ in x.shape[2:]))
        if training:
            elements = x.size // x.shape[1]
            if elements == 1:
                raise ValueError(f"batch norm needs several values per channel, not {x.shape}")
            centred = x - x.mean(axes, keepdims=True)
            variance = np.square(centred).mean(axes, keepdims=True)
            factor = elements / (elements - 1) if self.unbiased else 1.0
            for name, value in (
                ("running_mean", x.mean(axes)),
                ("running_var", variance.reshape(-1) * factor),
            ):
                running = self.statistics[name]
                running[...] = (1 - self.momentum) * running + self.momentum * value
        else:
            centred = x - self.statistics["running_mean"].reshape(shape)
            variance = self.statistics["running_var"].reshape(shape)
        inverse = 1 / np.sqrt(variance + self.eps)
        normalised = centred * inverse
        affine = "weight" in self.parameters
        weight = self.parameters["weight"].reshape(shape) if affine else 1
        y = normalised * weight + self.parameters["bias"].reshape(shape) if affine else normalised

        def backward(g: Array) -> Array:
            if affine:
                self.accumulate("weight", (g * normalised).sum(axes))
                self.accumulate("bias", g.sum(axes))
            if training:
                along = (g * normalised).mean(axes, keepdims=True)
                g = g - g.mean(axes, keepdims=True) - normalised * along
            gx: Array = g * (weight * inverse)
            return gx

        return y, backward


def rescale(x: Array, scale: float = 1.0, offset: float = 0.0) -> Forward:
    """Compute scale x + offset."""
    return scale * x + offset, lambda g: scale * g
