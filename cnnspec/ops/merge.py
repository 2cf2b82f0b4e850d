"""Ops with several inputs."""

from __future__ import annotations

import math
from typing import ClassVar, Literal

from cnnspec.ops.base import Inferred, Lengths, Op, Reject, Shape, op, show, spatial


class Elementwise(Op):
    """What joins values of equal shapes, element by element."""

    arity: ClassVar[tuple[int, int | None]] = (2, None)

    def infer(self, *shapes: Shape) -> Inferred:
        """The common shape."""
        if len(set(shapes)) > 1:
            raise Reject(
                "from",
                "the inputs differ in shape: " + " and ".join(show(s) for s in shapes),
                f"`{self.key}` takes equal shapes; a 1x1 `conv` with a stride brings one to the "
                "other's",
            )
        return Inferred(shapes[0])


@op("add")
class Add(Elementwise):
    """Sum of its inputs, which have equal shapes."""

    bound: ClassVar[Literal["linear", "perturbation"]] = "linear"

    def lengths(self, inputs: tuple[Shape, ...], output: Shape, batch: int) -> Lengths:
        """The number of inputs."""
        return Lengths(len(inputs), 1)


@op("subtract")
class Subtract(Elementwise):
    """The first input minus the second, of equal shapes."""

    # The difference of absolute values bounds nothing, but it is rounded once, and correctly.
    rounding: ClassVar[float] = 2.0
    arity: ClassVar[tuple[int, int | None]] = (2, 2)


@op("average")
class Average(Elementwise):
    """Sum of its inputs, which have equal shapes, divided by their number."""

    bound: ClassVar[Literal["linear", "perturbation"]] = "linear"

    def lengths(self, inputs: tuple[Shape, ...], output: Shape, batch: int) -> Lengths:
        """The number of inputs, and the division."""
        return Lengths(len(inputs) + 1, 2)


@op("maximum")
class Maximum(Elementwise):
    """The largest of its inputs, which have equal shapes, element by element.

    The gradient goes to the first input that has the maximum.
    """

    bound: ClassVar[Literal["linear", "perturbation"]] = "linear"
    selects: ClassVar[bool] = True
    exact: ClassVar[bool] = True


@op("multiply")
class Multiply(Op):
    """Product of its inputs, which have equal shapes or one value for each channel.

    One of shape (channels, 1, ...) is used at every position: squeeze-and-excite multiplies so.
    """

    arity: ClassVar[tuple[int, int | None]] = (2, None)
    bound: ClassVar[Literal["linear", "perturbation"]] = "linear"

    def infer(self, *shapes: Shape) -> Inferred:
        """The shape of those that are not (channels, 1, ...)."""
        largest = max(shapes, key=math.prod)
        for shape in shapes:
            if shape in (largest, _per_channel(largest)):
                continue
            allowed = " or ".join(
                dict.fromkeys(f"{show(s)}" for s in (largest, _per_channel(largest)))
            )
            raise Reject(
                "from",
                "the inputs differ in shape: " + " and ".join(show(s) for s in shapes),
                f"beside {show(largest)}, `multiply` takes {allowed}",
            )
        return Inferred(largest)

    def lengths(self, inputs: tuple[Shape, ...], output: Shape, batch: int) -> Lengths:
        """The factors; the gradient of one value for each channel sums over all positions."""
        positions = 1 if set(inputs) == {output} else math.prod(spatial(output))
        return Lengths(len(inputs), len(inputs) + positions)


def _per_channel(shape: Shape) -> Shape:
    return (shape[0], *(1 for _ in spatial(shape)))


@op("concat")
class Concat(Op):
    """Its inputs one after the other along the channels."""

    arity: ClassVar[tuple[int, int | None]] = (2, None)
    bound: ClassVar[Literal["linear", "perturbation"]] = "linear"
    exact: ClassVar[bool] = True

    def infer(self, *shapes: Shape) -> Inferred:
        """(sum of the channels, *the common space)."""
        if len({spatial(s) for s in shapes}) > 1:
            raise Reject(
                "from",
                "the inputs differ in space: " + " and ".join(show(s) for s in shapes),
                "`concat` joins channels; everything but the channels has to be equal",
            )
        return Inferred((sum(s[0] for s in shapes), *spatial(shapes[0])))
