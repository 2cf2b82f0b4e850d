"""Depthwise, then pointwise convolution."""

from __future__ import annotations

from typing import Any

from cnnspec.backends.numpy.kernels.annotations import Array, Forward
from cnnspec.backends.numpy.kernels.base import Model
from cnnspec.backends.numpy.kernels.conv import Conv


class SeparableConv(Model):
    """A kernel for each channel, `multiplier` times, then a 1x1 kernel across channels."""

    def __init__(
        self,
        in_channels: int,
        filters: int,
        kernel: tuple[int, ...],
        *,
        multiplier: int = 1,
        bias: bool = True,
        **options: Any,
    ) -> None:
        width, one = in_channels * multiplier, (1,) * len(kernel)
        options = {**options, "groups": in_channels, "bias": False}
        self.depthwise = Conv(in_channels, width, kernel, **options)
        self.pointwise = Conv(width, filters, one, bias=bias)

    def forward(self, x: Array, training: bool = False) -> Forward:
        """Chain both."""
        x, depthwise_back = self.depthwise.forward(x, training)
        x, pointwise_back = self.pointwise.forward(x, training)
        return x, lambda g: depthwise_back(pointwise_back(g))
