"""Layers that torch does not have."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn


class BiasedBatchNorm(nn.Module):
    """Batch norm whose running variance is the biased one."""

    def __init__(self, channels: int, eps: float, momentum: float, affine: bool = True):
        super().__init__()
        self.eps, self.momentum = eps, momentum
        self.weight = nn.Parameter(torch.ones(channels)) if affine else None
        self.bias = nn.Parameter(torch.zeros(channels)) if affine else None
        self.register_buffer("running_mean", torch.zeros(channels))
        self.register_buffer("running_var", torch.ones(channels))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Normalise; in training move the running statistics."""
        mean: Any = self.running_mean
        var: Any = self.running_var
        if self.training:
            axes = [axis for axis in range(x.dim()) if axis != 1]
            if x.numel() == x.shape[1]:
                raise ValueError("batch norm needs more than one value for each channel")
            moments = torch.var_mean(x, axes, correction=0)
            with torch.no_grad():
                mean.lerp_(moments[1], self.momentum)
                var.lerp_(moments[0], self.momentum)
        return nn.functional.batch_norm(
            x,
            None if self.training else mean,
            None if self.training else var,
            self.weight,
            self.bias,
            self.training,
            0.0,
            self.eps,
        )


class Rbf(nn.Module):
    """Squared distance of the input to each of its centres."""

    def __init__(self, in_features: int, units: int):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(units, in_features))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, features) to (N, units)."""
        return ((x[:, None, :] - self.weight) ** 2).sum(2)


class Rescale(nn.Module):
    """Scale times x plus offset."""

    def __init__(self, scale: float, offset: float):
        super().__init__()
        self.scale, self.offset = scale, offset

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Elementwise."""
        return self.scale * x + self.offset
