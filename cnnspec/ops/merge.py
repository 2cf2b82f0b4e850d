"""Ops with several inputs."""

from __future__ import annotations

from typing import ClassVar, Literal

from cnnspec.ops.base import Inferred, Lengths, Op, Reject, Shape, op, show, spatial


@op("add")
class Add(Op):
    """Sum of its inputs, which have equal shapes."""

    arity: ClassVar[tuple[int, int | None]] = (2, None)
    bound: ClassVar[Literal["linear", "perturbation"]] = "linear"

    def infer(self, *shapes: Shape) -> Inferred:
        """The common shape."""
        if len(set(shapes)) > 1:
            raise Reject(
                "from",
                "the inputs differ in shape: " + " and ".join(show(s) for s in shapes),
                "`add` takes equal shapes; a 1x1 `conv` with a stride brings one to the other's",
            )
        return Inferred(shapes[0])

    def lengths(self, inputs: tuple[Shape, ...], output: Shape, batch: int) -> Lengths:
        """The number of inputs."""
        return Lengths(len(inputs), 1)


@op("concat")
class Concat(Op):
    """Its inputs one after the other along the channels."""

    arity: ClassVar[tuple[int, int | None]] = (2, None)
    bound: ClassVar[Literal["linear", "perturbation"]] = "linear"

    def infer(self, *shapes: Shape) -> Inferred:
        """(sum of the channels, *the common space)."""
        if len({spatial(s) for s in shapes}) > 1:
            raise Reject(
                "from",
                "the inputs differ in space: " + " and ".join(show(s) for s in shapes),
                "`concat` joins channels; everything but the channels has to be equal",
            )
        return Inferred((sum(s[0] for s in shapes), *spatial(shapes[0])))
