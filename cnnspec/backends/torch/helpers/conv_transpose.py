"""Transposed convolutions with other crops than the native modules have."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import nn


class CroppedConvTranspose1d(nn.ConvTranspose1d):
    """A transposed convolution cropped differently at both ends."""

    def __init__(self, *args: Any, crops: tuple[int, ...], **kwargs: Any):
        super().__init__(*args, **kwargs)
        self.crops = crops

    def forward(self, x: torch.Tensor, output_size: Any = None) -> torch.Tensor:
        """Convolve, then crop."""
        return F.pad(super().forward(x, output_size), [-n for n in self.crops])


class CroppedConvTranspose2d(nn.ConvTranspose2d):
    """A transposed convolution cropped differently on its sides."""

    def __init__(self, *args: Any, crops: tuple[int, ...], **kwargs: Any):
        super().__init__(*args, **kwargs)
        self.crops = crops

    def forward(self, x: torch.Tensor, output_size: Any = None) -> torch.Tensor:
        """Convolve, then crop."""
        return F.pad(super().forward(x, output_size), [-n for n in self.crops])


class CroppedConvTranspose3d(nn.ConvTranspose3d):
    """A transposed convolution cropped differently on its sides."""

    def __init__(self, *args: Any, crops: tuple[int, ...], **kwargs: Any):
        super().__init__(*args, **kwargs)
        self.crops = crops

    def forward(self, x: torch.Tensor, output_size: Any = None) -> torch.Tensor:
        """Convolve, then crop."""
        return F.pad(super().forward(x, output_size), [-n for n in self.crops])
