"""Activations: one value in, one value out (softmax: over the channels)."""

from __future__ import annotations

import math
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from cnnspec.ops.base import Inferred, Lengths, Op, Param, Shape, op
from cnnspec.ops.fields import Finite
from cnnspec.ops.initializer import Constant, Init


class Activation(Op):
    """What all activations have: the output's shape is the input's."""

    def infer(self, *shapes: Shape) -> Inferred:
        """The input's shape."""
        (shape,) = shapes
        return Inferred(shape)


@op("relu")
class Relu(Activation):
    """max(x, 0); the derivative at 0 is 0."""

    kinks: ClassVar[tuple[float, ...]] = (0.0,)
    exact: ClassVar[bool] = True


@op("tanh")
class Tanh(Activation):
    """(e^x - e^-x) / (e^x + e^-x)."""

    rounding: ClassVar[float] = 32.0


@op("sigmoid")
class Sigmoid(Activation):
    """1 / (1 + e^-x)."""


@op("softmax")
class Softmax(Activation):
    """e^x_c / sum over channels of e^x."""

    rounding: ClassVar[float] = 16.0

    def common(self, shape: Shape) -> tuple[Shape, tuple[int, ...]]:
        """The sum over the channels of a position."""
        return shape, (1,)

    def lengths(self, inputs: tuple[Shape, ...], output: Shape, batch: int) -> Lengths:
        """The channels, which it sums over both ways."""
        return Lengths(output[0], output[0])


@op("log_softmax")
class LogSoftmax(Activation):
    """x_c - log(sum over channels of e^x)."""

    rounding: ClassVar[float] = 16.0

    def common(self, shape: Shape) -> tuple[Shape, tuple[int, ...]]:
        """The sum over the channels of a position."""
        return shape, (1,)

    def lengths(self, inputs: tuple[Shape, ...], output: Shape, batch: int) -> Lengths:
        """The channels, which it sums over both ways."""
        return Lengths(output[0], output[0])


@op("relu6")
class Relu6(Activation):
    """min(max(x, 0), 6); the derivative at 0 and at 6 is 0."""

    kinks: ClassVar[tuple[float, ...]] = (0.0, 6.0)
    exact: ClassVar[bool] = True


@op("leaky_relu")
class LeakyRelu(Activation):
    """x where x > 0, else slope * x; the derivative at 0 is the slope."""

    kinks: ClassVar[tuple[float, ...]] = (0.0,)

    slope: Finite = 0.01


@op("prelu")
class PRelu(Activation):
    """x where x > 0, else weight * x, with one learnt weight for each channel or for all.

    The derivative at 0 is the weight.
    """

    kinks: ClassVar[tuple[float, ...]] = (0.0,)

    parameters: Literal["channel", "one"] = "channel"
    weight_init: Init = Constant(value=0.25)

    def infer(self, *shapes: Shape) -> Inferred:
        """The input's shape; one weight, or one for each channel."""
        (shape,) = shapes
        count = shape[0] if self.parameters == "channel" else 1
        weight = Param("weight", (count,), "C", self.weight_init, True, False, count, count)
        return Inferred(shape, (weight,))

    def lengths(self, inputs: tuple[Shape, ...], output: Shape, batch: int) -> Lengths:
        """A weight's gradient sums over batch and positions, with one weight over channels too."""
        positions = batch * math.prod(output)
        return Lengths(1, 1, {"weight": positions})


@op("elu")
class Elu(Activation):
    """x where x > 0, else alpha * (e^x - 1); the derivative at 0 is alpha."""

    kinks: ClassVar[tuple[float, ...]] = (0.0,)

    alpha: Annotated[Finite, Field(gt=0)] = 1.0


@op("celu")
class Celu(Activation):
    """x where x > 0, else alpha * (e^(x / alpha) - 1); the derivative at 0 is 1."""

    alpha: Annotated[Finite, Field(gt=0)] = 1.0


@op("selu")
class Selu(Activation):
    """1.0507 * (x where x > 0, else 1.6733 * (e^x - 1)); the derivative at 0 is 1.7581."""

    kinks: ClassVar[tuple[float, ...]] = (0.0,)


@op("gelu")
class Gelu(Activation):
    """x / 2 * (1 + erf(x / sqrt 2)), exact."""

    rounding: ClassVar[float] = 16.0
    cancels: ClassVar[bool] = True


@op("silu")
class Silu(Activation):
    """x / (1 + e^-x)."""

    rounding: ClassVar[float] = 64.0


@op("gelu_tanh")
class GeluTanh(Activation):
    """x / 2 * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 * x^3))), close to `gelu` and not equal."""

    rounding: ClassVar[float] = 128.0
    cancels: ClassVar[bool] = True


@op("mish")
class Mish(Activation):
    """x * tanh(log(1 + e^x))."""

    rounding: ClassVar[float] = 256.0


@op("softplus")
class Softplus(Activation):
    """log(1 + e^x)."""


@op("softsign")
class Softsign(Activation):
    """x / (1 + |x|)."""


@op("log_sigmoid")
class LogSigmoid(Activation):
    """-log(1 + e^-x)."""


@op("hard_sigmoid")
class HardSigmoid(Activation):
    """min(max(x + 3, 0), 6) / 6; the derivative at -3 and at 3 is 0."""

    kinks: ClassVar[tuple[float, ...]] = (-3.0, 3.0)


@op("hard_swish")
class HardSwish(Activation):
    """x * min(max(x + 3, 0), 6) / 6; the derivative at -3 is 0 and at 3 it is 1."""

    kinks: ClassVar[tuple[float, ...]] = (-3.0, 3.0)


@op("hard_tanh")
class HardTanh(Activation):
    """min(max(x, -1), 1); the derivative at -1 and at 1 is 0."""

    kinks: ClassVar[tuple[float, ...]] = (-1.0, 1.0)
    exact: ClassVar[bool] = True
