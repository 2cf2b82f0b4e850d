"""The `augment:` list as written: what is done to a training sample, in order. No NumPy."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Self

from pydantic import BeforeValidator, Field, PlainValidator, WithJsonSchema, model_validator
from pydantic_core import PydanticCustomError

from cnnspec.ops.fields import Finite, PerAxis
from cnnspec.training import Vocabulary

__all__ = [
    "AUGMENTATIONS",
    "FILLS",
    "Augmentation",
    "Brightness",
    "ChannelShift",
    "Constant",
    "Contrast",
    "Crop",
    "Cutout",
    "Fill",
    "Flip",
    "Geometric",
    "Mixup",
    "Nearest",
    "Normalize",
    "Reflect",
    "Rescale",
    "Rotate",
    "Shear",
    "Shift",
    "Wrap",
    "Zoom",
    "pair",
]

MOST_PIXELS = 65_536
"""Of a shift, a padding or a window; more is a mistake."""

Degrees = Annotated[Finite, Field(ge=0, le=180)]
Amount = Annotated[Finite, Field(ge=0, le=1e6)]
Factor = Annotated[Finite, Field(ge=0.01, le=100)]
Chance = Annotated[Finite, Field(ge=0, le=1)]
Numbers = Annotated[tuple[Finite, ...], Field(min_length=1, max_length=65_536)]


def _extent(value: object) -> int | float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise PydanticCustomError(
            "float_type", "expected a number", {"help": "0.1 is a tenth of the size, 2 two pixels"}
        )
    most = MOST_PIXELS if isinstance(value, int) else 1
    if not 0 <= value <= most:
        raise PydanticCustomError(
            "range",
            "{value} is outside 0 to {most}",
            {"value": value, "most": most, "help": "a whole number is one of pixels"},
        )
    return value


def _padding(value: object) -> int | tuple[int, ...]:
    entries = value if isinstance(value, tuple | list) else (value,)
    if not entries or not all(isinstance(v, int) and not isinstance(v, bool) for v in entries):
        raise PydanticCustomError(
            "per_axis", "expected a whole number, or a list with one per axis"
        )
    if not all(0 <= v <= MOST_PIXELS for v in entries):
        raise PydanticCustomError("range", f"a padding is outside 0 to {MOST_PIXELS}")
    return tuple(entries) if isinstance(value, tuple | list) else entries[0]


_NATURAL: dict[str, Any] = {"type": "integer", "minimum": 0, "maximum": MOST_PIXELS}


def pair(value: object) -> object:
    """A list of two, so that one that is shorter is no missing field."""
    if not isinstance(value, tuple | list) or len(value) != 2:
        raise PydanticCustomError("per_axis", "expected a list of two numbers")
    return tuple(value)


Extent = Annotated[
    int | float,
    PlainValidator(_extent),
    WithJsonSchema({"anyOf": [_NATURAL, {"type": "number", "minimum": 0, "maximum": 1}]}),
]
"""A whole number of pixels, or a fraction of the axis."""

Padding = Annotated[
    int | tuple[int, ...],
    PlainValidator(_padding),
    WithJsonSchema(
        {"anyOf": [_NATURAL, {"type": "array", "items": _NATURAL, "minItems": 1, "maxItems": 3}]}
    ),
]


class Augmentation(Vocabulary):
    """One step; what it draws is uniform and a function of seed, epoch and sample alone."""

    least_axes: ClassVar[int] = 0
    """Axes of space that a sample needs for it."""


class Geometric(Augmentation):
    """Moves pixels; neighbours in the list are one resampling of the image."""

    least_axes = 1


class Rotate(Geometric):
    """Turn about the centre by up to so many degrees either way, in the plane of rows."""

    key = "rotate"
    least_axes = 2
    degrees: Degrees


class Shift(Geometric):
    """Move by up to a fraction of an axis, or up to a whole number of whole pixels, either way."""

    key = "shift"
    depth: Extent = 0
    height: Extent = 0
    width: Extent = 0


class Shear(Geometric):
    """Move rows sideways by tan(angle) times their distance from the centre."""

    key = "shear"
    least_axes = 2
    degrees: Annotated[Finite, Field(ge=0, le=80)]


class Zoom(Geometric):
    """Enlarge about the centre by a factor in `range`, of all axes or of each its own."""

    key = "zoom"
    range: Annotated[tuple[Factor, Factor], BeforeValidator(pair)]
    keep_aspect: bool = True

    @model_validator(mode="after")
    def _rises(self) -> Self:
        if self.range[0] > self.range[1]:
            raise PydanticCustomError(
                "range",
                "`range` goes from {low} down to {high}",
                {"low": self.range[0], "high": self.range[1], "help": "give the smaller one first"},
            )
        return self


class Flip(Geometric):
    """Mirror left and right, top and bottom, or front and back, each with chance `p`."""

    key = "flip"
    horizontal: bool = True
    vertical: bool = False
    depth: bool = False
    p: Chance = 0.5


class Crop(Augmentation):
    """Cut a window of `size` (the sample's own by default) out of the sample padded by `padding`.

    Where nothing is drawn, as for the test half, it is the window in the middle.
    """

    key = "crop"
    least_axes = 1
    size: PerAxis | None = None
    padding: Padding = 0


class ChannelShift(Augmentation):
    """Add a number in [-by, by] to each channel."""

    key = "channel_shift"
    by: Amount


class Brightness(Augmentation):
    """Multiply by a factor in [1 - by, 1 + by]."""

    key = "brightness"
    by: Chance


class Contrast(Augmentation):
    """Multiply the distance from the sample's mean by a factor in [1 - by, 1 + by]."""

    key = "contrast"
    by: Chance


class Rescale(Augmentation):
    """scale * x + offset, of every sample, of the test half as well."""

    key = "rescale"
    scale: Finite = 1.0
    offset: Finite = 0.0


class Normalize(Augmentation):
    """(x - mean) / std of each channel, of every sample, of the test half as well.

    Without numbers, mean and standard deviation are those of the training half.
    """

    key = "normalize"
    mean: Numbers | None = None
    std: tuple[Annotated[Finite, Field(gt=0)], ...] | None = None

    @model_validator(mode="after")
    def _both(self) -> Self:
        if (self.mean is None) != (self.std is None):
            raise PydanticCustomError("normalize", "`mean` and `std` go together")
        if self.mean is not None and self.std is not None and len(self.mean) != len(self.std):
            raise PydanticCustomError("normalize", "`mean` and `std` have one number per channel")
        return self

    @property
    def measured(self) -> bool:
        """Whether its numbers are those of the training half."""
        return self.mean is None


class Cutout(Augmentation):
    """Overwrite `count` windows of `size`, cut off at the borders, with `value`."""

    key = "cutout"
    least_axes = 1
    size: PerAxis
    count: Annotated[int, Field(ge=1, le=1000)] = 1
    value: Finite = 0.0


class Mixup(Augmentation):
    """Mix with another sample, lambda to 1 - lambda, lambda from Beta(alpha, alpha).

    Targets are mixed alike; labels become probabilities.
    """

    key = "mixup"
    alpha: Annotated[Finite, Field(gt=0, le=1000)]


AUGMENTATIONS: dict[str, type[Augmentation]] = {
    c.key: c
    for c in (
        Rotate, Shift, Shear, Zoom, Flip, Crop, ChannelShift, Brightness, Contrast, Rescale,
        Normalize, Cutout, Mixup,
    )
}  # fmt: skip


class Fill(Vocabulary):
    """What stands beyond the border."""


class Constant(Fill):
    """The same value everywhere: k k | a b c | k k."""

    key = "constant"
    value: Finite = 0.0


class Nearest(Fill):
    """The pixel at the border: a a | a b c | c c."""

    key = "nearest"


class Reflect(Fill):
    """A mirror at the border: b a | a b c | c b."""

    key = "reflect"


class Wrap(Fill):
    """The other side: b c | a b c | a b."""

    key = "wrap"


FILLS: dict[str, type[Fill]] = {c.key: c for c in (Constant, Nearest, Reflect, Wrap)}
