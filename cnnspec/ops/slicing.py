"""Ops that take a part of a value: along any axis, or of the channels."""

from __future__ import annotations

import itertools
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, PlainValidator, WithJsonSchema
from pydantic_core import PydanticCustomError

from cnnspec.ops.base import (
    AXIS_NAMES,
    Inferred,
    Op,
    Reject,
    Shape,
    op,
    show,
    spatial,
)
from cnnspec.ops.fields import MOST, Count
from cnnspec.window import Window

Range = tuple[int | None, int | None] | tuple[int | None, int | None, int]


def _range(value: object) -> Range:
    """[start, stop] or [start, stop, step], with null for an open end."""
    entries = list(value) if isinstance(value, (tuple, list)) else []
    whole = [entry for entry in entries if isinstance(entry, int) and not isinstance(entry, bool)]
    open_ends = entries[:2].count(None)
    if len(entries) not in (2, 3) or len(whole) + open_ends != len(entries):
        raise PydanticCustomError(
            "per_axis", "expected [start, stop] or [start, stop, step], with null for an open end"
        )
    if len(entries) == 3 and not 1 <= entries[2] <= MOST:
        raise PydanticCustomError(
            "range", "a step of {step} is outside 1 to {most}", {"step": entries[2], "most": MOST}
        )
    start, stop, *step = entries
    return (start, stop, step[0]) if step else (start, stop)


_END: dict[str, Any] = {"type": ["integer", "null"]}

RangeField = Annotated[
    tuple[int | None, int | None] | tuple[int | None, int | None, int],
    PlainValidator(_range),
    WithJsonSchema(
        {
            "type": "array",
            "prefixItems": [_END, _END, {"type": "integer", "minimum": 1, "maximum": MOST}],
            "items": False,
            "minItems": 2,
        }
    ),
]
"""Half-open; a negative number counts from the end."""


@op("slice")
class Slice(Op):
    """The elements from start up to but not including stop, every step-th one, along each axis.

    An axis takes `[start, stop]` or `[start, stop, step]`; null leaves an end open, a negative
    number counts from the end, and an axis that is not named is kept. Space is called `length`;
    `height`, `width`; or `depth`, `height`, `width`.
    """

    bound: ClassVar[Literal["linear", "perturbation"]] = "linear"
    exact: ClassVar[bool] = True

    channels: RangeField | None = None
    depth: RangeField | None = None
    height: RangeField | None = None
    width: RangeField | None = None
    length: RangeField | None = None

    def ranges(self, shape: Shape) -> tuple[Range | None, ...]:
        """For each axis of the input, channels first, what is taken as written."""
        return tuple(getattr(self, name) for name in _axes(shape))

    def resolved(self, shape: Shape) -> tuple[tuple[int, int, int], ...]:
        """For each axis of the input, channels first: start, stop and step, counted from 0."""
        return tuple(
            _resolve(name, n, found)
            for name, n, found in zip(_axes(shape), shape, self.ranges(shape), strict=True)
        )

    def infer(self, *shapes: Shape) -> Inferred:
        """The number of elements taken, axis by axis."""
        (shape,) = shapes
        axes = _axes(shape)
        named = [name for name, value in self.fields().items() if value is not None]
        for name in named:
            if name not in axes:
                raise Reject(
                    name,
                    f"the input {show(shape)} has no {name}",
                    "its axes are " + " and ".join(f"`{axis}`" for axis in axes),
                )
        if not named:
            raise Reject(None, "`slice` names no axis", f"such as `{axes[-1]}: [0, {shape[-1]}]`")
        return Inferred(
            tuple(len(range(start, stop, step)) for start, stop, step in self.resolved(shape))
        )

    def identity(self, shape: Shape) -> bool:
        """Where nothing is asked for but whole axes."""
        whole = (None, (None, None), (0, None), (None, None, 1), (0, None, 1))
        return all(found in whole for found in self.ranges(shape))

    def window(self, shape: Shape) -> Window:
        """A window of one element, which starts inside."""
        ranges, space = self.resolved(shape)[1:], spatial(shape)
        ones = tuple(1 for _ in space)
        pads = tuple((-start, stop - n) for (start, stop, _), n in zip(ranges, space, strict=True))
        return Window(ones, tuple(step for _, _, step in ranges), ones, pads)


