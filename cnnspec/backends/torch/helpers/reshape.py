"""Slices and changes of shape that torch has as expressions only, or for images only."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn


class Slice(nn.Module):
    """The part from start up to stop, (start, stop) or (start, stop, step) for each axis."""

    def __init__(self, *ranges: Any):
        super().__init__()
        self.index = (slice(None), *(slice(*found) for found in ranges))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """A view."""
        return x[self.index]


class Reshape(nn.Module):
    """(N, C, *space) to (N, *shape)."""

    def __init__(self, *shape: int):
        super().__init__()
        self.shape = shape

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The same elements."""
        return x.reshape(-1, *self.shape)


class Permute(nn.Module):
    """The axes in another order, the batch among them."""

    def __init__(self, *axes: int):
        super().__init__()
        self.axes = axes

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """A view."""
        return x.permute(self.axes)


class FeatureShuffle(nn.Module):
    """Channel shuffle of features without space, which torch's own refuses."""

    def __init__(self, groups: int):
        super().__init__()
        self.groups = groups

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, features)."""
        return x.reshape(len(x), self.groups, -1).transpose(1, 2).flatten(1)


class SpaceShuffle(nn.Module):
    """Pixel shuffle over any number of axes; torch has it for two."""

    def __init__(self, factor: int):
        super().__init__()
        self.factor = factor

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, C * factor^rank, *space) to (N, C, *space * factor)."""
        n, channels, *space = x.shape
        rank = len(space)
        channels //= self.factor**rank
        x = x.reshape(n, channels, *[self.factor] * rank, *space)
        x = x.permute(0, 1, *(axis for i in range(rank) for axis in (2 + rank + i, 2 + i)))
        return x.reshape(n, channels, *(size * self.factor for size in space))


class SpaceUnshuffle(nn.Module):
    """Pixel unshuffle over any number of axes; torch has it for two."""

    def __init__(self, factor: int):
        super().__init__()
        self.factor = factor

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, C, *space * factor) to (N, C * factor^rank, *space)."""
        n, channels, *space = x.shape
        rank = len(space)
        small = [size // self.factor for size in space]
        x = x.reshape(n, channels, *(part for size in small for part in (size, self.factor)))
        x = x.permute(0, 1, *range(3, 3 + 2 * rank, 2), *range(2, 2 + 2 * rank, 2))
        return x.reshape(n, channels * self.factor**rank, *small)
