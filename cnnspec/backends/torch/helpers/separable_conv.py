"""Separable convolutions, which torch does not have."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import nn


class SeparableConv1d(nn.Module):
    """A depthwise convolution, then a pointwise one."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Any,
        multiplier: int = 1,
        bias: bool = True,
        pads: tuple[int, ...] = (),
        **options: Any,
    ):
        super().__init__()
        width, self.pads = in_channels * multiplier, pads
        options = {"groups": in_channels, "bias": False, **options}
        self.depthwise = nn.Conv1d(in_channels, width, kernel_size, **options)
        self.pointwise = nn.Conv1d(width, out_channels, 1, bias=bias)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Space first, then channels."""
        if self.pads:
            x = F.pad(x, self.pads)
        x = self.pointwise(self.depthwise(x))
        return x


class SeparableConv2d(nn.Module):
    """A depthwise convolution, then a pointwise one."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Any,
        multiplier: int = 1,
        bias: bool = True,
        pads: tuple[int, ...] = (),
        **options: Any,
    ):
        super().__init__()
        width, self.pads = in_channels * multiplier, pads
        options = {"groups": in_channels, "bias": False, **options}
        self.depthwise = nn.Conv2d(in_channels, width, kernel_size, **options)
        self.pointwise = nn.Conv2d(width, out_channels, 1, bias=bias)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Space first, then channels."""
        if self.pads:
            x = F.pad(x, self.pads)
        x = self.pointwise(self.depthwise(x))
        return x


class SeparableConv3d(nn.Module):
    """A depthwise convolution, then a pointwise one."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Any,
        multiplier: int = 1,
        bias: bool = True,
        pads: tuple[int, ...] = (),
        **options: Any,
    ):
        super().__init__()
        width, self.pads = in_channels * multiplier, pads
        options = {"groups": in_channels, "bias": False, **options}
        self.depthwise = nn.Conv3d(in_channels, width, kernel_size, **options)
        self.pointwise = nn.Conv3d(width, out_channels, 1, bias=bias)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Space first, then channels."""
        if self.pads:
            x = F.pad(x, self.pads)
        x = self.pointwise(self.depthwise(x))
        return x
