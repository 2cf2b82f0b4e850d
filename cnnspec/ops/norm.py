"""Normalisation by mean and variance, learnt or given."""

from __future__ import annotations

import math
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from cnnspec.ops.axes import Axes, axes_of, letters
from cnnspec.ops.base import (
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
    statistics,
)
from cnnspec.ops.fields import Count, Finite
from cnnspec.ops.initializer import Init, Ones, Zeros

Eps = Annotated[Finite, Field(gt=0)]


class Norm(Op):
    """What learnt norms have: a weight that starts as 1, and a bias that starts as 0."""

    rounding: ClassVar[float] = 16.0
    one_rank: ClassVar[bool] = True
    amplification: ClassVar[float] = 40.0


@op("batch_norm")
class BatchNorm(Norm):
    """y = weight * (x - mean) / sqrt(var + eps) + bias, per channel over batch and space.

    In training mean and biased variance of the batch are used, and the running ones move by
    `momentum` towards them (the running variance towards the unbiased one, unless
    `running_var: biased`). In inference the running ones are used.
    """

    eps: Eps = 1e-5
    momentum: Annotated[Finite, Field(ge=0, le=1)] = 0.1
    affine: bool = True
    running_var: Literal["unbiased", "biased"] = "unbiased"
    weight_init: Init = Ones()
    bias_init: Init = Zeros()

    def infer(self, *shapes: Shape) -> Inferred:
        """The input's shape; weight, bias and running statistics per channel."""
        (shape,) = shapes
        channels = shape[0]
        params: tuple[Param, ...] = ()
        if self.affine:
            params = (
                Param(
                    "weight", (channels,), "C", self.weight_init, True, False, channels, channels
                ),
                Param("bias", (channels,), "C", self.bias_init, True, False, channels, channels),
            )
        return Inferred(shape, params + statistics(channels))

    def removes(self, shape: Shape, varies: frozenset[str]) -> bool:
        """What differs between channels only is part of their means."""
        return varies <= {"C"}

    def common(self, shape: Shape) -> tuple[Shape, tuple[int, ...]]:
        """Mean and variance of a channel."""
        return shape, (0, *range(2, len(shape) + 1))

    def lengths(self, inputs: tuple[Shape, ...], output: Shape, batch: int) -> Lengths:
        """Batch times positions, which the statistics and the gradients are sums over."""
        positions = batch * math.prod(spatial(output))
        return Lengths(positions, positions, {"weight": positions, "bias": positions})


class SampleNorm(Norm):
    """A norm of sets of elements within one sample, the same in training and in inference."""

    eps: Eps = 1e-5
    affine: bool = True
    weight_init: Init = Ones()
    bias_init: Init = Zeros()

    def owned(self, shape: Shape) -> tuple[int, ...]:
        """The positions of the axes that weight and bias have; the channels, if not overridden."""
        return (0,)

    def sets(self, shape: Shape) -> tuple[Shape, tuple[int, ...]]:
        """A view of a sample, and the axes of the view over which a mean is taken."""
        raise NotImplementedError(f"{type(self).__name__} does not say what it normalises")

    def common(self, shape: Shape) -> tuple[Shape, tuple[int, ...]]:
        """Mean and variance of a set."""
        view, axes = self.sets(shape)
        return view, tuple(axis + 1 for axis in axes)

    def size(self, shape: Shape) -> int:
        """The number of elements that one mean is taken over."""
        view, axes = self.sets(shape)
        return math.prod(view[axis] for axis in axes)

    def infer(self, *shapes: Shape) -> Inferred:
        """The input's shape; weight and bias, unless `affine: false`."""
        (shape,) = shapes
        if self.size(shape) < 2:
            raise Reject(
                None,
                f"`{self.key}` of {show(shape)} would take each variance over one element, "
                "so that it is 0 and nothing of the input is left",
                self.mend(shape),
            )
        if not self.affine:
            return Inferred(shape)
        axes = self.owned(shape)
        sizes = tuple(shape[axis] for axis in axes)
        # The fans of a kernel of this shape, as frameworks count them; a vector's are its size.
        inner = math.prod(sizes[2:])
        fans = (sizes[1] * inner, sizes[0] * inner) if len(sizes) > 1 else (sizes[0], sizes[0])
        return Inferred(
            shape,
            tuple(
                Param(name, sizes, letters(shape, axes), init, True, False, *fans)
                for name, init in (("weight", self.weight_init), ("bias", self.bias_init))
            ),
        )

    def mend(self, shape: Shape) -> str:
        """What would give each set more than one element."""
        return "`batch_norm` takes its variance over the batch as well"

    def lengths(self, inputs: tuple[Shape, ...], output: Shape, batch: int) -> Lengths:
        """The elements of a set; batch and positions that use a parameter."""
        (shape,) = inputs
        each = math.prod(shape[axis] for axis in self.owned(shape))
        uses, size = batch * math.prod(shape) // each, self.size(shape)
        return Lengths(size, size, {"weight": uses, "bias": uses})


