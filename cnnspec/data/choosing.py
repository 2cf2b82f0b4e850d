"""Which samples are in which half: classes that are kept, the split, and the subset."""

from __future__ import annotations

import dataclasses

import numpy as np

from cnnspec.data.dataset import Array
from cnnspec.data.draws import shuffled
from cnnspec.data.stored import Found, Numbers, Stored
from cnnspec.data_section import DataSection
from cnnspec.diagnostics import DataError, Diagnostic, did_you_mean
from cnnspec.faults import quoted

__all__ = ["Chosen", "choose"]


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Chosen:
    """The halves that are used."""

    train: Stored
    test: Stored
    validation: Stored | None
    classes: tuple[str, ...]


def choose(found: Found, section: DataSection, seed: int) -> Chosen:
    """Keep the classes, take the test and validation halves away, and keep the subset.

    Raises:
        DataError: there are two test halves or none, a class is unknown, or samples are too few.
    """
    train, test, classes = found.train, found.test, found.classes
    if section.classes is not None:
        numbers = _numbers(found, section)
        train = _kept(train, numbers, section)
        test = None if test is None else _kept(test, numbers, section)
        if classes:
            classes = tuple(classes[number] for number in numbers)
    split = section.split
    if test is not None and split.test is not None:
        raise DataError(
            Diagnostic(
                "test-half-twice",
                f"the data `{section.source.key}` have a test half, and `split` takes another one",
                section.label("split"),
                help="take `test:` out of it; `validation:` takes from the training half",
            )
        )
    if test is None:
        if split.test is None:
            raise DataError(
                Diagnostic(
                    "test-half-missing",
                    f"the data `{section.source.key}` have no test half",
                    section.label("source"),
                    help="`split: {test: 0.2}` takes a fifth of the samples",
                )
            )
        test, train = _taken(train, split.test, "test", section, seed)
    validation = None
    if split.validation is not None:
        validation, train = _taken(train, split.validation, "validation", section, seed)
    subset = section.subset
    if subset.train is not None:
        train = _subset(train, subset.train, "training", section)
    if subset.test is not None:
        test = _subset(test, subset.test, "test", section)
    return Chosen(train, test, validation, classes)


def _labels(stored: Stored, section: DataSection, part: str) -> Array:
    """The only targets, which have to be one label a sample."""
    for array in stored.targets.values():
        if len(stored.targets) == 1 and array.ndim == 1 and np.issubdtype(array.dtype, np.integer):
            return array
    raise DataError(
        Diagnostic(
            "labels-needed",
            f"`{part}` goes by classes, and the targets of the data `{section.source.key}` are not "
            "one label a sample",
            section.label(part),
        )
    )


def _numbers(found: Found, section: DataSection) -> list[int]:
    """The labels of the classes that are kept."""
    assert section.classes is not None
    labels = _labels(found.train, section, "classes")
    count = len(found.classes) or int(labels.max()) + 1
    numbers = []
    for each in section.classes:
        number = each
        if isinstance(each, str):
            number = found.classes.index(each) if each in found.classes else -1
        if not isinstance(number, int) or not 0 <= number < count or number in numbers:
            twice = number in numbers
            shown = quoted(str(each))
            raise DataError(
                Diagnostic(
                    "class-unknown",
                    f"the class {shown} is in the list already"
                    if twice
                    else f"the data `{section.source.key}` have no class {shown}",
                    section.label("classes"),
                    help=did_you_mean(str(each), found.classes[:100])
                    or f"there are the numbers 0 to {count - 1}",
                )
            )
        numbers.append(number)
    return numbers


def _kept(stored: Stored, numbers: list[int], section: DataSection) -> Stored:
    """Samples of these classes, with labels that count them."""
    labels = _labels(stored, section, "classes")
    chosen = np.flatnonzero(np.isin(labels, numbers))
    if not len(chosen):
        raise _too_few(0, 1, "one half", section, "classes")
    kept = stored.select(chosen)
    renumbered = np.zeros(max(numbers) + 1, np.int64)
    renumbered[numbers] = np.arange(len(numbers))
    targets = {name: renumbered[array] for name, array in kept.targets.items()}
    return kept.labelled(targets)


def _taken(
    stored: Stored, share: int | float, what: str, section: DataSection, seed: int
) -> tuple[Stored, Stored]:
    """So many samples by chance, and the others; both keep their order."""
    total = len(stored)
    count = share if isinstance(share, int) else round(share * total)
    if not 0 < count < total:
        raise DataError(
            Diagnostic(
                "too-few-samples",
                f"of {total:,} samples `{what}: {share}` takes {count:,}, and leaves "
                f"{max(total - count, 0):,}",
                section.label("split"),
            )
        )
    visited = shuffled(f"{seed}/split/{what}", total)
    if section.split.stratified:
        chosen = _stratified(_labels(stored, section, "split"), visited, count)
    else:
        chosen = visited[:count]
    mask = np.zeros(total, bool)
    mask[chosen] = True
    return stored.select(np.flatnonzero(mask)), stored.select(np.flatnonzero(~mask))


def _subset(stored: Stored, count: int, what: str, section: DataSection) -> Stored:
    """The first samples, or the first ones of each class."""
    if count > len(stored):
        raise _too_few(len(stored), count, f"the {what} half", section, "subset")
    chosen = np.arange(count)
    if section.subset.stratified:
        labels = _labels(stored, section, "subset")
        chosen = np.sort(_stratified(labels, np.arange(len(stored)), count))
    return stored.select(chosen)


def _stratified(labels: Array, visited: Numbers, count: int) -> Numbers:
    """The first of each class in this order, in proportion to the sizes of the classes.

    What is left over by rounding goes to the classes with the largest remainders, the first of
    them in a tie.
    """
    classes, sizes = np.unique(labels, return_counts=True)
    shares = sizes * count // len(labels)
    remainders = sizes * count % len(labels)
    for number in np.argsort(-remainders, kind="stable")[: count - shares.sum()]:
        shares[number] += 1
    found = [
        visited[labels[visited] == number][:share]
        for number, share in zip(classes, shares, strict=True)
    ]
    return np.concatenate(found)


def _too_few(have: int, want: int, what: str, section: DataSection, part: str) -> DataError:
    return DataError(
        Diagnostic(
            "too-few-samples",
            f"{what} of the data `{section.source.key}` has {have:,} samples, and {want:,} are "
            "needed",
            section.label(part),
        )
    )
