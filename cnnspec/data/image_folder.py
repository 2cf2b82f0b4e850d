"""A folder of images with a folder for each class, read when they are needed."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cnnspec.data.dataset import Array, Arrays
from cnnspec.data.images import SUFFIXES, Decoder
from cnnspec.data.reading import missing, unreadable
from cnnspec.data.stored import Found, Numbers
from cnnspec.data_section import ImageFolder
from cnnspec.diagnostics import DataError, Diagnostic, Label
from cnnspec.ops.base import Shape

__all__ = ["Images", "image_folder"]

MOST_IMAGES = 100_000_000


@dataclass(frozen=True, slots=True, eq=False)
class Images:
    """Files of one half, decoded each time that they are asked for.

    Attributes:
        paths: in order.
        targets: their labels.
        decoder: of all of them.
        size: height and width of every decoded image.
    """

    paths: tuple[Path, ...]
    targets: Mapping[str, Array]
    decoder: Decoder
    size: tuple[int, int]

    def __len__(self) -> int:
        return len(self.paths)

    @property
    def shapes(self) -> dict[str, Shape]:
        """Of one image."""
        return {"input": (self.decoder.channels, *self.size)}

    def read(self, numbers: Numbers | slice) -> Arrays:
        """Decode some of them.

        Raises:
            DataError: one cannot be read any more, or has another size than when it was looked at.
        """
        chosen = np.arange(len(self.paths))[numbers]
        found = np.empty((len(chosen), self.decoder.channels, *self.size), np.uint8)
        for i, number in enumerate(chosen):
            pixels = self.decoder.decode(self.paths[number])
            if pixels.shape[1:] != self.size:
                raise _other_size(self.paths[number], pixels.shape[1:], self.size, self.decoder)
            found[i] = pixels
        return {"input": found}

    def select(self, numbers: Numbers) -> Images:
        """Some of them only."""
        return Images(
            tuple(self.paths[number] for number in numbers),
            {name: array[numbers] for name, array in self.targets.items()},
            self.decoder,
            self.size,
        )

    def labelled(self, targets: Mapping[str, Array]) -> Images:
        """The same images with other targets."""
        return Images(self.paths, targets, self.decoder, self.size)


def image_folder(source: ImageFolder, folder: Path, label: Label | None) -> Found:
    """Images by class, in the order of their names; a class is a folder, in the order of names.

    Files are looked at without being decoded; with `corrupt: skip` each is decoded once, so that
    it is known beforehand which are left out.

    Raises:
        DataError: a folder is missing, a class has no images, an image is damaged and the section
            does not say that it is skipped, or sizes differ and the section gives none.
        SetupError: Pillow cannot be imported.
    """
    decoder = Decoder(source.channels, source.size, label)
    places = [folder / source.folder, *([folder / source.test] if source.test else [])]
    classes = _classes(places[0], label)
    _same_classes(places, classes, label)
    skipped: list[str] = []
    others = 0
    halves: list[tuple[list[Path], list[int]]] = []
    size = source.size
    for place in places:
        paths: list[Path] = []
        labels: list[int] = []
        for number, name in enumerate(classes):
            files, passed = _images(place / name, label)
            others += passed
            good, size = _looked_at(files, source, decoder, size, skipped)
            if not good:
                raise _empty(place / name, len(files), label)
            paths += good
            labels += [number] * len(good)
        halves.append((paths, labels))
    assert size is not None
    stored = [
        Images(tuple(paths), {"output": np.array(labels, np.int64)}, decoder, size)
        for paths, labels in halves
    ]
    notes = (f"{others} files are no .png, .jpg or .jpeg and were passed over",) if others else ()
    test = stored[1] if len(stored) > 1 else None
    return Found(stored[0], test, classes, tuple(skipped), notes)


def _classes(place: Path, label: Label | None) -> tuple[str, ...]:
    classes = tuple(entry.name for entry in _entries(place, label) if entry.is_dir())
    if not classes:
        raise DataError(
            Diagnostic(
                "class-empty",
                f"`{place}` has no folders, and each class has one of its own",
                label,
                help=f"put the images of class `cat` into `{place / 'cat'}`",
            )
        )
    return classes


def _same_classes(places: list[Path], classes: tuple[str, ...], label: Label | None) -> None:
    for place in places[1:]:
        others = _classes(place, label)
        if others != classes:
            extra, lacking = sorted({*others} - {*classes}), sorted({*classes} - {*others})
            which = f"`{(extra or lacking)[0]}` is in one of them only"
            message = f"`{places[0]}` and `{place}` have different classes: {which}"
            raise DataError(Diagnostic("class-names", message, label))


def _entries(place: Path, label: Label | None) -> list[os.DirEntry[str]]:
    """What is in a folder and not hidden, by name."""
    try:
        with os.scandir(place) as entries:
            found = [entry for entry in entries if not entry.name.startswith(".")]
    except (OSError, ValueError) as error:
        if isinstance(error, FileNotFoundError):
            raise missing(place, label) from None
        raise unreadable(place, error, label) from None
    return sorted(found, key=lambda entry: entry.name)


def _images(place: Path, label: Label | None) -> tuple[list[Path], int]:
    """The images of a class, and how many other entries there are."""
    entries = _entries(place, label)
    found = [place / entry.name for entry in entries if entry.name.lower().endswith(SUFFIXES)]
    return found, len(entries) - len(found)


def _looked_at(
    files: list[Path],
    source: ImageFolder,
    decoder: Decoder,
    size: tuple[int, int] | None,
    skipped: list[str],
) -> tuple[list[Path], tuple[int, int] | None]:
    """Files that are good as far as is known, and the size that all have."""
    good = []
    for path in files:
        try:
            if source.corrupt == "skip":
                pixels = decoder.decode(path)
                found = pixels.shape[1], pixels.shape[2]
            else:
                found = decoder.measure(path) if source.size is None else source.size
                _require_contents(path, decoder)
        except DataError as error:
            if source.corrupt == "error":
                raise
            skipped.append(error.diagnostics[0].message)
            continue
        if size is not None and found != size:
            raise _other_size(path, found, size, decoder)
        size = found
        good.append(path)
    return good, size


def _require_contents(path: Path, decoder: Decoder) -> None:
    """Find an empty file before it is trained on; that one is damaged shows when it is decoded."""
    try:
        size = path.stat().st_size
    except (OSError, ValueError) as error:
        raise unreadable(path, error, decoder.label) from None
    if size == 0:
        raise DataError(Diagnostic("data-truncated", f"`{path}` is empty", decoder.label))


def _other_size(
    path: Path, found: tuple[int, ...], size: tuple[int, int], decoder: Decoder
) -> DataError:
    return DataError(
        Diagnostic(
            "image-size",
            f"`{path}` is {found[0]}x{found[1]}, and the images before it are {size[0]}x{size[1]}",
            decoder.label,
            help=f"`size: [{size[0]}, {size[1]}]` resizes all of them",
        )
    )


def _empty(place: Path, files: int, label: Label | None) -> DataError:
    many = f"has {files} images, all of which are skipped" if files else "has no images"
    help = "images end in .png, .jpg or .jpeg; take the folder away if the class is none"
    if any(entry.is_dir() for entry in _entries(place, label)):
        help = f"if its folders are the classes, `{place}` is what `folder:` or `test:` names"
    return DataError(
        Diagnostic(
            "class-empty",
            f"the class folder `{place}` {many}",
            label,
            help=help,
        )
    )
