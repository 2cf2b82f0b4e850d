"""Convolution over one to three space axes."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from cnnspec.backends.numpy.kernels.annotations import Array, Forward, Ints, Pads
from cnnspec.backends.numpy.kernels.base import Layer
from cnnspec.backends.numpy.kernels.window import (
    pad_constant,
    pad_indexed,
    pad_pairs,
    per_axis,
    window_slices,
    window_view,
)


def tiles(images: int, rows: int, row_size: int) -> Iterator[tuple[slice, slice]]:
    """Cut images x rows of output into pieces that read about half a million elements each."""
    row_step = max(1, (1 << 19) // row_size)
    image_step = max(1, row_step // rows)
    for n in range(0, images, image_step):
        for r in range(0, rows, row_step):
            yield slice(n, min(n + image_step, images)), slice(r, min(r + row_step, rows))


class Conv(Layer):
    """y[o, p] = bias[o] + sum over c, q of weight[o, c, q] x[c, p stride + q dilation - before].

    The input is (N, C, *space), the weight (filters, C / groups, *kernel). With `flip` the kernel
    is reversed each time it is used (true convolution); the stored weight never is.
    """

    def __init__(
        self,
        in_channels: int,
        filters: int,
        kernel: tuple[int, ...],
        *,
        stride: Ints = 1,
        dilation: Ints = 1,
        pads: Pads = 0,
        groups: int = 1,
        bias: bool = True,
        mode: str = "zeros",
        flip: bool = False,
    ) -> None:
        super().__init__()
        rank = len(kernel)
        self.kernel, self.groups, self.mode, self.flip = tuple(kernel), groups, mode, flip
        self.stride, self.dilation = per_axis(stride, rank), per_axis(dilation, rank)
        self.pads = pad_pairs(pads, rank)
        shape = (filters, in_channels // groups, *kernel)
        self.parameters["weight"] = np.zeros(shape, np.float32)
        if bias:
            self.parameters["bias"] = np.zeros(filters, np.float32)

    def forward(self, x: Array, training: bool = False) -> Forward:
        """Multiply the weight with the windows, laid out as columns; some rows at a time."""
        rank, groups = len(self.kernel), self.groups
        if x.ndim != rank + 2:
            raise ValueError(f"an input of {rank + 2} axes expected, not {x.ndim}")
        if self.mode == "zeros":
            padded, unpad = pad_constant(x, self.pads)
        else:
            padded, unpad = pad_indexed(x, self.pads, self.mode)
        geometry = self.kernel, self.stride, self.dilation
        size = window_view(padded, *geometry).shape[2 + rank :]
        images, filters, per_row = len(x), len(self.parameters["weight"]), math.prod(size[1:])

        kernel_axes = tuple(range(2, 2 + rank))
        weight = self.parameters["weight"]
        if self.flip:
            weight = np.flip(weight, kernel_axes)
        matrix = weight.reshape(groups, filters // groups, -1)
        depth = matrix.shape[2]
        pointwise = max(self.kernel + self.stride) == 1

        def read(array: Array, n: slice, rows: slice) -> Array:
            """The part of the padded input under these rows of output."""
            first, stride = rows.start * self.stride[0], self.stride[0]
            end = (rows.stop - 1) * stride + (self.kernel[0] - 1) * self.dilation[0] + 1
            return array[n, :, first:end]

        def pieces() -> Iterator[tuple[slice, slice, slice, Array]]:
            """Images, rows of output, the same as pixels, and their windows as columns.

            Small images share their columns, so that the weight is read once for all of them.
            """
            buffer = np.empty(0, x.dtype)
            for n, rows in tiles(images, size[0], groups * depth * per_row):
                view = np.moveaxis(window_view(read(padded, n, rows), *geometry), 0, 1 + rank)
                if not pointwise:
                    if buffer.size < view.size:
                        buffer = np.empty(view.size, x.dtype)
                    columns = buffer[: view.size].reshape(view.shape)
                    columns[...] = view
                    view = columns
                pixels = slice(rows.start * per_row, rows.stop * per_row)
                yield n, rows, pixels, view.reshape(groups, depth, -1)

        y = np.empty((images, groups, filters // groups, size[0] * per_row), x.dtype)
        for n, _, pixels, columns in pieces():
            if n.stop - n.start == 1:
                np.matmul(matrix, columns, out=y[n.start, ..., pixels])
            else:
                part = np.moveaxis(y[n, ..., pixels], 0, 2)
                part[...] = (matrix @ columns).reshape(part.shape)
        if "bias" in self.parameters:
            y += self.parameters["bias"].reshape(groups, -1, 1)

        def backward(g: Array) -> Array:
            g = g.reshape(images, groups, filters // groups, -1)
            g_matrix, g_padded = np.zeros(matrix.shape, x.dtype), np.zeros_like(padded)
            multiply = np.multiply if filters == groups else np.matmul
            for n, rows, pixels, columns in pieces():
                part = np.moveaxis(g[n, ..., pixels], 0, 2).reshape(*matrix.shape[:2], -1)
                if n.start == rows.start == 0:
                    np.matmul(part, columns.swapaxes(1, 2), out=g_matrix)
                else:
                    g_matrix += part @ columns.swapaxes(1, 2)
                out = None if pointwise else columns
                g_columns = multiply(matrix.swapaxes(1, 2), part, out=out)
                height = rows.stop - rows.start
                g_view = g_columns.reshape(x.shape[1], *self.kernel, -1, height, *size[1:])
                target = np.moveaxis(read(g_padded, n, rows), 0, 1)
                at = np.ndindex(*self.kernel)
                for q, index in zip(at, window_slices(target.shape[2:], *geometry), strict=True):
                    target[index] += g_view[(slice(None), *q)]
            g_weight = g_matrix.reshape(weight.shape)
            self.accumulate("weight", np.flip(g_weight, kernel_axes) if self.flip else g_weight)
            if "bias" in self.parameters:
                self.accumulate("bias", g.sum((0, 3)).reshape(-1))
            return unpad(g_padded)

        return y.reshape(images, filters, *size), backward
