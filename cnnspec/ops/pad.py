"""Ops that add or take away a margin around space."""

from __future__ import annotations

import math
from typing import ClassVar, Literal

from cnnspec.ops.base import (
    AXIS_NAMES,
    Inferred,
    Lengths,
    Op,
    Reject,
    Shape,
    op,
    require_space,
    show,
    spatial,
)
from cnnspec.ops.fields import Finite, Padding, SidesField, check_padding
from cnnspec.window import Pads, Window


def _pairs(field: str, sides: Padding, shape: Shape) -> Pads:
    """(before, after) for each axis of space."""
    space = spatial(shape)
    check_padding(field, sides, space)
    assert not isinstance(sides, str)
    each = (sides,) * len(space) if isinstance(sides, int) else sides
    return tuple((side, side) if isinstance(side, int) else side for side in each)


@op("pad")
class Pad(Op):
    """Its input with so many elements added at each side of space.

    `padding` is a number for all sides, one for each axis, or one [before, after] pair for each.
    The added elements are `zeros`, a `constant` value, the input mirrored without its edge
    (`reflect`), its edge repeated (`replicate`), or its other end (`circular`).
    """

    bound: ClassVar[Literal["linear", "perturbation"]] = "linear"

    padding: SidesField
    mode: Literal["zeros", "constant", "reflect", "replicate", "circular"] = "zeros"
    value: Finite = 0.0

    def pads(self, shape: Shape) -> Pads:
        """The elements to add before and after, for each axis."""
        return _pairs("padding", self.padding, shape)

    def infer(self, *shapes: Shape) -> Inferred:
        """(channels, *space with its margin)."""
        (shape,) = shapes
        require_space(shape, "padding")
        if self.value and self.mode != "constant":
            raise Reject("value", f"`value` is for `mode: constant`, and this mode is {self.mode}")
        space, pads = spatial(shape), self.pads(shape)
        for name, n, pair in zip(AXIS_NAMES[len(space)], space, pads, strict=True):
            most = {"reflect": n - 1, "circular": n}.get(self.mode)
            if most is not None and max(pair) > most:
                raise Reject(
                    "padding",
                    f"{self.mode} padding of {max(pair)} along {name} of {n} (input {show(shape)})",
                    f"{self.mode} padding reaches at most {most} beyond this axis",
                )
        padded = (before + n + after for n, (before, after) in zip(space, pads, strict=True))
        return Inferred((shape[0], *padded))

    def identity(self, shape: Shape) -> bool:
        """Where nothing is added."""
        return not any(map(sum, self.pads(shape)))

    def window(self, shape: Shape) -> Window:
        """A window of one element."""
        ones = tuple(1 for _ in spatial(shape))
        return Window(ones, ones, ones, self.pads(shape))

    def lengths(self, inputs: tuple[Shape, ...], output: Shape, batch: int) -> Lengths:
        """The copies of one element: many of an edge, else one more from each side."""
        pads = self.pads(inputs[0])
        if self.mode == "replicate":
            return Lengths(1, math.prod(1 + before + after for before, after in pads))
        return Lengths(1, 1 if self.mode in ("zeros", "constant") else 3 ** len(pads))


@op("crop")
class Crop(Op):
    """Its input without so many elements at each side of space.

    `cropping` is a number for all sides, one for each axis, or one [before, after] pair for each.
    """

    bound: ClassVar[Literal["linear", "perturbation"]] = "linear"
    exact: ClassVar[bool] = True

    cropping: SidesField

    def sides(self, shape: Shape) -> Pads:
        """The elements to leave out before and after, for each axis."""
        return _pairs("cropping", self.cropping, shape)

    def infer(self, *shapes: Shape) -> Inferred:
        """(channels, *what is left of space)."""
        (shape,) = shapes
        require_space(shape, "a crop")
        space, sides = spatial(shape), self.sides(shape)
        names = AXIS_NAMES[len(space)]
        for name, n, (before, after) in zip(names, space, sides, strict=True):
            if before + after >= n:
                raise Reject(
                    "cropping",
                    f"cropping {before} and {after} leaves nothing of {n} along {name} "
                    f"(input {show(shape)})",
                    f"along {name} at most {n - 1} in all",
                )
        kept = (n - before - after for n, (before, after) in zip(space, sides, strict=True))
        return Inferred((shape[0], *kept))

    def identity(self, shape: Shape) -> bool:
        """Where nothing is left out."""
        return not any(map(sum, self.sides(shape)))

    def window(self, shape: Shape) -> Window:
        """A window of one element, which starts inside."""
        ones = tuple(1 for _ in spatial(shape))
        return Window(ones, ones, ones, tuple((-b, -a) for b, a in self.sides(shape)))