@op("layer_norm")
class LayerNorm(SampleNorm):
    """y = weight * (x - mean) / sqrt(var + eps) + bias, with mean and biased variance over `axes`.

    `CHW`: channels and all of space, whatever their number; `C`: channels, at each position on
    its own; otherwise names of axes, such as `[height, width]`. Weight and bias have the shape of
    these axes.
    """

    axes: Axes = "CHW"

    def owned(self, shape: Shape) -> tuple[int, ...]:
        """The positions of the axes in the shape of an input, 0 for the channels."""
        return axes_of("axes", self.axes, shape)

    def sets(self, shape: Shape) -> tuple[Shape, tuple[int, ...]]:
        """The sample as it is."""
        return shape, self.owned(shape)

    def removes(self, shape: Shape, varies: frozenset[str]) -> bool:
        """What is the same along all of `axes` is part of their mean."""
        return not varies & set(letters(shape, self.owned(shape)))

    def bound_to_size(self, shape: Shape) -> bool:
        """Parameters along space have its size."""
        return self.affine and max(self.owned(shape)) > 0


@op("group_norm")
class GroupNorm(SampleNorm):
    """y = weight * (x - mean) / sqrt(var + eps) + bias, the channels in `groups` equal groups.

    Mean and biased variance are taken over consecutive channels / groups channels and all of
    space; weight and bias are per channel.
    """

    groups: Count

    def sets(self, shape: Shape) -> tuple[Shape, tuple[int, ...]]:
        """(groups, channels of each, *space)."""
        channels = shape[0]
        if channels % self.groups:
            divisors = [n for n in range(1, channels + 1) if channels % n == 0]
            raise Reject(
                "groups",
                f"{self.groups} groups do not divide {channels} channels",
                "these do: " + ", ".join(map(str, divisors)),
            )
        view = (self.groups, channels // self.groups, *spatial(shape))
        return view, tuple(range(1, len(view)))

    def mend(self, shape: Shape) -> str:
        """Fewer groups, where that helps."""
        if shape[0] > 1:
            return f"fewer than {shape[0]} groups have several channels each"
        return super().mend(shape)

    def removes(self, shape: Shape, varies: frozenset[str]) -> bool:
        """With one channel in each group it is an instance norm."""
        return varies <= {"C"} and (not varies or self.groups == shape[0])


@op("instance_norm")
class InstanceNorm(SampleNorm):
    """y = (x - mean) / sqrt(var + eps), with mean and biased variance per channel over space.

    With `affine: true` it is followed by weight * y + bias, per channel.
    """

    affine: bool = False

    def sets(self, shape: Shape) -> tuple[Shape, tuple[int, ...]]:
        """The sample as it is."""
        require_space(shape, "`instance_norm`")
        return shape, tuple(range(1, len(shape)))

    def removes(self, shape: Shape, varies: frozenset[str]) -> bool:
        """What differs between channels only is part of their means."""
        return varies <= {"C"}


@op("local_response_norm")
class LocalResponseNorm(Op):
    """y_c = x_c * (k + alpha / size * sum of x_j^2)^-beta over `size` channels j around c.

    These are c - floor(size / 2) to c + ceil(size / 2) - 1, as far as they exist. The alpha of the
    AlexNet paper is not divided by its size: 1e-4 there is 5e-4 here, with size 5, k 2, beta 0.75.
    """

    rounding: ClassVar[float] = 16.0

    size: Annotated[int, Field(ge=1, le=10_000)] = 5
    alpha: Annotated[Finite, Field(ge=0)] = 1e-4
    beta: Finite = 0.75
    k: Annotated[Finite, Field(gt=0)] = 1.0

    def infer(self, *shapes: Shape) -> Inferred:
        """The input's shape."""
        (shape,) = shapes
        require_space(shape, "`local_response_norm`")
        return Inferred(shape)

    def lengths(self, inputs: tuple[Shape, ...], output: Shape, batch: int) -> Lengths:
        """The channels of a sum, both ways."""
        channels = min(self.size, inputs[0][0])
        return Lengths(channels, channels)


@op("normalize")
class Normalize(Op):
    """(x_c - mean_c) / std_c per channel, with the numbers given: a data set's, say."""

    mean: Annotated[tuple[Finite, ...], Field(min_length=1)]
    std: Annotated[tuple[Annotated[Finite, Field(gt=0)], ...], Field(min_length=1)]

    def infer(self, *shapes: Shape) -> Inferred:
        """The input's shape."""
        (shape,) = shapes
        for field, values in (("mean", self.mean), ("std", self.std)):
            if len(values) != shape[0]:
                entries = "1 entry" if len(values) == 1 else f"{len(values)} entries"
                channels = "1 channel" if shape[0] == 1 else f"{shape[0]} channels"
                raise Reject(
                    field, f"`{field}` has {entries}, and the input has {channels}", "one for each"
                )
        return Inferred(shape)

    def identity(self, shape: Shape) -> bool:
        """Mean 0 and deviation 1 of every channel."""
        return not any(self.mean) and set(self.std) == {1}
