"""CIFAR-10 and CIFAR-100 in their binary versions; the pickled ones are never read."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from cnnspec.data.reading import File, corrupt, missing, truncated
from cnnspec.data.stored import Found, InMemory
from cnnspec.data_section import Cifar10, Cifar100
from cnnspec.diagnostics import DataError, Diagnostic, Label

__all__ = ["cifar10", "cifar100"]

SHAPE = (3, 32, 32)
PIXELS = 3072
"""Bytes of an image: 32 rows of 32 red, then green, then blue values."""

TRAIN = tuple(f"data_batch_{i}.bin" for i in range(1, 6))


def cifar10(source: Cifar10, folder: Path, label: Label | None) -> Found:
    """Records of a label and an image.

    Raises:
        DataError: a file is missing, damaged or not of this format.
    """
    place = _place(folder / source.folder, (*TRAIN, "test_batch.bin"), label)
    train = [_records(place / name, (10,), 0, label) for name in TRAIN]
    test = _records(place / "test_batch.bin", (10,), 0, label)
    return Found(_joined(train), test, _names(place / "batches.meta.txt", 10))


def cifar100(source: Cifar100, folder: Path, label: Label | None) -> Found:
    """Records of a coarse label, a fine one, and an image.

    Raises:
        DataError: a file is missing, damaged or not of this format.
    """
    place = _place(folder / source.folder, ("train.bin", "test.bin"), label)
    which, count = (1, 100) if source.labels == "fine" else (0, 20)
    train, test = (
        _records(place / name, (20, 100), which, label) for name in ("train.bin", "test.bin")
    )
    return Found(train, test, _names(place / f"{source.labels}_label_names.txt", count))


def _place(place: Path, files: Sequence[str], label: Label | None) -> Path:
    if not place.is_dir():
        names = ", ".join(f"`{name}`" for name in files)
        raise missing(place, label, f"put {names} of the binary version there")
    if not (place / files[-1]).exists() and any(
        (place / n).exists() for n in ("test_batch", "test")
    ):
        raise corrupt(
            place,
            "holds the Python version of the data, which could run any code when it is read",
            label,
            "download the binary version",
        )
    return place


def _records(path: Path, labels: tuple[int, ...], which: int, label: Label | None) -> InMemory:
    """A file of records: labels, each below its bound, then the pixels."""
    data = File.read(path, label).data
    record = len(labels) + PIXELS
    if len(data) % record:
        whole = len(data) // record
        raise truncated(
            path,
            f"ends at byte {len(data):,}, inside record {whole:,}, which has {record} bytes",
            label,
        )
    table = np.frombuffer(data, np.uint8).reshape(-1, record)
    for column, bound in enumerate(labels):
        wrong = np.flatnonzero(table[:, column] >= bound)
        if wrong.size:
            first = int(wrong[0])
            raise DataError(
                Diagnostic(
                    "data-corrupt",
                    f"`{path}` has a label {table[first, column]} at byte "
                    f"{first * record + column:,}, and labels are 0 to {bound - 1}",
                    label,
                )
            )
    images = np.ascontiguousarray(table[:, len(labels) :]).reshape(-1, *SHAPE)
    return InMemory({"input": images}, {"output": table[:, which].astype(np.int64)})


def _joined(parts: list[InMemory]) -> InMemory:
    return InMemory(
        {"input": np.concatenate([part.inputs["input"] for part in parts])},
        {"output": np.concatenate([part.targets["output"] for part in parts])},
    )


def _names(path: Path, count: int) -> tuple[str, ...]:
    """Names of classes, one on each line; their numbers where the file is not there or is odd."""
    try:
        lines = path.read_bytes()[:65_536].decode("ascii").split()
    except (OSError, UnicodeDecodeError):
        lines = []
    numbers = tuple(str(i) for i in range(count))
    return tuple(lines) if len(lines) == count and len(set(lines)) == count else numbers
