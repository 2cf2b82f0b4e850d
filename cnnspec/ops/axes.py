"""The axes that an op works along, by name: `[height, width]`, `channels`, `CHW`."""

from __future__ import annotations

from typing import Annotated

from pydantic import PlainValidator, WithJsonSchema
from pydantic_core import PydanticCustomError

from cnnspec.ops.base import AXIS_NAMES, SPATIAL_LETTERS, Reject, Shape, spatial
from cnnspec.quote import quoted

SPACE = "space"
NAMES = ("channels", SPACE, "length", "depth", "height", "width")
WORDS = {"C": ("channels",), "CHW": ("channels", SPACE)}
"""Short forms; `CHW` is channels and all of space, however many axes that has."""

_HELP = "there is " + ", ".join(f"`{name}`" for name in (*WORDS, *NAMES)) + ", or a list of names"


def _axes(value: object) -> str | tuple[str, ...]:
    if isinstance(value, str):
        if value in WORDS or value in NAMES:
            return value
        raise _unknown(value)
    if isinstance(value, (tuple, list)) and value and all(isinstance(v, str) for v in value):
        for name in value:
            if name not in NAMES:
                raise _unknown(name)
        if len(set(value)) < len(value):
            raise PydanticCustomError("axes", "an axis is named twice")
        return tuple(value)
    raise PydanticCustomError("axes", "expected the name of an axis, or a list of names")


def _unknown(name: str) -> PydanticCustomError:
    return PydanticCustomError(
        "axes", "there is no axis {name}", {"name": quoted(name), "help": _HELP}
    )


Axes = Annotated[
    str | tuple[str, ...],
    PlainValidator(_axes),
    WithJsonSchema(
        {
            "anyOf": [
                {"enum": [*WORDS, *NAMES]},
                {"type": "array", "items": {"enum": list(NAMES)}, "minItems": 1, "maxItems": 4},
            ]
        }
    ),
]
"""A name or a list of names; `space` stands for every spatial axis."""


def axes_of(field: str, value: str | tuple[str, ...], shape: Shape) -> tuple[int, ...]:
    """Positions in a shape, in ascending order: 0 for the channels, then space.

    `CHW` of a flat input is its features, `C`.

    Raises:
        Reject: the input lacks an axis, or one is named twice.
    """
    rank = len(spatial(shape))
    named = {"channels": 0}
    named |= {name: 1 + i for i, name in enumerate(AXIS_NAMES.get(rank, ()))}
    if value == "CHW":
        return tuple(range(len(shape)))
    found: list[int] = []
    for name in WORDS.get(value, (value,)) if isinstance(value, str) else value:
        if name == SPACE and rank:
            found += range(1, len(shape))
        elif name in named:
            found.append(named[name])
        else:
            raise Reject(
                field,
                f"`{field}` names {quoted(name)}, which the input does not have",
                "its axes are " + " and ".join(f"`{known}`" for known in named),
            )
    if len(set(found)) < len(found):
        raise Reject(field, f"`{field}` names an axis twice: `space` is every spatial axis")
    return tuple(sorted(found))


def letters(shape: Shape, axes: tuple[int, ...]) -> str:
    """The layout of a parameter with these axes of a shape, `CHW`."""
    every = "C" + SPATIAL_LETTERS[len(spatial(shape))]
    return "".join(every[axis] for axis in axes)
