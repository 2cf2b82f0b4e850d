"""Field types that several ops share, each one type with its short forms read up front.

A union would report one mistake twice and put its labels into the error's place, so every
field here has one validator and one message.
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field, PlainValidator, WithJsonSchema
from pydantic_core import PydanticCustomError

from cnnspec.ops.base import Reject, Shape
from cnnspec.quote import quoted
from cnnspec.window import Pads, Size

MOST = 1_000_000
"""Largest kernel, stride, dilation or pad; beyond it a spec is a mistake or an attack."""

MOST_CHANNELS = 2**31 - 1

Count = Annotated[int, Field(ge=1, le=MOST_CHANNELS)]
Finite = Annotated[float, Field(allow_inf_nan=False)]

Padding = str | int | Size | Pads

PADDINGS = ("valid", "same", "same_lower", "full", "causal")
CROPS = ("valid", "same")


def _is_int(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _bounded(value: int, least: int) -> int:
    if value < least:
        raise PydanticCustomError(
            "range", "{value} is below {least}", {"value": value, "least": least}
        )
    if value > MOST:
        raise PydanticCustomError(
            "range", "{value} is above the limit of {most}", {"value": value, "most": MOST}
        )
    return value


def _per_axis(value: object, least: int = 1) -> int | Size:
    if _is_int(value):
        assert isinstance(value, int)
        return _bounded(value, least)
    if isinstance(value, (tuple, list)) and value and all(_is_int(v) for v in value):
        return tuple(_bounded(v, least) for v in value)
    raise PydanticCustomError("per_axis", "expected a whole number, or a list with one per axis")


def _output_padding(value: object) -> int | Size | None:
    return None if value is None else _per_axis(value, 0)


def _crop(value: object) -> Padding:
    return _padding(value, CROPS)


def _padding(value: object, words: tuple[str, ...] = PADDINGS) -> Padding:
    if isinstance(value, str):
        if value not in words:
            raise PydanticCustomError(
                "padding",
                "unknown padding {value}",
                {
                    "value": quoted(value),
                    "help": "there is "
                    + ", ".join(f"`{word}`" for word in words)
                    + ", a number, one number per axis, or one [before, after] pair per axis",
                },
            )
        return value
    if _is_int(value):
        assert isinstance(value, int)
        return _bounded(value, 0)
    if isinstance(value, (tuple, list)) and value:
        if all(_is_int(v) for v in value):
            return tuple(_bounded(v, 0) for v in value)
        if all(
            isinstance(v, (tuple, list)) and len(v) == 2 and all(_is_int(e) for e in v)
            for v in value
        ):
            return tuple((_bounded(v[0], 0), _bounded(v[1], 0)) for v in value)
    raise PydanticCustomError(
        "padding",
        "expected a word, a number, one number per axis, or one [before, after] pair per axis",
    )


def _sides(value: object) -> Padding:
    try:
        return _padding(value, ())
    except PydanticCustomError as fault:
        if fault.type == "range":
            raise
        message = "expected a number, one number per axis, or one [before, after] pair per axis"
        raise PydanticCustomError("per_axis", message) from None


_POSITIVE: dict[str, Any] = {"type": "integer", "minimum": 1, "maximum": MOST}
_NATURAL: dict[str, Any] = {"type": "integer", "minimum": 0, "maximum": MOST}

PerAxis = Annotated[
    int | tuple[int, ...],
    PlainValidator(_per_axis),
    WithJsonSchema(
        {"anyOf": [_POSITIVE, {"type": "array", "items": _POSITIVE, "minItems": 1, "maxItems": 3}]}
    ),
]
"""A number for all axes, or a list with one for each."""

_NATURALS: dict[str, Any] = {"type": "array", "items": _NATURAL, "minItems": 1, "maxItems": 3}


def _padding_schema(words: tuple[str, ...]) -> dict[str, Any]:
    pair = {"type": "array", "items": _NATURAL, "minItems": 2, "maxItems": 2}
    pairs = {"type": "array", "items": pair, "minItems": 1, "maxItems": 3}
    return {"anyOf": [{"enum": list(words)}, _NATURAL, _NATURALS, pairs]}


OutputPaddingField = Annotated[
    int | tuple[int, ...] | None,
    PlainValidator(_output_padding),
    WithJsonSchema({"anyOf": [{"type": "null"}, _NATURAL, _NATURALS]}),
]
"""As `PerAxis`, but 0 is a number, and null leaves it to the padding."""

PaddingField = Annotated[
    str | int | tuple[int, ...] | tuple[tuple[int, int], ...],
    PlainValidator(_padding),
    WithJsonSchema(_padding_schema(PADDINGS)),
]

CropField = Annotated[
    str | int | tuple[int, ...] | tuple[tuple[int, int], ...],
    PlainValidator(_crop),
    WithJsonSchema(_padding_schema(CROPS)),
]
"""Padding of a transposed convolution, which takes away what that of a convolution adds."""


SidesField = Annotated[
    int | tuple[int, ...] | tuple[tuple[int, int], ...],
    PlainValidator(_sides),
    WithJsonSchema({"anyOf": _padding_schema(())["anyOf"][1:]}),
]
"""Elements at each side: a number, one number per axis, or one [before, after] pair per axis."""


def per_axis(field: str, value: int | Size, space: Shape) -> Size:
    """The value for each spatial axis, or `Reject` when their number is wrong."""
    if isinstance(value, int):
        return (value,) * len(space)
    if len(value) != len(space):
        raise Reject(
            field,
            f"`{field}` has {_entries(len(value))}, and the input has {_axes(len(space))}",
            f"give one number, or {len(space)}",
        )
    return value


def check_padding(field: str, value: Padding, space: Shape) -> None:
    """Reject a list of pads whose length is not the number of spatial axes."""
    if value == "causal" and len(space) != 1:
        raise Reject(
            field, f"causal padding needs one spatial axis, and the input has {len(space)}"
        )
    if isinstance(value, tuple) and len(value) != len(space):
        if len(space) == 1 and len(value) == 2 and isinstance(value[0], int):
            fix = f"one [before, after] pair per axis is [[{value[0]}, {value[1]}]]"
        elif isinstance(value[0], int):
            fix = f"give one number, {len(space)} numbers, or {len(space)} [before, after] pairs"
        else:
            fix = f"give {len(space)} [before, after] pairs"
        raise Reject(
            field,
            f"`{field}` has {_entries(len(value))}, and the input has {_axes(len(space))}",
            fix,
        )


def _entries(count: int) -> str:
    return "1 entry" if count == 1 else f"{count} entries"


def _axes(count: int) -> str:
    return "1 spatial axis" if count == 1 else f"{count} spatial axes"
