"""Pooling: a window's maximum, average or sum, channel by channel."""

from __future__ import annotations

import math
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from cnnspec.ops.base import (
    AXIS_NAMES,
    Inferred,
    Lengths,
    Op,
    Reject,
    Shape,
    op,
    require_space,
    spatial,
)
from cnnspec.ops.conv import does_not_fit, strided_same, unread
from cnnspec.ops.fields import Finite, PaddingField, PerAxis, check_padding, per_axis
from cnnspec.window import Pads, Size, Window, resolve_pads, with_ceil


class Pool(Op):
    """What all windowed pooling has; the stride defaults to the kernel.

    Class attributes:
        copies: whether pooling a single element gives that element.
    """

    copies: ClassVar[bool] = True

    kernel: PerAxis
    stride: PerAxis | None = Field(default=None)
    padding: PaddingField = "valid"
    ceil_mode: bool = False

    def spacing(self, shape: Shape) -> Size:
        """Elements between two taps, per axis; only maxima can be dilated."""
        return (1,) * len(spatial(shape))

    def pads(self, shape: Shape) -> Pads:
        """The padding that the spec declares, without what ceil mode reaches beyond it."""
        space = spatial(shape)
        kernel = per_axis("kernel", self.kernel, space)
        check_padding("padding", self.padding, space)
        stride = kernel if self.stride is None else per_axis("stride", self.stride, space)
        dilation = self.spacing(shape)
        return resolve_pads(self.padding, space, kernel, stride, dilation)

    def window(self, shape: Shape) -> Window:
        """The window over an input of this shape, padding and ceil mode resolved."""
        space = spatial(shape)
        pads = self.pads(shape)
        kernel = per_axis("kernel", self.kernel, space)
        stride = kernel if self.stride is None else per_axis("stride", self.stride, space)
        dilation = self.spacing(shape)
        if self.ceil_mode:
            pads = with_ceil(pads, space, kernel, stride, dilation)
        return Window(kernel, stride, dilation, pads)

    def infer(self, *shapes: Shape) -> Inferred:
        """(channels, *window positions)."""
        (shape,) = shapes
        require_space(shape, "pooling")
        space = spatial(shape)
        window = self.window(shape)
        output = window.output(space)
        if min(output) < 1:
            raise Reject("kernel", *does_not_fit(window, space))
        axis = window.empty(space)
        if axis is not None:
            before, after = window.pads[axis]
            name = AXIS_NAMES[len(space)][axis]
            kernel, dilation = window.kernel[axis], window.dilation[axis]
            safe = f"padding of at most {kernel // 2} on each side is always safe"
            if dilation > 1:
                safe += f" if the dilation is at most {space[axis]}"
            raise Reject(
                "padding",
                f"some window along {name} would read padding only (input {space[axis]}, "
                f"padding {before} and {after}, kernel {kernel})",
                safe,
            )
        return Inferred((shape[0], *output), (), unread(window, space))

    def identity(self, shape: Shape) -> bool:
        """Windows of single elements, unless it computes something of each."""
        window = self.window(shape)
        ones = {*window.kernel, *window.stride} == {1}
        return self.copies and ones and not any(map(sum, window.pads))

    def bound_to_size(self, shape: Shape) -> bool:
        """Strided "same" and ceil mode resolve to pads that fit one input size only."""
        return self.ceil_mode or strided_same(self.padding, self.window(shape))

    def lengths(self, inputs: tuple[Shape, ...], output: Shape, batch: int) -> Lengths:
        """The number of taps, both ways."""
        taps = math.prod(self.window(inputs[0]).kernel)
        return Lengths(output=taps + 1, input=taps + 1)


@op("max_pool")
class MaxPool(Pool):
    """Maximum over each window; padding counts as minus infinity.

    The whole gradient goes to the first maximum in row-major order.
    """

    bound: ClassVar[Literal["linear", "perturbation"]] = "linear"
    selects: ClassVar[bool] = True
    exact: ClassVar[bool] = True

    dilation: PerAxis = 1

    def spacing(self, shape: Shape) -> Size:
        """The dilation of each axis."""
        return per_axis("dilation", self.dilation, spatial(shape))


@op("avg_pool")
class AvgPool(Pool):
    """Sum over each window divided by the number of elements in it.

    `count_include_pad: false` counts real elements only; true counts the declared padding as well,
    but not what ceil mode reaches beyond it.
    """

    bound: ClassVar[Literal["linear", "perturbation"]] = "linear"

    count_include_pad: bool = False


@op("sum_pool")
class SumPool(Pool):
    """Sum over each window; padding counts as 0."""

    bound: ClassVar[Literal["linear", "perturbation"]] = "linear"


@op("lp_pool")
class LpPool(Pool):
    """(sum of |x|^p)^(1/p) over each window; padding counts as 0.

    The gradient is 0 where the sum is 0, and at an element that is 0.
    """

    rounding: ClassVar[float] = 16.0
    kinks: ClassVar[tuple[float, ...]] = (0.0,)
    copies: ClassVar[bool] = False

    p: Annotated[Finite, Field(ge=1)] = 2.0


class GlobalPool(Op):
    """Pooling over all of space; every spatial axis stays, with size 1."""

    whole: ClassVar[bool] = True
    bound: ClassVar[Literal["linear", "perturbation"]] = "linear"

    def infer(self, *shapes: Shape) -> Inferred:
        """(channels, 1, ...)."""
        (shape,) = shapes
        require_space(shape, "global pooling")
        return Inferred((shape[0], *(1 for _ in spatial(shape))))

    def lengths(self, inputs: tuple[Shape, ...], output: Shape, batch: int) -> Lengths:
        """The number of positions."""
        positions = math.prod(spatial(inputs[0]))
        return Lengths(output=positions + 1, input=2)


@op("global_avg_pool")
class GlobalAvgPool(GlobalPool):
    """Mean over all of space."""


@op("global_max_pool")
class GlobalMaxPool(GlobalPool):
    """Maximum over all of space; the whole gradient goes to the first maximum, row-major."""

    selects: ClassVar[bool] = True
    exact: ClassVar[bool] = True
