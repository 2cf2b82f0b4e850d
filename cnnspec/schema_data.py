"""The `data:` section: a source out of its vocabulary, halves, and the list of augmentations."""

from __future__ import annotations

from collections.abc import Mapping
from typing import get_args

from cnnspec.augmentation import (
    AUGMENTATIONS,
    FILLS,
    Augmentation,
    Constant,
    Fill,
    Mixup,
    Normalize,
)
from cnnspec.data_section import (
    SOURCES,
    DataSection,
    Halves,
    Interpolation,
    Source,
    Subset,
)
from cnnspec.diagnostics import Span, did_you_mean
from cnnspec.document import Path
from cnnspec.faults import Faults, quoted
from cnnspec.schema_fields import (
    MOST_SIZE,
    ModelT,
    missing_field,
    read_model,
    read_whole,
    read_word,
    unknown_field,
    wrong_type,
)

__all__ = ["FIELDS", "read_data"]

FIELDS = (
    "source", "split", "subset", "classes", "rescale", "normalize", "augment", "fill",
    "interpolation",
)  # fmt: skip
MOST_STEPS = 100
MOST_FACTOR = 1e9


def read_data(faults: Faults, value: object) -> DataSection | None:
    """The section, or None where a part of it is at fault."""
    path: Path = ("data",)
    before = faults.errors
    if not isinstance(value, dict):
        wrong_type(faults, path, "`data` is a mapping", "such as `data: {source: digits}`")
        return None
    for key in value:
        if key not in FIELDS:
            unknown_field(faults, path, "`data`", key, FIELDS)
    if "source" not in value:
        missing_field(faults, path, "`data`", "source")
        return None
    at: Path = (*path, "source")
    source: Source | None = read_word(
        faults, SOURCES, value["source"], at, "source", code="unknown-source"
    )
    given = {key: entry for key, entry in value.items() if key != "source"}
    fill: Fill = Constant()
    if "fill" in given:
        at = (*path, "fill")
        fill = read_word(faults, FILLS, given["fill"], at, "fill", code="unknown-fill") or fill
    augment = _augment(faults, given.get("augment", ()))
    normalize = _normalize(faults, given.get("normalize", "none"))
    if normalize is not None and normalize.measured:
        _only_once(faults, augment, (*path, "normalize"))
    split = _mapping(faults, Halves, given.get("split", {}), "split") or Halves()
    subset = _subset(faults, given.get("subset", {}))
    classes = _classes(faults, given["classes"]) if "classes" in given else None
    rescale = _rescale(faults, given["rescale"]) if "rescale" in given else None
    between = _interpolation(faults, given.get("interpolation", "linear"))
    if source is None or faults.errors > before:
        return None
    places = _places(faults, given, source)
    return DataSection(
        source, split, subset, classes, rescale, normalize, augment, fill, between, places
    )


def _places(faults: Faults, given: Mapping[str, object], source: Source) -> dict[str, Span]:
    """Where parts stand that data may contradict later."""
    document = faults.document
    found = {"source": document.span(("data", "source", source.key))}
    word = document.key_spans.get(("data", "source", source.key))
    found["source"] = word or document.span(("data", "source"))
    found |= {key: document.key_span(("data", key)) for key in given}
    steps = given.get("augment", ())
    if isinstance(steps, tuple):
        for i, step in enumerate(steps):
            at: Path = ("data", "augment", i)
            key = next(iter(step)) if isinstance(step, dict) and step else None
            span = None if key is None else document.key_spans.get((*at, key))
            found[f"augment.{i}"] = span or document.span(at)
    return found


