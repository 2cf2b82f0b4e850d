"""Pooling that the native modules cannot express: pads that differ, or beyond half the kernel."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import nn

MAX_POOL = {1: F.max_pool1d, 2: F.max_pool2d, 3: F.max_pool3d}
AVG_POOL = {1: F.avg_pool1d, 2: F.avg_pool2d, 3: F.avg_pool3d}


class PaddedMaxPool(nn.Module):
    """Max pooling over explicit pads, which count as minus infinity."""

    def __init__(
        self,
        kernel: tuple[int, ...],
        stride: tuple[int, ...],
        pads: tuple[int, ...],
        dilation: tuple[int, ...] | int = 1,
    ):
        super().__init__()
        self.kernel, self.stride, self.pads, self.dilation = kernel, stride, pads, dilation

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Pad, then pool."""
        x = F.pad(x, self.pads, value=-math.inf)
        pool = MAX_POOL[len(self.kernel)]
        return pool(x, self.kernel, self.stride, 0, self.dilation)


class PaddedAvgPool(nn.Module):
    """Average pooling over explicit pads; `counted` of them count as elements."""

    def __init__(
        self,
        kernel: tuple[int, ...],
        stride: tuple[int, ...],
        pads: tuple[int, ...],
        counted: tuple[int, ...],
    ):
        super().__init__()
        self.kernel, self.stride, self.pads, self.counted = kernel, stride, pads, counted

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The windows' means, made good for the elements that do not count."""
        pool = AVG_POOL[len(self.kernel)]
        ones = F.pad(torch.ones_like(x[:1, :1]), self.counted, value=1.0)
        rest = [pad - counted for pad, counted in zip(self.pads, self.counted, strict=True)]
        share = pool(F.pad(ones, rest), self.kernel, self.stride)
        return pool(F.pad(x, self.pads), self.kernel, self.stride) / share


class SumPool(nn.Module):
    """Sum pooling over explicit pads, which count as 0."""

    def __init__(self, kernel: tuple[int, ...], stride: tuple[int, ...], pads: tuple[int, ...]):
        super().__init__()
        self.kernel, self.stride, self.pads = kernel, stride, pads

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The windows' means times their size."""
        pool = AVG_POOL[len(self.kernel)]
        return pool(F.pad(x, self.pads), self.kernel, self.stride) * math.prod(self.kernel)


class LpPool(nn.Module):
    """(sum of |x|^p)^(1/p) over each window; where the sum is 0, so is the gradient."""

    def __init__(
        self, p: float, kernel: tuple[int, ...], stride: tuple[int, ...], pads: tuple[int, ...]
    ):
        super().__init__()
        self.p, self.kernel, self.stride, self.pads = p, kernel, stride, pads

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Pad with zeros, then pool."""
        x = F.pad(x, self.pads).abs()
        for axis, (size, step) in enumerate(zip(self.kernel, self.stride, strict=True), start=2):
            x = x.unfold(axis, size, step)
        x = x.flatten(-len(self.kernel))
        largest = x.detach().amax(-1)  # without it powers would over- or underflow
        scale = torch.where(largest > 0, largest, 1)
        total = ((x / scale[..., None]) ** self.p).sum(-1)
        return largest * torch.where(largest > 0, total, 1) ** (1 / self.p)
