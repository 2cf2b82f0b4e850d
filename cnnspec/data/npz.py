"""Arrays of an .npz file by name; pickled objects are never read."""

from __future__ import annotations

import io
import math
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib import format as npy

from cnnspec import memory
from cnnspec.data.dataset import Array
from cnnspec.data.reading import File, corrupt
from cnnspec.data.stored import Found, InMemory
from cnnspec.data_section import Npz
from cnnspec.diagnostics import DataError, Diagnostic, Label, UserError, did_you_mean

__all__ = ["npz"]

MOST_AXES = 5


def npz(source: Npz, folder: Path, label: Label | None) -> Found:
    """Inputs and targets by the names of the section.

    Raises:
        DataError: a file is missing or damaged, an array is missing or of a type that has no
            numbers, or arrays do not fit together.
    """
    archive = _Archive(folder / source.file, label)
    train = _half(archive, source, source.inputs, source.targets)
    other = archive if source.test is None else _Archive(folder / source.test, label)
    if source.test_inputs is not None and source.test_targets is not None:
        test = _half(other, source, source.test_inputs, source.test_targets)
    elif source.test is not None:
        test = _half(other, source, source.inputs, source.targets)
    elif source.inputs == "x_train" and {"x_test", "y_test"} <= set(archive.names):
        test = _half(archive, source, "x_test", "y_test")
    else:
        return Found(train, None, source.classes)
    return Found(train, test, source.classes)


def _half(
    archive: _Archive,
    source: Npz,
    inputs: str | Mapping[str, str],
    targets: str | Mapping[str, str],
) -> InMemory:
    x = {
        name: _input(archive, key, source.channels, archive.read(key))
        for name, key in _named(inputs, "input")
    }
    y = {name: _target(archive, key, archive.read(key)) for name, key in _named(targets, "output")}
    found = [*_named(inputs, "input"), *_named(targets, "output")]
    counts = [len(array) for array in (*x.values(), *y.values())]
    if len(set(counts)) > 1:
        told = ", ".join(f"`{key}` has {n:,}" for (_, key), n in zip(found, counts, strict=True))
        raise DataError(
            Diagnostic(
                "data-counts",
                f"the arrays of `{archive.path}` have different numbers of samples: {told}",
                archive.label,
            )
        )
    return InMemory(x, y)


def _named(keys: str | Mapping[str, str], only: str) -> list[tuple[str, str]]:
    return [(only, keys)] if isinstance(keys, str) else list(keys.items())


def _input(archive: _Archive, key: str, channels: str, array: Array) -> Array:
    if array.ndim < 2 and channels != "none":
        raise archive.wrong_type(key, "has one number a sample, and channels are missing")
    if channels == "none":
        array = array[:, None]
    elif channels == "last":
        array = np.ascontiguousarray(np.moveaxis(array, -1, 1))
    if array.ndim > MOST_AXES:
        raise archive.wrong_type(key, f"has {array.ndim - 2} axes of space, and 3 are the most")
    return array if array.dtype == np.uint8 else archive.finite(key, array.astype(np.float64))


def _target(archive: _Archive, key: str, array: Array) -> Array:
    if np.issubdtype(array.dtype, np.integer):
        return array.astype(np.int64)
    return archive.finite(key, array.astype(np.float64))


class _Archive:
    """The members of an .npz file, each looked at before it is read."""

    def __init__(self, path: Path, label: Label | None) -> None:
        self.path, self.label = path, label
        data = File.read(path, label).data
        try:
            self._zip = zipfile.ZipFile(io.BytesIO(data))
            infos = {info.filename.removesuffix(".npy"): info for info in self._zip.infolist()}
        except Exception as fault:  # a damaged archive raises whatever its parts raise
            raise self._damaged(str(fault)) from None
        self._infos = infos
        self.names = tuple(infos)

    def read(self, key: str) -> Array:
        """The array of this name, of a type that holds numbers, with at least one sample."""
        info = self._infos.get(key)
        if info is None:
            raise DataError(
                Diagnostic(
                    "data-key",
                    f"`{self.path}` has no array `{key}`",
                    self.label,
                    help=did_you_mean(key, self.names),
                )
            )
        try:
            with self._zip.open(info) as member:
                return self._array(key, info.file_size, member)
        except UserError:
            raise
        except Exception as fault:  # a damaged archive raises whatever its parts raise
            raise self._damaged(f"`{key}`: {fault}") from None

    def _array(self, key: str, size: int, member: Any) -> Array:
        version = npy.read_magic(member)
        if version not in ((1, 0), (2, 0)):
            raise self._damaged(f"`{key}` has a header of version {version}")
        header = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
        shape, fortran, dtype = header(member)
        if dtype.hasobject or dtype.kind not in "biuf":
            kind = "Python objects, which are never read" if dtype.hasobject else f"type {dtype}"
            raise self.wrong_type(key, f"holds {kind}, and numbers are needed")
        if not shape or 0 in shape:
            raise self.wrong_type(key, "has no samples")
        wanted = math.prod(shape) * dtype.itemsize
        if wanted > size:
            raise self._damaged(f"`{key}` has {size:,} bytes, and its header says {wanted:,}")
        memory.require(wanted, f"`{key}` of `{self.path}`")
        data = b"".join(_pieces(member, wanted + 1))
        if len(data) != wanted:
            raise self._damaged(
                f"`{key}` has {len(data):,} bytes behind its header, which says {wanted:,}"
            )
        array = np.frombuffer(data, dtype)
        array = array.reshape(shape[::-1]).T if fortran else array.reshape(shape)
        return array.astype(np.uint8) if dtype.kind == "b" else array

    def finite(self, key: str, array: Array) -> Array:
        """The same array, found to hold numbers only."""
        good = np.isfinite(array)
        if not good.all():
            place = tuple(int(i) for i in np.unravel_index(int(np.argmin(good)), array.shape))
            raise DataError(
                Diagnostic(
                    "data-not-finite",
                    f"`{key}` of `{self.path}` is {array[place]} at {list(place)}",
                    self.label,
                )
            )
        return array

    def wrong_type(self, key: str, what: str) -> DataError:
        """The array is none of numbers, or has not the axes that are needed."""
        return DataError(Diagnostic("data-type", f"`{key}` of `{self.path}` {what}", self.label))

    def _damaged(self, what: str) -> DataError:
        return corrupt(self.path, f"is no .npz file, or a damaged one: {what[:200]}", self.label)


def _pieces(member: Any, most: int) -> Iterator[bytes]:
    """Up to so many bytes; memory grows with what is there, not with what a header says."""
    while most > 0 and (piece := member.read(min(most, 2**22))):
        most -= len(piece)
        yield piece