def _augment(faults: Faults, value: object) -> tuple[Augmentation, ...]:
    path: Path = ("data", "augment")
    if not isinstance(value, tuple):
        wrong_type(
            faults, path, "`augment` is a list of steps", "such as `augment: [{flip: {p: 0.5}}]`"
        )
        return ()
    if len(value) > MOST_STEPS:
        faults.add("out-of-range", path, f"`augment` has {len(value)} steps, above {MOST_STEPS}")
        return ()
    found: list[Augmentation] = []
    for i, entry in enumerate(value):
        at = (*path, i)
        step = read_word(
            faults, AUGMENTATIONS, entry, at, "augmentation", code="unknown-augmentation"
        )
        if step is None:
            continue
        if isinstance(step, Normalize) and step.measured:
            _only_once(faults, found, (*at, step.key))
        if isinstance(step, Mixup) and i + 1 < len(value):
            faults.add(
                "mixup-not-last",
                (*at, step.key),
                "`mixup` mixes samples that are done, and steps follow it",
                help="put it last",
                key=True,
            )
        found.append(step)
    return tuple(found)


def _only_once(faults: Faults, others: object, at: Path) -> None:
    steps = others if isinstance(others, tuple | list) else ()
    if any(isinstance(step, Normalize) and step.measured for step in steps):
        faults.add(
            "normalize-twice",
            at,
            "the mean and deviation of the training half are taken away already",
            help="take one of the two out, or give one `mean` and `std`",
            key=True,
        )


def _normalize(faults: Faults, value: object) -> Normalize | None:
    path: Path = ("data", "normalize")
    if value == "none":
        return None
    if value == "per_channel":
        return Normalize()
    if isinstance(value, dict) and value:
        return _mapping(faults, Normalize, value, "normalize")
    wrong_type(faults, path, "`normalize` is `per_channel`, `none`, or a mapping", _EXAMPLE)
    return None


_EXAMPLE = "such as {mean: [0.5], std: [0.25]}, with a number for each channel"


def _mapping(faults: Faults, cls: type[ModelT], value: object, name: str) -> ModelT | None:
    path: Path = ("data", name)
    if not isinstance(value, dict):
        wrong_type(faults, path, f"`{name}` is a mapping")
        return None
    known = list(cls.model_fields)
    return read_model(faults, cls, value, path, what=f"`{name}`", known=known)


def _subset(faults: Faults, value: object) -> Subset:
    if isinstance(value, int) and not isinstance(value, bool):
        return Subset(train=read_whole(faults, value, ("data", "subset"), 1, MOST_SIZE))
    if not isinstance(value, dict):
        wrong_type(
            faults,
            ("data", "subset"),
            "`subset` is a number of training samples, or a mapping",
            "such as {train: 1000, stratified: true}",
        )
        return Subset()
    return _mapping(faults, Subset, value, "subset") or Subset()


def _classes(faults: Faults, value: object) -> tuple[str | int, ...] | None:
    path: Path = ("data", "classes")
    if not isinstance(value, tuple) or not value:
        wrong_type(faults, path, "`classes` is a list of names or numbers of classes")
        return None
    found: list[str | int] = []
    for i, entry in enumerate(value):
        at = (*path, i)
        if isinstance(entry, bool) or not isinstance(entry, str | int):
            wrong_type(faults, at, "a class is given by its name or its number")
        elif entry in found:
            faults.add("class-twice", at, f"the class {quoted(str(entry))} is in the list already")
        else:
            found.append(entry)
    return tuple(found)


def _rescale(faults: Faults, value: object) -> float | None:
    path: Path = ("data", "rescale")
    if isinstance(value, bool) or not isinstance(value, int | float):
        wrong_type(faults, path, "`rescale` is a number, by which stored values are multiplied")
        return None
    if not 0 < abs(value) <= MOST_FACTOR:
        message = f"the size of `rescale` is not above 0 and at most {MOST_FACTOR:g}"
        faults.add("out-of-range", path, message)
        return None
    return float(value)


def _interpolation(faults: Faults, value: object) -> Interpolation:
    words: tuple[Interpolation, ...] = get_args(Interpolation)
    path: Path = ("data", "interpolation")
    for word in words:
        if value == word:
            return word
    if isinstance(value, str):
        message = f"there is no interpolation {quoted(value)}"
        faults.add("bad-value", path, message, help=did_you_mean(value, words))
    else:
        wrong_type(faults, path, "`interpolation` is a word", did_you_mean("", words))
    return "linear"
