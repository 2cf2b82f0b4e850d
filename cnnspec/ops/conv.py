"""Convolution over 1 to 3 spatial axes."""

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
from cnnspec.ops.fields import Count, PaddingField, PerAxis, check_padding, per_axis
from cnnspec.ops.initializer import HeNormal, Init, Zeros
from cnnspec.window import Window, resolve_pads


@op("conv")
class Conv(Op):
    """y[o, p] = bias[o] + sum over c, q of w[o, c, q] * x[c, p * stride + q * dilation].

    This is cross-correlation. The sum runs over the channels c of the group of o and the taps q of
    the kernel. With `flip` the kernel is reversed along every spatial axis each time it is used
    (true convolution); the stored weight is not.
    """

    bound: ClassVar[Literal["linear", "perturbation"]] = "linear"

    filters: Count
    kernel: PerAxis
    stride: PerAxis = 1
    padding: PaddingField = "valid"
    dilation: PerAxis = 1
    groups: Count = 1
    bias: bool = True
    padding_mode: Literal["zeros", "reflect", "replicate", "circular"] = "zeros"
    flip: bool = False
    weight_init: Init = HeNormal()
    bias_init: Init = Zeros()

    def window(self, shape: Shape) -> Window:
        """The window over an input of this shape, padding resolved."""
        space = spatial(shape)
        kernel = per_axis("kernel", self.kernel, space)
        stride = per_axis("stride", self.stride, space)
        dilation = per_axis("dilation", self.dilation, space)
        check_padding("padding", self.padding, space)
        pads = resolve_pads(self.padding, space, kernel, stride, dilation)
        return Window(kernel, stride, dilation, pads)

    def infer(self, *shapes: Shape) -> Inferred:
        """(filters, *window positions); weight (filters, channels / groups, *kernel)."""
        (shape,) = shapes
        require_space(shape, "a convolution")
        channels, space = shape[0], spatial(shape)
        require_groups(self.groups, channels, self.filters)
        window = self.window(shape)
        _check_mode(self.padding_mode, window, space)
        output = window.output(space)
        if min(output) < 1:
            raise Reject("kernel", *does_not_fit(window, space))
        weight = (self.filters, channels // self.groups, *window.kernel)
        taps = math.prod(window.kernel)
        fan_in, fan_out = weight[1] * taps, weight[0] * taps
        letters = "OI" + SPATIAL_LETTERS[len(space)]
        params = [Param("weight", weight, letters, self.weight_init, True, False, fan_in, fan_out)]
        if self.bias:
            params.append(
                Param("bias", (self.filters,), "O", self.bias_init, True, False, fan_in, fan_out)
            )
        return Inferred((self.filters, *output), tuple(params), unread(window, space))

    def bound_to_size(self, shape: Shape) -> bool:
        """Strided "same" resolves to pads that fit one input size only."""
        return strided_same(self.padding, self.window(shape))

    def _copies(self, shape: Shape) -> int:
        """How often padding may repeat one element of the input."""
        pads = self.window(shape).pads
        match self.padding_mode:
            case "zeros":
                return 1
            case "replicate":  # the element at the edge
                return math.prod(1 + max(pair) for pair in pads)
            case _:  # once inside, and once more on each side
                return math.prod(1 + sum(side > 0 for side in pair) for pair in pads)

    def macs(self, inputs: tuple[Shape, ...], output: Shape) -> int:
        """One for each output element, channel of its group and tap of the kernel."""
        (shape,) = inputs
        taps = math.prod(self.window(shape).kernel)
        return math.prod(output) * (shape[0] // self.groups) * taps

    def lengths(self, inputs: tuple[Shape, ...], output: Shape, batch: int) -> Lengths:
        """Taps times channels, taps times filters, and batch times positions."""
        (shape,) = inputs
        taps = math.prod(self.window(shape).kernel)
        positions = batch * math.prod(spatial(output))
        return Lengths(
            output=shape[0] // self.groups * taps + 1,
            input=self.filters // self.groups * taps * self._copies(shape),
            params={"weight": positions, "bias": positions},
        )


def require_groups(groups: int, channels: int, filters: int) -> None:
    """Reject a number of groups that does not divide the channels and the filters."""
    for count, what in (
        (channels, f"the input's {channels} channels"),
        (filters, f"{filters} filters"),
    ):
        if count % groups:
            raise Reject(
                "groups",
                f"{what} cannot be divided into {groups} groups",
                _divisors(channels, filters),
            )


def _divisors(channels: int, filters: int) -> str:
    common = math.gcd(channels, filters)
    fitting = [str(g) for g in range(1, min(common, 64) + 1) if common % g == 0]
    return f"{channels} and {filters} can both be divided by " + ", ".join(fitting)


def _check_mode(mode: str, window: Window, space: Shape) -> None:
    for n, (before, after) in zip(space, window.pads, strict=True):
        most = {"zeros": None, "replicate": None, "reflect": n - 1, "circular": n}[mode]
        if most is not None and max(before, after) > most:
            raise Reject(
                "padding_mode",
                f"{mode} padding of {max(before, after)} on an axis of {n}",
                f"{mode} padding reaches at most {most} beyond this axis",
            )


def strided_same(padding: object, window: Window) -> bool:
    """Whether resolved pads depend on the input's size."""
    return padding in ("same", "same_lower") and max(window.stride) > 1


def does_not_fit(window: Window, space: Shape) -> tuple[str, str]:
    """Message and help for a window that is larger than its padded input."""
    axis = next(i for i, o in enumerate(window.output(space)) if o < 1)
    n, extent = space[axis], window.extent[axis]
    before, after = window.pads[axis]
    padded = n + before + after
    reach = f"kernel {window.kernel[axis]}"
    if window.dilation[axis] > 1:
        reach += f" with dilation {window.dilation[axis]}, which spans {extent},"
    each_side = before + -(-(extent - padded) // 2)
    name = AXIS_NAMES[len(space)][axis]
    return (
        f"{reach} does not fit into {padded} (input {show(space)}, {name}: {n} + "
        f"{before} + {after} padding)",
        f"padding: {each_side} gives an output, or a kernel that spans at most {padded}",
    )


def unread(window: Window, space: Shape) -> tuple[Reject, ...]:
    """A warning for real elements at the end of an axis that the floor leaves unread."""
    found: dict[tuple[str, str, str], list[str]] = {}  # axes of equal sizes share one warning
    names = AXIS_NAMES[len(space)]
    for axis, count in enumerate(window.unread(space)):
        stride, extent = window.stride[axis], window.extent[axis]
        # A stride beyond the window skips elements between windows as well: that is subsampling,
        # meant by who writes it (a 1x1 convolution with stride 2).
        if count and stride <= extent:
            n, (before, after) = space[axis], window.pads[axis]
            o = window.output(space)[axis]
            what = "the last element" if count == 1 else f"the last {count} elements"
            verb = "is" if count == 1 else "are"
            rest = (
                f"{verb} never read: "
                f"floor(({n} + {before} + {after} - {extent}) / {stride}) + 1 = {o}"
            )
            help = f"padding of {stride - count} after the data gives {o + 1} and reads all of it"
            found.setdefault((what, rest, help), []).append(names[axis])
    return tuple(
        Reject("stride", f"{what} along {' and '.join(axes)} {rest}", help)
        for (what, rest, help), axes in found.items()
    )
