"""IDX files, the format of MNIST: a header with type and sizes, then the numbers, big-endian."""

from __future__ import annotations

import math
import struct
from pathlib import Path

import numpy as np

from cnnspec.data.dataset import Array
from cnnspec.data.reading import File, corrupt, missing
from cnnspec.data.stored import Found, InMemory
from cnnspec.data_section import Idx
from cnnspec.diagnostics import DataError, Diagnostic, Label

__all__ = ["idx", "read_idx"]

TYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
MOST_AXES = 5

NAMES = ("images-idx3-ubyte", "labels-idx1-ubyte")


def idx(source: Idx, folder: Path, label: Label | None) -> Found:
    """Images and labels of the MNIST format.

    Images of height and width have one channel; files of other ranks are (N, features), or
    (N, channels, *space).

    Raises:
        DataError: a file is missing, damaged or not of this format, or they do not fit together.
    """
    halves = []
    for images, labels in _files(source, folder, label):
        x, y = read_idx(images, label), read_idx(labels, label)
        halves.append(_half(images, x, labels, y, label))
    return Found(halves[0], halves[1] if len(halves) > 1 else None)


def _files(source: Idx, folder: Path, label: Label | None) -> list[tuple[Path, Path]]:
    if source.folder is None:
        assert source.images is not None
        assert source.labels is not None
        found = [(folder / source.images, folder / source.labels)]
        if source.test_images is not None and source.test_labels is not None:
            found.append((folder / source.test_images, folder / source.test_labels))
        return found
    place = folder / source.folder
    if not place.is_dir():
        files = ", ".join(f"`{half}-{name}`" for half in ("train", "t10k") for name in NAMES)
        raise missing(place, label, f"put {files} there, gzip or not")
    halves = []
    for half in ("train", "t10k"):
        images, labels = (_usual(place, f"{half}-{name}", label) for name in NAMES)
        halves.append((images, labels))
    return halves


def _usual(place: Path, name: str, label: Label | None) -> Path:
    """A file under its usual name, with a dot where some copies have one, packed or not."""
    dotted = name.replace("-idx", ".idx")
    for each in (name, f"{name}.gz", dotted, f"{dotted}.gz"):
        if (place / each).is_file():
            return place / each
    raise missing(
        place / name, label, f"`{name}.gz` would do as well; other names go under `images:`"
    )


def read_idx(path: Path, label: Label | None = None) -> Array:
    """An array out of an IDX file, gzip or not; nothing is allocated that the file does not hold.

    Raises:
        DataError: the file is missing or damaged, or is no IDX file.
    """
    file = File.read(path, label)
    first = file.unpacked_head(4)
    if first[:2] != b"\0\0" or first[2] not in TYPES:
        raise corrupt(
            path,
            f"is no IDX file: it starts with {first[:4].hex(' ')}",
            label,
            "its first bytes are 00 00, then the type (08 for bytes), then the number of axes",
        )
    dtype, axes = np.dtype(TYPES[first[2]]), first[3]
    if not 1 <= axes <= MOST_AXES:
        raise corrupt(path, f"has {axes} axes, as its byte 3 says", label)
    header = 4 + 4 * axes

    def size(head: bytes) -> int:
        sizes: tuple[int, ...] = struct.unpack_from(f">{axes}I", head, 4)
        return header + math.prod(sizes) * dtype.itemsize

    data = file.unpacked(header, size)
    shape = struct.unpack_from(f">{axes}I", data, 4)
    if 0 in shape:
        raise corrupt(path, f"has no elements: its header says {'x'.join(map(str, shape))}", label)
    return np.frombuffer(data, dtype, offset=header).reshape(shape)


def _half(images: Path, x: Array, labels: Path, y: Array, label: Label | None) -> InMemory:
    if x.ndim == 1:
        raise corrupt(images, "has one axis, as labels have, and no images", label)
    if y.ndim != 1 or not np.issubdtype(y.dtype, np.integer):
        kind = f"{y.ndim} axes" if y.ndim != 1 else "numbers that are not whole"
        raise corrupt(labels, f"has {kind}, and labels are a list of whole numbers", label)
    if len(x) != len(y):
        raise DataError(
            Diagnostic(
                "data-counts",
                f"`{images}` has {len(x):,} images, and `{labels}` has {len(y):,} labels",
                label,
            )
        )
    if x.ndim == 3:
        x = x[:, None]
    if x.dtype != np.uint8:
        x = x.astype(np.float64)
        if not np.isfinite(x).all():
            place = int(np.argmin(np.isfinite(x)))
            raise DataError(
                Diagnostic(
                    "data-not-finite", f"element {place:,} of `{images}` is not finite", label
                )
            )
    return InMemory({"input": x}, {"output": y.astype(np.int64)})
