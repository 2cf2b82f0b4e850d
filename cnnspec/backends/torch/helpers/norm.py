"""Normalisation that torch does not have, or over other axes than torch's."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn


class AxesLayerNorm(nn.LayerNorm):
    """Layer norm over any axes, which need not be the last ones."""

    def __init__(self, sizes: tuple[int, ...], axes: tuple[int, ...], **kwargs: Any):
        super().__init__(sizes, **kwargs)
        self.axes = axes

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Move the axes to the end, normalise, and move them back."""
        end = tuple(range(-len(self.axes), 0))
        return super().forward(x.movedim(self.axes, end)).movedim(end, self.axes)


class LocalResponseNorm(nn.LocalResponseNorm):
    """On three axes torch's own can only read a contiguous input."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Across channels."""
        return super().forward(x.contiguous())


class Normalize(nn.Module):
    """(x - mean) / std, with a number for each channel."""

    def __init__(self, mean: tuple[float, ...], std: tuple[float, ...]):
        super().__init__()
        self.mean, self.std = mean, std

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Elementwise."""
        shape = (-1, *(1 for _ in x.shape[2:]))
        return (x - x.new_tensor(self.mean).view(shape)) / x.new_tensor(self.std).view(shape)


class Mean(nn.Module):
    """Mean over axes, which stay with size 1."""

    def __init__(self, axes: int | tuple[int, ...]):
        super().__init__()
        self.axes = axes

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Reduce."""
        return x.mean(self.axes, keepdim=True)
