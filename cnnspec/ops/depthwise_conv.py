"""Convolutions that keep channels apart: depthwise, and depthwise then 1x1."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar, Literal

from pydantic import Field

from cnnspec.ops.base import Inferred, Lengths, Op, Param, Shape, op, require_space, spatial
from cnnspec.ops.conv import Conv
from cnnspec.ops.fields import Count, PaddingField, PerAxis
from cnnspec.ops.initializer import HeNormal, Init, Zeros
from cnnspec.window import Window


@op("depthwise_conv")
class DepthwiseConv(Op):
    """y[c * multiplier + j] = bias + x[c] convolved with w[c * multiplier + j, 0], j < multiplier.

    Every channel has `multiplier` filters of its own. It is `conv` with as many groups as
    channels, and has its options.
    """

    bound: ClassVar[Literal["linear", "perturbation"]] = "linear"

    kernel: PerAxis
    multiplier: Count = 1
    stride: PerAxis = 1
    padding: PaddingField = "valid"
    dilation: PerAxis = 1
    bias: bool = True
    padding_mode: Literal["zeros", "reflect", "replicate", "circular"] = "zeros"
    flip: bool = False
    weight_init: Init = HeNormal()
    bias_init: Init = Zeros()

    def as_conv(self, channels: int) -> Conv:
        """The grouped convolution that this is over so many channels."""
        # Not validated: all is, and the product may be larger than a field; nothing so large fits.
        return Conv.model_construct(
            filters=channels * self.multiplier,
            kernel=self.kernel,
            stride=self.stride,
            padding=self.padding,
            dilation=self.dilation,
            groups=channels,
            bias=self.bias,
            padding_mode=self.padding_mode,
            flip=self.flip,
            weight_init=self.weight_init,
            bias_init=self.bias_init,
        )

    def window(self, shape: Shape) -> Window:
        """The window over an input of this shape, padding resolved."""
        return self.as_conv(shape[0]).window(shape)

    def infer(self, *shapes: Shape) -> Inferred:
        """(width, *window positions) of width channels * multiplier; weight (width, 1, *kernel)."""
        (shape,) = shapes
        require_space(shape, "a depthwise convolution")
        return self.as_conv(shape[0]).infer(shape)

    def bound_to_size(self, shape: Shape) -> bool:
        """Strided "same" resolves to pads that fit one input size only."""
        return self.as_conv(shape[0]).bound_to_size(shape)

    def macs(self, inputs: tuple[Shape, ...], output: Shape) -> int:
        """One for each output element and tap of the kernel."""
        return self.as_conv(inputs[0][0]).macs(inputs, output)

    def lengths(self, inputs: tuple[Shape, ...], output: Shape, batch: int) -> Lengths:
        """Taps, taps times the multiplier, and batch times positions."""
        return self.as_conv(inputs[0][0]).lengths(inputs, output, batch)


@op("separable_conv")
class SeparableConv(Op):
    """y = pointwise(depthwise(x)): space first, channel by channel, then channels by a 1x1 kernel.

    `depthwise` is a `depthwise_conv` without bias, which makes channels * multiplier channels, and
    `pointwise` a `conv` with kernel 1, stride 1 and a bias.
    """

    bound: ClassVar[Literal["linear", "perturbation"]] = "linear"

    filters: Count
    kernel: PerAxis
    multiplier: Count = 1
    stride: PerAxis = 1
    padding: PaddingField = "valid"
    dilation: PerAxis = 1
    bias: bool = True
    weight_init: Init = HeNormal()
    depthwise_init: Init | None = Field(default=None)
    pointwise_init: Init | None = Field(default=None)
    bias_init: Init = Zeros()

    def depthwise(self, channels: int) -> Conv:
        """The first convolution over so many channels."""
        own = self.depthwise_init
        return DepthwiseConv.model_construct(
            kernel=self.kernel,
            multiplier=self.multiplier,
            stride=self.stride,
            padding=self.padding,
            dilation=self.dilation,
            bias=False,
            weight_init=self.weight_init if own is None else own,
        ).as_conv(channels)

    def pointwise(self) -> Conv:
        """The second convolution."""
        own = self.pointwise_init
        return Conv.model_construct(
            filters=self.filters,
            kernel=1,
            bias=self.bias,
            weight_init=self.weight_init if own is None else own,
            bias_init=self.bias_init,
        )

    def window(self, shape: Shape) -> Window:
        """The window over an input of this shape, padding resolved."""
        return self.depthwise(shape[0]).window(shape)

    def infer(self, *shapes: Shape) -> Inferred:
        """(filters, *window positions); weights of the depthwise and of the pointwise part."""
        (shape,) = shapes
        require_space(shape, "a separable convolution")
        inner = self.depthwise(shape[0]).infer(shape)
        outer = self.pointwise().infer(inner.shape)
        params = (*_named("depthwise", inner.params), *_named("pointwise", outer.params))
        return Inferred(outer.shape, params, inner.warnings)

    def bound_to_size(self, shape: Shape) -> bool:
        """Strided "same" resolves to pads that fit one input size only."""
        return self.depthwise(shape[0]).bound_to_size(shape)

    def macs(self, inputs: tuple[Shape, ...], output: Shape) -> int:
        """Of both parts."""
        (shape,) = inputs
        inner = (shape[0] * self.multiplier, *spatial(output))
        first = self.depthwise(shape[0]).macs((shape,), inner)
        return first + self.pointwise().macs((inner,), output)

    def lengths(self, inputs: tuple[Shape, ...], output: Shape, batch: int) -> Lengths:
        """Sums of sums: the lengths of both parts add."""
        (shape,) = inputs
        inner = (shape[0] * self.multiplier, *spatial(output))
        first = self.depthwise(shape[0]).lengths((shape,), inner, batch)
        second = self.pointwise().lengths((inner,), output, batch)
        return Lengths(
            output=first.output + second.output,
            input=first.input + second.input,
            params={
                "depthwise.weight": first.params["weight"] + second.input,
                "pointwise.weight": second.params["weight"] + first.output,
                "pointwise.bias": second.params["bias"],
            },
        )


def _named(part: str, params: tuple[Param, ...]) -> tuple[Param, ...]:
    return tuple(replace(param, name=f"{part}.{param.name}") for param in params)
