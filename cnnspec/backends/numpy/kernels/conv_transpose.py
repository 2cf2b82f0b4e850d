"""Transposed convolution over one to three space axes."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from cnnspec.backends.numpy.kernels.annotations import Array, Forward, Ints, Pads
from cnnspec.backends.numpy.kernels.base import Layer
from cnnspec.backends.numpy.kernels.conv import tiles
from cnnspec.backends.numpy.kernels.window import (
    pad_pairs,
    per_axis,
    window_slices,
    window_view,
)


class ConvTranspose(Layer):
    """full[o, i stride + q dilation] += x[c, i] weight[c, o, q], cropped, plus bias[o].

    The input is (N, C, *space), the weight (C, filters / groups, *kernel). Along each axis `crops`
    are taken away before and after; where it is negative after, zeros are appended.
    """

    def __init__(
        self,
        in_channels: int,
        filters: int,
        kernel: tuple[int, ...],
        *,
        stride: Ints = 1,
        dilation: Ints = 1,
        crops: Pads = 0,
        groups: int = 1,
        bias: bool = True,
    ) -> None:
        super().__init__()
        rank = len(kernel)
        self.kernel, self.groups = tuple(kernel), groups
        self.stride, self.dilation = per_axis(stride, rank), per_axis(dilation, rank)
        self.crops = pad_pairs(crops, rank)
        shape = (in_channels, filters // groups, *kernel)
        self.parameters["weight"] = np.zeros(shape, np.float32)
        if bias:
            self.parameters["bias"] = np.zeros(filters, np.float32)

    def forward(self, x: Array, training: bool = False) -> Forward:
        """Multiply each element with the weight, and add what it makes under its window."""
        rank, groups, geometry = len(self.kernel), self.groups, (self.stride, self.dilation)
        if x.ndim != rank + 2:
            raise ValueError(f"an input of {rank + 2} axes expected, not {x.ndim}")
        weight, (images, channels, *space) = self.parameters["weight"], x.shape
        filters, per_row = weight.shape[1] * groups, math.prod(space[1:])
        matrix = weight.reshape(groups, channels // groups, -1)
        axes = zip(space, self.kernel, *geometry, strict=True)
        full = [(n - 1) * s + (k - 1) * d + 1 for n, k, s, d in axes]
        inside = tuple(slice(n) for n in full)
        kept = tuple(
            slice(before, n - after) for n, (before, after) in zip(full, self.crops, strict=True)
        )
        whole = (images, filters, *(max(n, c.stop) for n, c in zip(full, kept, strict=True)))
        x = x.reshape(images, groups, channels // groups, -1)

        def pieces(array: Array) -> Iterator[tuple[slice, slice, Array]]:
            """Images, pixels of the input in some rows, and the part of `array` they write to."""
            step, reach = self.stride[0], (self.kernel[0] - 1) * self.dilation[0] + 1
            array = array[(slice(None), slice(None), *inside)]
            row_size = groups * matrix.shape[2] * per_row
            for n, _, rows in tiles(images, 1, space[0], row_size, 1 << 18):
                pixels = slice(rows.start * per_row, rows.stop * per_row)
                yield n, pixels, array[n, :, rows.start * step : (rows.stop - 1) * step + reach]

        y = np.zeros(whole, x.dtype)
        for n, pixels, target in pieces(y):
            columns = matrix.swapaxes(1, 2) @ x[n, ..., pixels]
            columns = columns.reshape(len(columns), filters, *self.kernel, -1, *space[1:])
            at = np.ndindex(*self.kernel)
            slices = window_slices(target.shape[2:], self.kernel, *geometry)
            for q, index in zip(at, slices, strict=True):
                target[index] += columns[(slice(None), slice(None), *q)]
        y = y[(slice(None), slice(None), *kept)]
        if "bias" in self.parameters:
            y = y + self.parameters["bias"].reshape(-1, *(1,) * rank)

        def backward(g: Array) -> Array:
            gx, g_matrix = np.empty_like(x), np.zeros_like(matrix)
            g_full = np.zeros(whole, x.dtype)
            g_full[(slice(None), slice(None), *kept)] = g
            for n, pixels, part in pieces(g_full):
                windows = window_view(part, self.kernel, *geometry)
                columns = windows.reshape(len(windows), groups, matrix.shape[2], -1)
                gx[n, ..., pixels] = matrix @ columns
                g_matrix += (x[n, ..., pixels] @ columns.swapaxes(2, 3)).sum(0)
            self.accumulate("weight", g_matrix.reshape(weight.shape))
            if "bias" in self.parameters:
                self.accumulate("bias", g.sum((0, *range(2, 2 + rank))))
            return gx.reshape(images, channels, *space)

        return y, backward
