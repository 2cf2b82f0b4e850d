"""Transposed convolution over 1 to 3 spatial axes."""

from __future__ import annotations

import math
from typing import ClassVar, Literal

from cnnspec.ops.base import (
    AXIS_NAMES,
    SPATIAL_LETTERS,
    Inferred,
    Lengths,
    Op,
    Param,
    Reject,
    Shape,
    op,
    require_space,
    show,
    spatial,
)
from cnnspec.ops.conv import require_groups
from cnnspec.ops.fields import (
    Count,
    CropField,
    OutputPaddingField,
    PerAxis,
    check_padding,
    per_axis,
)
from cnnspec.ops.initializer import HeNormal, Init, Zeros
from cnnspec.window import TransposedWindow, resolve_crops


@op("conv_transpose")
class ConvTranspose(Op):
    """full[o, i * stride + q * dilation] += x[c, i] * w[c, o, q], cropped, then + bias[o].

    The sum runs over the channels c of the group of o, the elements i of the input and the taps q
    of the kernel: it is the gradient of a convolution with respect to its input. The full output
    has (n - 1) * stride + (kernel - 1) * dilation + 1 elements along each axis. A number p as
    padding crops p at the start and p - output_padding at the end, as in torch; where that is
    negative, zeros are appended. The words `valid` and `same` are those of Keras.
    """

    bound: ClassVar[Literal["linear", "perturbation"]] = "linear"

    filters: Count
    kernel: PerAxis
    stride: PerAxis = 1
    padding: CropField = 0
    output_padding: OutputPaddingField = None
    dilation: PerAxis = 1
    groups: Count = 1
    bias: bool = True
    weight_init: Init = HeNormal()
    bias_init: Init = Zeros()

    def transposed_window(self, shape: Shape) -> TransposedWindow:
        """The window that writes over the output, padding resolved into crops."""
        space = spatial(shape)
        kernel = per_axis("kernel", self.kernel, space)
        stride = per_axis("stride", self.stride, space)
        dilation = per_axis("dilation", self.dilation, space)
        check_padding("padding", self.padding, space)
        more = None
        if self.output_padding is not None:
            more = per_axis("output_padding", self.output_padding, space)
        crops = resolve_crops(self.padding, more, kernel, stride, dilation)
        return TransposedWindow(kernel, stride, dilation, crops)

    def infer(self, *shapes: Shape) -> Inferred:
        """(filters, *sizes); weight (channels, filters / groups, *kernel)."""
        (shape,) = shapes
        require_space(shape, "a transposed convolution")
        channels, space = shape[0], spatial(shape)
        require_groups(self.groups, channels, self.filters)
        window = self.transposed_window(shape)
        self._require_output_padding(window)
        output = window.output(space)
        for axis in range(len(space)):
            if output[axis] < 1 or window.crops[axis][0] >= full_size(window, space, axis):
                raise Reject("padding", *_nothing_left(window, space, axis))
        weight = (channels, self.filters // self.groups, *window.kernel)
        taps = math.prod(window.kernel)
        fan_in, fan_out = weight[1] * taps, weight[0] * taps
        letters = "IO" + SPATIAL_LETTERS[len(space)]
        params = [Param("weight", weight, letters, self.weight_init, True, False, fan_in, fan_out)]
        if self.bias:
            params.append(
                Param("bias", (self.filters,), "O", self.bias_init, True, False, fan_in, fan_out)
            )
        return Inferred((self.filters, *output), tuple(params))

    def _require_output_padding(self, window: TransposedWindow) -> None:
        """What a larger one appends is never written by any window, and torch refuses it."""
        if self.output_padding is None:
            return
        more = per_axis("output_padding", self.output_padding, window.kernel)
        for axis, (wanted, s, d) in enumerate(
            zip(more, window.stride, window.dilation, strict=True)
        ):
            if wanted >= max(s, d):
                name = AXIS_NAMES[len(more)][axis]
                raise Reject(
                    "output_padding",
                    f"output padding of {wanted} along {name}, where the stride is {s} and the "
                    f"dilation {d}",
                    f"it has to be below one of them, so at most {max(s, d) - 1}",
                )

    def macs(self, inputs: tuple[Shape, ...], output: Shape) -> int:
        """One for each input element, filter of its group and tap, those that are cropped too."""
        (shape,) = inputs
        taps = math.prod(self.transposed_window(shape).kernel)
        return math.prod(shape) * (self.filters // self.groups) * taps

    def lengths(self, inputs: tuple[Shape, ...], output: Shape, batch: int) -> Lengths:
        """Channels times the taps that meet, taps times filters, batch times positions."""
        (shape,) = inputs
        window = self.transposed_window(shape)
        taps = math.prod(window.kernel)
        axes = zip(window.kernel, window.stride, window.dilation, strict=True)
        meeting = math.prod(-(-k // (s // math.gcd(s, d))) for k, s, d in axes)
        return Lengths(
            output=shape[0] // self.groups * meeting + 1,
            input=self.filters // self.groups * taps,
            params={
                "weight": batch * math.prod(spatial(shape)),
                "bias": batch * math.prod(spatial(output)),
            },
        )


def full_size(window: TransposedWindow, space: Shape, axis: int) -> int:
    """Elements along an axis before anything is cropped."""
    return window.output(space)[axis] + sum(window.crops[axis])


def _nothing_left(window: TransposedWindow, space: Shape, axis: int) -> tuple[str, str]:
    """Message and help for crops that leave nothing that a window has written."""
    full, (lo, hi) = full_size(window, space, axis), window.crops[axis]
    n, s, extent = space[axis], window.stride[axis], window.extent[axis]
    both = f"{lo} and {hi}" if hi >= 0 else f"{lo} at the start"
    return (
        f"padding crops {both} of the {full} elements along {AXIS_NAMES[len(space)][axis]} "
        f"(input {show(space)}: ({n} - 1) * {s} + {extent} = {full})",
        f"crop at most {full - 1} of them altogether",
    )
