"""A learnt factor for each channel."""

from __future__ import annotations

import torch
from torch import nn


class LayerScale(nn.Module):
    """weight * x, with one weight for each channel."""

    def __init__(self, channels: int):
        super().__init__()
        self.weight = nn.Parameter(torch.full((channels,), 1e-6))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Any shape (N, C, ...)."""
        return self.weight.reshape(-1, *[1] * (x.dim() - 2)) * x
