"""Changes of the size of space: interpolation, and channels that become space."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from cnnspec.ops.base import Inferred, Lengths, Op, Reject, Shape, op, require_space, show, spatial
from cnnspec.ops.fields import MOST, PerAxis, per_axis

RANKS = {"bilinear": 2, "trilinear": 3, "bicubic": 2}
"""Modes that say how many spatial axes they are for."""


@op("upsample")
class Upsample(Op):
    """Its input interpolated to another size of space, n elements to o along each axis.

    Output element i reads at src = (i + 0.5) * n / o - 0.5, with `align_corners` at
    i * (n - 1) / (o - 1). `nearest`: element floor(i * n / o); `nearest_exact`: element
    floor((i + 0.5) * n / o); `linear` (`bilinear`, `trilinear`): the two elements around
    max(src, 0) by their distance; `bicubic`: the four around src by Keys' cubic with a = -0.75.
    Elements beyond an end are those at the end; there is no filter against aliasing.
    """

    # A framework computes src in the dtype itself, and where two elements differ much that error
    # is not in proportion to the result.
    bound: ClassVar[Literal["linear", "perturbation"]] = "perturbation"

    scale: PerAxis | None = None
    size: PerAxis | None = None
    mode: Literal["nearest", "nearest_exact", "linear", "bilinear", "trilinear", "bicubic"] = (
        "nearest"
    )
    align_corners: bool = False

    @property
    def family(self) -> str:
        """`nearest`, `nearest_exact`, `linear` or `cubic`, whatever the number of axes."""
        if self.mode in ("nearest", "nearest_exact"):
            return self.mode
        return "cubic" if self.mode == "bicubic" else "linear"

    def infer(self, *shapes: Shape) -> Inferred:
        """(channels, *size), or (channels, *space times scale)."""
        (shape,) = shapes
        require_space(shape, "upsampling")
        space = spatial(shape)
        if (self.scale is None) == (self.size is None):
            raise Reject(
                None if self.scale is None else "size",
                "`upsample` takes either `scale` or `size`",
                "`scale: 2` doubles every axis",
            )
        wanted = RANKS.get(self.mode, len(space))
        if wanted != len(space):
            raise Reject(
                "mode",
                f"`{self.mode}` is for {wanted} spatial axes, and the input is {show(shape)}",
                "`linear` interpolates along any number of axes",
            )
        if self.align_corners and self.family.startswith("nearest"):
            raise Reject(
                "align_corners",
                f"`align_corners` has no meaning for `{self.mode}`",
                "`linear` and `bicubic` have it",
            )
        if self.size is not None:
            return Inferred((shape[0], *per_axis("size", self.size, space)))
        assert self.scale is not None
        scale = per_axis("scale", self.scale, space)
        return Inferred((shape[0], *(n * s for n, s in zip(space, scale, strict=True))))

    def identity(self, shape: Shape) -> bool:
        """Where each element stands for one."""
        return self.scale is not None and set(per_axis("scale", self.scale, spatial(shape))) == {1}

    def lengths(self, inputs: tuple[Shape, ...], output: Shape, batch: int) -> Lengths:
        """What the error of a position amounts to; measured, it is below 10 u n along an axis."""
        sizes = list(zip(spatial(inputs[0]), spatial(output), strict=True))
        if self.family.startswith("nearest"):
            return Lengths(1, math.prod(math.ceil(Fraction(o, n)) for n, o in sizes))
        positions = (4 * sum(n for n, _ in sizes) + 16) ** 2
        readers = math.prod(4 * math.ceil(Fraction(o, n)) for n, o in sizes)
        return Lengths(positions, positions * readers)


class _Factor(Op):
    factor: Annotated[int, Field(ge=1, le=MOST)]

    def identity(self, shape: Shape) -> bool:
        """Where blocks are single elements."""
        return self.factor == 1


@op("pixel_shuffle")
class PixelShuffle(_Factor):
    """y[c, p * r + q] = x[c * r^d + k, p], with r the factor and d the number of spatial axes.

    k counts the offsets q of a block row-major: in two dimensions channel c * r^2 + i * r + j goes
    to row h * r + i and column w * r + j of channel c.
    """

    bound: ClassVar[Literal["linear", "perturbation"]] = "linear"
    exact: ClassVar[bool] = True

    def infer(self, *shapes: Shape) -> Inferred:
        """(channels / r^d, *space times r)."""
        (shape,) = shapes
        require_space(shape, "a pixel shuffle")
        space = spatial(shape)
        block = self.factor ** len(space)
        if shape[0] % block:
            raise Reject(
                "factor",
                f"{shape[0]} channels (input {show(shape)}) cannot be divided by "
                f"{self.factor}^{len(space)} = {block}",
                f"{block * (shape[0] // block + 1)} channels can",
            )
        return Inferred((shape[0] // block, *(n * self.factor for n in space)))


@op("pixel_unshuffle")
class PixelUnshuffle(_Factor):
    """y[c * r^d + k, p] = x[c, p * r + q]: the inverse of `pixel_shuffle`, with r the factor.

    k counts the offsets q of a block row-major, d is the number of spatial axes.
    """

    bound: ClassVar[Literal["linear", "perturbation"]] = "linear"
    exact: ClassVar[bool] = True

    def infer(self, *shapes: Shape) -> Inferred:
        """(channels * r^d, *space divided by r)."""
        (shape,) = shapes
        require_space(shape, "a pixel unshuffle")
        space = spatial(shape)
        if any(n % self.factor for n in space):
            common = math.gcd(*space)
            fitting = [str(r) for r in range(2, min(common, 64) + 1) if common % r == 0]
            raise Reject(
                "factor",
                f"the space of {show(shape)} cannot be divided by {self.factor}",
                f"every axis can be divided by {', '.join(fitting)}" if fitting else "",
            )
        block = self.factor ** len(space)
        return Inferred((shape[0] * block, *(n // self.factor for n in space)))
