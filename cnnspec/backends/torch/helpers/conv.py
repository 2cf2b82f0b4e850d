"""Convolutions whose padding or kernel the native modules cannot express."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import nn


class PaddedConv1d(nn.Conv1d):
    """A convolution padded differently before and after."""

    def __init__(self, *args: Any, pads: tuple[int, ...], mode: str = "constant", **kwargs: Any):
        super().__init__(*args, **kwargs)
        self.pads, self.mode = pads, mode

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Pad, then convolve."""
        return super().forward(F.pad(x, self.pads, self.mode))


class PaddedConv2d(nn.Conv2d):
    """A convolution padded differently on its sides."""

    def __init__(self, *args: Any, pads: tuple[int, ...], mode: str = "constant", **kwargs: Any):
        super().__init__(*args, **kwargs)
        self.pads, self.mode = pads, mode

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Pad, then convolve."""
        return super().forward(F.pad(x, self.pads, self.mode))


class PaddedConv3d(nn.Conv3d):
    """A convolution padded differently on its sides."""

    def __init__(self, *args: Any, pads: tuple[int, ...], mode: str = "constant", **kwargs: Any):
        super().__init__(*args, **kwargs)
        self.pads, self.mode = pads, mode

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Pad, then convolve."""
        return super().forward(F.pad(x, self.pads, self.mode))


class TrueConv1d(nn.Conv1d):
    """True convolution: the kernel is flipped each time it is used."""

    def __init__(self, *args: Any, pads: tuple[int, ...], mode: str = "constant", **kwargs: Any):
        super().__init__(*args, **kwargs)
        self.pads, self.mode = pads, mode

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Pad, then convolve with the flipped kernel."""
        x = F.pad(x, self.pads, self.mode)
        kernel = self.weight.flip(2)
        return F.conv1d(x, kernel, self.bias, self.stride, 0, self.dilation, self.groups)


class TrueConv2d(nn.Conv2d):
    """True convolution: the kernel is flipped each time it is used."""

    def __init__(self, *args: Any, pads: tuple[int, ...], mode: str = "constant", **kwargs: Any):
        super().__init__(*args, **kwargs)
        self.pads, self.mode = pads, mode

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Pad, then convolve with the flipped kernel."""
        x = F.pad(x, self.pads, self.mode)
        kernel = self.weight.flip(2, 3)
        return F.conv2d(x, kernel, self.bias, self.stride, 0, self.dilation, self.groups)


class TrueConv3d(nn.Conv3d):
    """True convolution: the kernel is flipped each time it is used."""

    def __init__(self, *args: Any, pads: tuple[int, ...], mode: str = "constant", **kwargs: Any):
        super().__init__(*args, **kwargs)
        self.pads, self.mode = pads, mode

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Pad, then convolve with the flipped kernel."""
        x = F.pad(x, self.pads, self.mode)
        kernel = self.weight.flip(2, 3, 4)
        return F.conv3d(x, kernel, self.bias, self.stride, 0, self.dilation, self.groups)
