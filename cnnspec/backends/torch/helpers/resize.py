"""Interpolation that torch rounds to a neighbouring element at times."""

from __future__ import annotations

import torch
from torch import nn


class Nearest(nn.Module):
    """Resize to the nearest element, found in whole numbers: torch's own rounds its position."""

    def __init__(self, size: tuple[int, ...] | int, *, scale: bool = False, exact: bool = False):
        super().__init__()
        self.size, self.scale, self.exact = size, scale, exact

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """One axis after the other."""
        for axis in range(2, x.dim()):
            n = x.shape[axis]
            o = self.size if isinstance(self.size, int) else self.size[axis - 2]
            o = n * o if self.scale else o
            i = torch.arange(o, device=x.device)
            at = (2 * i + 1) * n // (2 * o) if self.exact else i * n // o
            x = x.index_select(axis, at)
        return x