def _axes(shape: Shape) -> tuple[str, ...]:
    return ("channels", *AXIS_NAMES.get(len(shape) - 1, ()))


def _resolve(name: str, size: int, found: Range | None) -> tuple[int, int, int]:
    if found is None:
        return 0, size, 1
    start, stop = found[0], found[1]
    step = found[2] if len(found) == 3 else 1
    for end in (start, stop):
        if end is not None and not -size <= end <= size:
            raise Reject(
                name,
                f"{end} is outside of {size} {_elements(name)}",
                f"numbers from 0 to {size}, and from {-size} to -1, are inside",
            )
    first = 0 if start is None else start + size * (start < 0)
    last = size if stop is None else stop + size * (stop < 0)
    if first >= last:
        raise Reject(
            name,
            f"nothing lies from {first} up to but not including {last} ({size} {_elements(name)})",
            "start has to lie before stop; numbers count from 0, and the stop is not included",
        )
    return first, last, step


def _elements(name: str) -> str:
    return "channels" if name == "channels" else f"elements along {name}"


class SplitPart(Op):
    """One part of a `split`: the channels from start up to but not including stop.

    Fields: its place among the parts, and the number of parts where all are equal.
    """

    key: ClassVar[str] = "split"
    bound: ClassVar[Literal["linear", "perturbation"]] = "linear"
    exact: ClassVar[bool] = True

    index: int
    start: int
    stop: int
    into: int | None = None

    def infer(self, *shapes: Shape) -> Inferred:
        """(stop - start, *space)."""
        (shape,) = shapes
        if self.stop > shape[0]:
            raise Reject(
                None, f"channel {self.stop - 1} is outside of {shape[0]} (input {show(shape)})"
            )
        return Inferred((self.stop - self.start, *spatial(shape)))


@op("split")
class Split(Op):
    """Its input in parts along the channels, which go by `name.0`, `name.1`, and so on.

    `into: n` makes n equal parts, `sizes` parts of these sizes.
    """

    bound: ClassVar[Literal["linear", "perturbation"]] = "linear"
    part: ClassVar[type[Op] | None] = SplitPart
    exact: ClassVar[bool] = True

    into: Annotated[int, Field(ge=1, le=MOST)] | None = None
    sizes: Annotated[tuple[Count, ...], Field(min_length=1)] | None = None

    def parts(self, shape: Shape) -> tuple[SplitPart, ...]:
        """The ops of its parts, in order, or `Reject`."""
        channels = shape[0]
        if (self.into is None) == (self.sizes is None):
            raise Reject(
                None if self.into is None else "sizes",
                "`split` takes either `into` or `sizes`",
                "`into: 2` makes two equal parts",
            )
        if self.into is not None:
            if channels % self.into:
                fitting = [str(n) for n in range(2, min(channels, 64) + 1) if channels % n == 0]
                raise Reject(
                    "into",
                    f"{channels} channels (input {show(shape)}) cannot be divided into "
                    f"{self.into} equal parts",
                    f"{channels} can be divided into {', '.join(fitting)}" if fitting else "",
                )
            size = channels // self.into
            return tuple(
                SplitPart(index=i, start=i * size, stop=(i + 1) * size, into=self.into)
                for i in range(self.into)
            )
        assert self.sizes is not None
        total = sum(self.sizes)
        if total != channels:
            rest = self.sizes[-1] + channels - total
            raise Reject(
                "sizes",
                f"the sizes add up to {total}, and the input {show(shape)} has {channels} channels",
                f"with a last size of {rest} they add up to {channels}" if rest > 0 else "",
            )
        ends = itertools.accumulate(self.sizes, initial=0)
        return tuple(
            SplitPart(index=i, start=start, stop=stop)
            for i, (start, stop) in enumerate(itertools.pairwise(ends))
        )

    def infer(self, *shapes: Shape) -> Inferred:
        """The input's shape, which the parts add up to."""
        (shape,) = shapes
        self.parts(shape)
        return Inferred(shape)
