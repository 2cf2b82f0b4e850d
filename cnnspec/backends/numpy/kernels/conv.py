"""Convolution over one to three space axes."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from cnnspec.backends.numpy.kernels.annotations import Array, Forward, Ints, Pads
from cnnspec.backends.numpy.kernels.base import Layer, keeping
from cnnspec.backends.numpy.kernels.window import (
    fold,
    pad_indexed,
    pad_pairs,
    per_axis,
    unfold,
    window_counts,
)


def tiles(
    images: int, groups: int, rows: int, row_size: int, most: int
) -> Iterator[tuple[slice, slice, slice]]:
    """Cut images x groups x rows of output into pieces that read at most so many elements.

    A piece is a part of the rows, all rows of some groups, or some images; at least one row.
    """
    row_step = max(1, min(rows, most // row_size))
    row_step = -(-rows // -(-rows // row_step))  # as many pieces, of more equal size
    group_step = max(1, min(groups, most // (row_size * row_step)))
    image_step = max(1, most // (row_size * row_step * group_step))
    for n in range(0, images, image_step):
        for g in range(0, groups, group_step):
            for r in range(0, rows, row_step):
                yield (
                    slice(n, min(n + image_step, images)),
                    slice(g, min(g + group_step, groups)),
                    slice(r, min(r + row_step, rows)),
                )


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
        """Multiply the weight with the pixels, or with the windows laid out as columns."""
        rank = len(self.kernel)
        if x.ndim != rank + 2:
            raise ValueError(f"an input of {rank + 2} axes expected, not {x.ndim}")
        pads, unpad = self.pads, None
        if self.mode != "zeros":
            x, unpad = pad_indexed(x, pads, self.mode)
            pads = pad_pairs(0, rank)
        size = window_counts(x.shape[2:], self.kernel, self.stride, self.dilation, pads)
        kernel_axes = tuple(range(2, 2 + rank))
        weight = self.parameters["weight"]
        if self.flip:
            weight = np.flip(weight, kernel_axes)
        filters = len(weight)
        matrix = weight.reshape(self.groups, filters // self.groups, -1)
        bias = self.parameters.get("bias")

        one_to_one = max(self.kernel) == 1 and not any(map(any, pads))
        if one_to_one and (len(x) == 1 or math.prod(size) >= 64):
            y, product_backward = by_pixel(x, matrix, self.stride)
            if bias is not None:
                y += bias.reshape(self.groups, -1, 1)
        else:
            before = tuple(lo for lo, _ in pads)
            geometry = self.kernel, self.stride, self.dilation, before
            y, product_backward = by_column(x, matrix, bias, size, *geometry)

        def backward(g: Array) -> Array:
            gx, g_matrix = product_backward(g.reshape(y.shape))
            g_weight = g_matrix.reshape(weight.shape)
            self.accumulate("weight", np.flip(g_weight, kernel_axes) if self.flip else g_weight)
            if bias is not None:
                self.accumulate("bias", g.sum((0, *kernel_axes)))
            return unpad(gx) if unpad else gx

        return y.reshape(len(x), filters, *size), keeping(backward)


def by_pixel(
    x: Array, matrix: Array, stride: tuple[int, ...]
) -> tuple[Array, Callable[[Array], tuple[Array, Array]]]:
    """Multiply each group's matrix with its channels; copies only where a stride leaves some out.

    x is (N, C, *space), the matrix (groups, filters / groups, C / groups), what comes out
    (N, groups, filters / groups, pixels); backward gives the gradients of x and of the matrix.
    """
    used: tuple[Any, ...] = (..., *(slice(None, None, step) for step in stride))
    pixels = x[used].reshape(len(x), len(matrix), matrix.shape[2], -1)

    def backward(g: Array) -> tuple[Array, Array]:
        g_matrix = np.zeros_like(matrix)
        for g_image, image in zip(g, pixels, strict=True):
            g_matrix += g_image @ image.swapaxes(1, 2)
        gx = matrix.swapaxes(1, 2) @ g
        if pixels.size == x.size:
            return gx.reshape(x.shape), g_matrix
        g_whole = np.zeros_like(x)
        g_whole[used] = gx.reshape(g_whole[used].shape)
        return g_whole, g_matrix

    return matrix @ pixels, backward


def by_column(
    x: Array, matrix: Array, bias: Array | None, size: tuple[int, ...], *geometry: tuple[int, ...]
) -> tuple[Array, Callable[[Array], tuple[Array, Array]]]:
    """Multiply each group's matrix with its windows, laid out as columns, piece by piece.

    Arguments and results are those of `by_pixel`, and the sizes and the geometry that `unfold`
    takes. With stride 1 the input's gradient is the convolution of g with the kernel turned round,
    and its columns serve for the weight's too; else the gradient of the columns is folded.
    """
    groups, filters, _ = matrix.shape
    kernel, stride, dilation, before = geometry
    images, channels, space = len(x), x.shape[1] // groups, x.shape[2:]
    y = np.empty((images, groups, filters, math.prod(size)), x.dtype)
    most = columns_at_once(x.size + y.size + matrix.size, matrix.size)
    for at, _, _, columns in column_pieces(x, groups, size, geometry, most):
        multiply_into(y, at, matrix, columns)
        if bias is not None:
            y[at] += bias.reshape(groups, filters, 1)[at[1]]
        del columns  # their memory is that of the next ones

    def turn(matrix: Array, shape: tuple[int, ...]) -> Array:
        turned = np.flip(matrix.reshape(*shape, *kernel), tuple(range(3, 3 + len(kernel))))
        return turned.swapaxes(1, 2).reshape(groups, shape[2], -1)

    def backward(g: Array) -> tuple[Array, Array]:
        if max(stride) == 1 and channels >= filters:
            turned = turn(matrix, (groups, filters, channels))
            g_turned, flat = np.zeros_like(turned), x.reshape(images, groups, channels, -1)
            gx = np.empty_like(flat)
            sides = zip(kernel, dilation, before, strict=True)
            how = kernel, stride, dilation, tuple((k - 1) * d - lo for k, d, lo in sides)
            g = g.reshape(images, groups * filters, *size)
            for at, _, _, columns in column_pieces(g, groups, space, how, most):
                multiply_into(gx, at, turned, columns)
                g_turned[at[1]] += rows_of(flat, at) @ columns.swapaxes(1, 2)
                del columns
            return gx.reshape(x.shape), turn(g_turned, (groups, channels, filters))
        gx, g_matrix = np.zeros_like(x), np.zeros_like(matrix)
        multiply = np.multiply if filters == 1 else np.matmul
        for at, read, piece, columns in column_pieces(x, groups, size, geometry, most):
            part = rows_of(g, at)
            g_matrix[at[1]] += part @ columns.swapaxes(1, 2)
            multiply(matrix[at[1]].swapaxes(1, 2), part, out=columns)
            target = gx[read].swapaxes(0, 1)
            shape = len(target), *kernel, target.shape[1], *piece[0]
            fold(columns.reshape(shape), target, *piece)
            del columns
        return gx, g_matrix

    return y, backward


def columns_at_once(whole: int, weight: int) -> int:
    """Elements of columns to make at a time.

    They should stay in the cache of a processor core, but be as many as those of the weight, which
    is read anew for each piece. With what making them takes they are fewer than those of input,
    output and weight together, of which there are `whole`, or fewer than 200,000.
    """
    return max(1 << 17, min(max(1 << 19, weight), whole * 3 // 5))


def column_pieces(
    x: Array, groups: int, size: tuple[int, ...], geometry: tuple[tuple[int, ...], ...], most: int
) -> Iterator[tuple[Any, Any, Any, Array]]:
    """The windows of x in pieces of at most so many elements, as (groups, elements, windows).

    With each: its index in (N, groups, channels, windows), its index in x, and what `unfold` was
    told.
    """
    (kernel, *_), (stride, *_), (dilation, *_), before = geometry
    per_row, channels = math.prod(size[1:]), x.shape[1] // groups
    row_size = channels * math.prod(geometry[0]) * per_row
    for n, some, rows in tiles(len(x), groups, size[0], row_size, most):
        first = rows.start * stride - before[0]
        end = (rows.stop - 1) * stride + (kernel - 1) * dilation + 1 - before[0]
        inside = slice(max(0, first), max(0, end))
        read = n, slice(some.start * channels, some.stop * channels), inside
        windows = rows.stop - rows.start, *size[1:]
        how = windows, *geometry[:3], (inside.start - first, *before[1:])
        at = n, some, slice(None), slice(rows.start * per_row, rows.stop * per_row)
        shape = some.stop - some.start, channels * math.prod(geometry[0]), -1
        yield at, read, how, unfold(x[read].swapaxes(0, 1), *how).reshape(shape)


def multiply_into(y: Array, at: Any, matrix: Array, columns: Array) -> None:
    """Put the product of a piece's columns, and its groups of the matrix, where it belongs."""
    part = y[at]
    if len(part) == 1:
        np.matmul(matrix[at[1]], columns, out=part[0])
    else:
        part = np.moveaxis(part, 0, 2)
        part[...] = (matrix[at[1]] @ columns).reshape(part.shape)


def rows_of(y: Array, at: Any) -> Array:
    """A piece of (N, groups, channels, windows) as (groups, channels, all windows)."""
    part = np.moveaxis(y[at], 0, 2)
    flat: Array = part.reshape(*part.shape[:2], -1)
    return flat
