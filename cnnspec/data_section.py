"""The `data:` section as written: where samples come from and what becomes of them. No NumPy."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, PlainValidator, WithJsonSchema, model_validator
from pydantic_core import PydanticCustomError

from cnnspec.augmentation import Augmentation, Constant, Fill, Normalize, pair
from cnnspec.diagnostics import Label, Span
from cnnspec.training import Vocabulary

__all__ = [
    "INTERPOLATIONS",
    "SOURCES",
    "Cifar10",
    "Cifar100",
    "DataSection",
    "Digits",
    "Halves",
    "Idx",
    "ImageFolder",
    "Interpolation",
    "Npz",
    "Source",
    "Subset",
]

MOST_SAMPLES = 2**31 - 1
MOST_SIDE = 65_536

FileName = Annotated[str, Field(min_length=1, max_length=4096)]
Side = Annotated[int, Field(ge=1, le=MOST_SIDE)]
Samples = Annotated[int, Field(ge=1, le=MOST_SAMPLES)]

Size = Annotated[tuple[Side, Side], BeforeValidator(pair)]
"""Height and width."""

Interpolation = Literal["nearest", "linear", "cubic"]
INTERPOLATIONS: tuple[Interpolation, ...] = ("nearest", "linear", "cubic")


class Source(Vocabulary):
    """Where samples come from; relative paths start at the spec's own directory."""


class Digits(Source):
    """1,797 handwritten digits of 8x8 pixels, which scikit-learn brings along."""

    key = "digits"


class Idx(Source):
    """Files of the MNIST format, gzip or not; a `folder` holds them under their usual names."""

    key = "idx"
    folder: FileName | None = None
    images: FileName | None = None
    labels: FileName | None = None
    test_images: FileName | None = None
    test_labels: FileName | None = None

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        named = (self.images, self.labels, self.test_images, self.test_labels)
        if self.folder is not None:
            if any(named):
                raise PydanticCustomError("idx", "give either `folder`, or the files by name")
            return self
        if self.images is None or self.labels is None:
            raise PydanticCustomError("idx", "it needs `folder`, or `images` and `labels`")
        if (self.test_images is None) != (self.test_labels is None):
            raise PydanticCustomError("idx", "`test_images` and `test_labels` go together")
        return self


class Cifar10(Source):
    """The binary version of CIFAR-10: data_batch_1.bin to data_batch_5.bin and test_batch.bin."""

    key = "cifar10"
    folder: FileName


class Cifar100(Source):
    """The binary version of CIFAR-100: train.bin and test.bin, with fine or coarse labels."""

    key = "cifar100"
    folder: FileName
    labels: Literal["fine", "coarse"] = "fine"


class ImageFolder(Source):
    """PNG and JPEG files, a folder for each class; `size` is height and width after resizing."""

    key = "image_folder"
    folder: FileName
    test: FileName | None = None
    size: Size | None = None
    channels: Literal[1, 3] = 3
    corrupt: Literal["error", "skip"] = "error"


def _keys(value: object) -> str | dict[str, str]:
    if isinstance(value, str) and value:
        return value
    if isinstance(value, dict) and value and all(isinstance(v, str) and v for v in value.values()):
        return dict(value)
    raise PydanticCustomError(
        "string_type",
        "expected the name of an array, or a mapping from names of the network to such names",
    )


Keys = Annotated[
    str | dict[str, str],
    PlainValidator(_keys),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "string", "minLength": 1},
                {
                    "type": "object",
                    "minProperties": 1,
                    "additionalProperties": {"type": "string", "minLength": 1},
                },
            ]
        }
    ),
]
"""The name of one array, or of several by the name that they have in the network."""


class Npz(Source):
    """Arrays of an .npz file by name; `test_inputs` and `test_targets` are in it or in `test`.

    `channels` says where the channels of inputs are: the first axis of a sample, its last, or
    nowhere, as in grey images of height and width alone.
    """

    key = "npz"
    file: FileName
    test: FileName | None = None
    inputs: Keys = "x_train"
    targets: Keys = "y_train"
    test_inputs: Keys | None = None
    test_targets: Keys | None = None
    channels: Literal["first", "last", "none"] = "first"
    classes: Annotated[tuple[FileName, ...], Field(max_length=1_000_000)] = ()

    @model_validator(mode="after")
    def _test_half(self) -> Self:
        if (self.test_inputs is None) != (self.test_targets is None):
            raise PydanticCustomError("npz", "`test_inputs` and `test_targets` go together")
        for train, test in ((self.inputs, self.test_inputs), (self.targets, self.test_targets)):
            if test is not None and _names(train) != _names(test):
                raise PydanticCustomError("npz", "both halves have arrays for the same names")
        return self


