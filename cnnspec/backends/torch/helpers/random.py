"""Random layers that torch does not have, and counter-based ones that decide in other ways."""

from __future__ import annotations

import torch
from torch import nn

from cnnspec.backends.torch.helpers.dropout import CounterDropout


class StochasticDepth(nn.Dropout):
    """Dropout of whole samples."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """In training one decision for each sample."""
        if not self.training:
            return x
        return x * super().forward(x.new_ones(len(x), *[1] * (x.dim() - 1)))


class CounterStochasticDepth(CounterDropout):
    """Dropout of whole samples."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """In training one decision for each sample."""
        if not self.training:
            return x
        return x * super().forward(x.new_ones(len(x), *[1] * (x.dim() - 1)))


class CounterSpatialDropout(CounterDropout):
    """Dropout of whole channels of a sample."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """In training one decision for each channel of each sample."""
        if not self.training:
            return x
        return x * super().forward(x.new_ones(*x.shape[:2], *[1] * (x.dim() - 2)))


class CounterAlphaDropout(CounterDropout):
    """Dropout to where a selu ends."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """In training mean and variance of what a selu puts out stay."""
        if not self.training or self.p in {0, 1}:
            return super().forward(x)
        low = -1.0507009873554804934 * 1.6732632423543772848
        a = ((1 - self.p) * (1 + self.p * low**2)) ** -0.5
        keep = super().forward(torch.ones_like(x)) > 0
        return torch.where(keep, a * x - a * self.p * low, a * (1 - self.p) * low)
