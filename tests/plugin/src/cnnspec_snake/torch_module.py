"""The module as it stands in the PyTorch file, which has `torch`, `nn`, `F` and `math`."""

from __future__ import annotations

import torch
from torch import nn


class Snake(nn.Module):
    """x + scale * sin(alpha * x)^2, with one alpha for each channel."""

    def __init__(self, channels: int, scale: float):
        super().__init__()
        self.scale = scale
        self.alpha = nn.Parameter(torch.ones(channels))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Any shape (N, C, ...)."""
        alpha = self.alpha.reshape(-1, *[1] * (x.dim() - 2))
        return x + self.scale * torch.sin(alpha * x) ** 2
