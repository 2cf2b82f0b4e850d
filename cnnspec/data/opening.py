"""A section, or the name of a source, to data that can be trained on."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path

import numpy as np

from cnnspec.augmentation import Augmentation, Normalize
from cnnspec.data.augment import Augmenter
from cnnspec.data.choosing import choose
from cnnspec.data.dataset import Dataset, Samples, Split, Statistics
from cnnspec.data.preparation import measured, normalizations, steps_of
from cnnspec.data.prepared import Prepared
from cnnspec.data.stored import Found, InMemory, Stored
from cnnspec.data.suitable import require_suitable
from cnnspec.data_section import SOURCES, DataSection, Source
from cnnspec.diagnostics import DataError, Diagnostic, Label, SetupError, did_you_mean
from cnnspec.graph import Graph

__all__ = ["given", "load", "open", "section_of"]

DEFAULT = "digits"
"""What is trained on where nobody says anything."""

LOADERS = {
    "digits": "cnnspec.data.digits:digits",
    "idx": "cnnspec.data.idx:idx",
    "cifar10": "cnnspec.data.cifar:cifar10",
    "cifar100": "cnnspec.data.cifar:cifar100",
    "image_folder": "cnnspec.data.image_folder:image_folder",
    "npz": "cnnspec.data.npz:npz",
}


def load(name: str) -> Dataset:
    """The data of this name, as they are.

    Raises:
        SetupError: there is none of this name, or the library that holds it is not installed.
    """
    return open(name)


def open(
    section: DataSection | str,
    *,
    folder: str | os.PathLike[str] = ".",
    seed: int = 0,
    statistics: Mapping[str, Statistics] | None = None,
) -> Dataset:
    """Find the data, and everything that is wrong with them and can be known beforehand.

    Args:
        section: of a spec, or the name of a source that needs no fields.
        folder: where relative paths start, the spec's own directory.
        seed: chooses halves and augments.
        statistics: of a run, instead of measuring the training half anew.

    Raises:
        DataError: files are missing or damaged, or the section does not fit them.
        SetupError: there is no such name, a library is missing, or memory is too small.
    """
    if isinstance(section, str):
        section = section_of(section)
    found = _found(section, Path(folder))
    chosen = choose(found, section, seed)
    train = chosen.train
    steps = steps_of(section)
    labels = [_label(section, i, len(steps)) for i in range(len(steps))]
    require_suitable(train, steps, labels, section)
    normalizations(steps, train.shapes, labels)
    by_input, known = _resolved(train, section, steps, labels, statistics)
    classes = len(chosen.classes) or _most(train)

    def half(stored: Stored | None, *, training: bool) -> Samples | None:
        if stored is None:
            return None
        if not steps and section.rescale is None and _is_plain(stored):
            return Split(stored.read(slice(None)), stored.targets)
        space = [name for name, shape in stored.shapes.items() if len(shape) > 1]
        augmenter = Augmenter(
            by_input,
            stored.shapes,
            tuple(space or stored.shapes),
            section.fill,
            section.interpolation,
            seed,
        )
        return Prepared(
            stored,
            section.rescale,
            augmenter,
            training,
            classes,
            {name: name for name in stored.shapes},
            {name: name for name in stored.targets},
        )

    training, test = half(train, training=True), half(chosen.test, training=False)
    assert training is not None
    assert test is not None
    return Dataset(
        section.source.key,
        training,
        test,
        chosen.classes,
        known,
        half(chosen.validation, training=False),
        found.skipped,
        found.notes,
    )


def given(
    data: Dataset | DataSection | str | None,
    graph: Graph,
    *,
    seed: int | None = None,
    statistics: Mapping[str, Statistics] | None = None,
) -> Dataset:
    """The data for a network: what is given, else those of its spec, else the digits.

    Args:
        data: data made by hand, a section, the name of a source, or None.
        graph: whose spec's directory is where relative paths start.
        seed: instead of the network's.
        statistics: see `open`.

    Raises:
        UserError: see `open`.
    """
    if isinstance(data, Dataset):
        return data
    section = data or graph.data or DEFAULT
    folder = os.path.dirname(graph.origin.span.source.name) if graph.origin is not None else ""
    seed = graph.seed if seed is None else seed
    return open(section, folder=folder or ".", seed=seed, statistics=statistics)


def section_of(name: str) -> DataSection:
    """The section of a source that needs no fields.

    Raises:
        SetupError: there is none of this name, or it needs fields.
    """
    cls = SOURCES.get(name)
    bare = [key for key, each in SOURCES.items() if not _needs_fields(each)]
    if cls is None:
        raise SetupError(
            Diagnostic(
                "unknown-data",
                f"there is no data called `{name}`",
                help=did_you_mean(name, bare),
            )
        )
    if name not in bare:
        raise SetupError(
            Diagnostic(
                "unknown-data",
                f"`{name}` is found by the fields of a `data:` section, and not by its name alone",
                help=f"such as `data: {{source: {{{name}: {{...}}}}}}`",
            )
        )
    return DataSection(cls())


def _needs_fields(cls: type[Source]) -> bool:
    return cls.key != "digits"


def _found(section: DataSection, folder: Path) -> Found:
    module, _, attribute = LOADERS[section.source.key].partition(":")
    loader: Callable[[Source, Path, Label | None], Found]
    loader = getattr(import_module(module), attribute)
    return loader(section.source, folder, section.label("source"))


def _label(section: DataSection, position: int, count: int) -> Label | None:
    """Where a step of `steps_of` is written."""
    listed = len(section.augment)
    if section.normalize is not None:
        last = count - 1
        if listed and section.augment[-1].key == "mixup":
            if position == last:
                return section.label(f"augment.{listed - 1}")
            last -= 1
        if position == last:
            return section.label("normalize")
    return section.label(f"augment.{position}")


def _resolved(
    train: Stored,
    section: DataSection,
    steps: tuple[Augmentation, ...],
    labels: list[Label | None],
    given: Mapping[str, Statistics] | None,
) -> tuple[dict[str, tuple[Augmentation, ...]], dict[str, Statistics]]:
    """The steps of each input, with measured numbers put in, and these numbers."""
    place = next((i for i, s in enumerate(steps) if isinstance(s, Normalize) and s.measured), None)
    if place is None:
        return dict.fromkeys(train.shapes, steps), {}
    if given is None:
        known = measured(train, section.rescale, steps[:place], labels[place])
    else:
        known = dict(given)
        for name, shape in train.shapes.items():
            if name not in known or len(known[name].mean) != shape[0]:
                raise DataError(
                    Diagnostic(
                        "channel-count",
                        f"the stored statistics are not those of `{name}`, which has {shape[0]} "
                        "channels",
                        labels[place],
                    )
                )
    by_input = {}
    for name in train.shapes:
        own = Normalize(mean=known[name].mean, std=known[name].std)
        by_input[name] = (*steps[:place], own, *steps[place + 1 :])
    return by_input, known


def _is_plain(stored: Stored) -> bool:
    return isinstance(stored, InMemory) and all(
        array.dtype == np.float64 for array in stored.inputs.values()
    )


def _most(stored: Stored) -> int:
    """Classes of labels without names."""
    whole = [a for a in stored.targets.values() if np.issubdtype(a.dtype, np.integer)]
    return max((int(array.max()) + 1 for array in whole if array.size), default=0)
