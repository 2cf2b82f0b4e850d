"""Ops that draw random numbers in training and do nothing in inference."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from cnnspec.ops.activation import Activation
from cnnspec.ops.base import Lengths, Shape, op
from cnnspec.ops.fields import Finite

Probability = Annotated[Finite, Field(ge=0, le=1)]


class Random(Activation):
    """What all of them have: given the decisions, they are linear."""

    bound: ClassVar[Literal["linear", "perturbation"]] = "linear"
    random: ClassVar[bool] = True

    def identity(self, shape: Shape) -> bool:
        """They draw in training only."""
        return True


@op("dropout")
class Dropout(Random):
    """In training x / (1 - p) with probability 1 - p, else 0; in inference x."""

    p: Probability = 0.5


@op("spatial_dropout")
class SpatialDropout(Random):
    """In training x / (1 - p) with probability 1 - p, else 0; in inference x.

    One decision for each channel of a sample, which holds for all of space.
    """

    p: Probability = 0.5


@op("alpha_dropout")
class AlphaDropout(Random):
    """In training a * x + b with probability 1 - p, else a * s + b; in inference x.

    s = -1.7581 is where `selu` ends on the left; a = ((1 - p) * (1 + p * s^2))^-0.5 and
    b = -a * p * s keep mean and variance of what a `selu` puts out. With p = 1 it gives 0.
    """

    p: Probability = 0.5

    def lengths(self, inputs: tuple[Shape, ...], output: Shape, batch: int) -> Lengths:
        """Two terms, a * x and b."""
        return Lengths(2, 1)


@op("stochastic_depth")
class StochasticDepth(Random):
    """In training x / (1 - p) with probability 1 - p, else 0; in inference x.

    One decision for each sample: in front of the `add` of a residual network it leaves out the
    whole branch.
    """

    p: Probability