def _names(keys: str | Mapping[str, str]) -> set[str]:
    return set() if isinstance(keys, str) else set(keys)


SOURCES: dict[str, type[Source]] = {
    c.key: c for c in (Digits, Idx, Cifar10, Cifar100, ImageFolder, Npz)
}


def _share(value: object) -> int | float:
    help = {"help": "0.2 is a fifth of the samples, 200 is so many of them"}
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise PydanticCustomError("float_type", "expected a number", help)
    if isinstance(value, int):
        if not 1 <= value <= MOST_SAMPLES:
            raise PydanticCustomError("range", f"{value} is outside 1 to {MOST_SAMPLES}", help)
    elif not 0 < value < 1:
        raise PydanticCustomError("range", f"{value} is not between 0 and 1", help)
    return value


_COUNT: dict[str, Any] = {"type": "integer", "minimum": 1, "maximum": MOST_SAMPLES}

Share = Annotated[
    int | float,
    PlainValidator(_share),
    WithJsonSchema(
        {"anyOf": [_COUNT, {"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 1}]}
    ),
]
"""A number of samples, or a fraction of them."""


class Halves(Vocabulary):
    """What is taken from the training half, chosen by the seed: a fraction, or a number."""

    key = "split"
    test: Share | None = None
    validation: Share | None = None
    stratified: bool = False


class Subset(Vocabulary):
    """How many samples are kept of each half: the first ones, or as many of each class."""

    key = "subset"
    train: Samples | None = None
    test: Samples | None = None
    stratified: bool = False


@dataclass(frozen=True, slots=True)
class DataSection:
    """A whole section.

    Attributes:
        source: where samples come from.
        split: what is taken from the training half.
        subset: how many samples are kept of each half.
        classes: names or numbers of those that are kept, in the order of their new labels; None
            keeps all.
        rescale: the factor of stored values; None divides bytes by 255 and leaves others alone.
        normalize: what is done last, None for nothing.
        augment: steps in order.
        fill: what geometric steps and crops find beyond the border.
        interpolation: between pixels, by geometric steps.
        places: where the parts are written: `source`, `augment.0`.
    """

    source: Source
    split: Halves = field(default_factory=Halves)
    subset: Subset = field(default_factory=Subset)
    classes: tuple[str | int, ...] | None = None
    rescale: float | None = None
    normalize: Normalize | None = None
    augment: tuple[Augmentation, ...] = ()
    fill: Fill = field(default_factory=Constant)
    interpolation: Interpolation = "linear"
    places: Mapping[str, Span] = field(default_factory=dict, compare=False, repr=False)

    def written(self) -> dict[str, object]:
        """The section as plain values of a spec, without what is left to its default."""
        found: dict[str, object] = {"source": _word(self.source)}
        for name, value, default in (
            ("split", self.split, Halves()),
            ("subset", self.subset, Subset()),
        ):
            if value != default:
                found[name] = value.model_dump(exclude_defaults=True)
        if self.classes is not None:
            found["classes"] = self.classes
        if self.rescale is not None:
            found["rescale"] = self.rescale
        if self.normalize is not None:
            numbers = self.normalize.model_dump(exclude_defaults=True)
            found["normalize"] = numbers or "per_channel"
        if self.augment:
            found["augment"] = tuple(_word(step) for step in self.augment)
        if self.fill != Constant():
            found["fill"] = _word(self.fill)
        if self.interpolation != "linear":
            found["interpolation"] = self.interpolation
        return found

    def label(self, part: str) -> Label | None:
        """The place of a part, None where the section was not written in a file."""
        span = self.places.get(part) or self.places.get("source")
        return None if span is None else Label(span)


def _word(word: Vocabulary) -> object:
    """A word over the fields that are not left to their defaults, or alone."""
    fields = word.model_dump(exclude_defaults=True)
    return {word.key: fields} if fields else word.key
