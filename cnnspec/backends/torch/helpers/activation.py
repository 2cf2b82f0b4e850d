"""Activations whose gradient in torch is rounded to float32, or another one at a kink."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn


def celu(x: torch.Tensor, alpha: float) -> torch.Tensor:
    """Compute x where x > 0, else alpha * (exp(x / alpha) - 1)."""
    negative = torch.where(x > 0, 0.0, x)
    return torch.where(x > 0, x, alpha * torch.expm1(negative / alpha))


class Celu(nn.Module):
    """The same, for a sequence; the gradient of torch's own rounds alpha to float32."""

    def __init__(self, alpha: float):
        super().__init__()
        self.alpha = alpha

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Elementwise."""
        return celu(x, self.alpha)


def hard_sigmoid(x: torch.Tensor) -> torch.Tensor:
    """min(max(x + 3, 0), 6) / 6; torch's own rounds its gradient to float32."""
    return F.relu6(x + 3) / 6


class HardSigmoid(nn.Module):
    """The same, for a sequence."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Elementwise."""
        return hard_sigmoid(x)


def hard_swish(x: torch.Tensor) -> torch.Tensor:
    """Compute x * min(max(x + 3, 0), 6) / 6; torch's own has other gradients at -3 and 3."""
    return x * F.relu6(x + 3) / 6


class HardSwish(nn.Module):
    """The same, for a sequence."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Elementwise."""
        return hard_swish(x)
