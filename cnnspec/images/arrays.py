"""Arrays out of .npy, .npz and safetensors files, each found to fit before it is read."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
from numpy.lib import format as npy

from cnnspec import files
from cnnspec.diagnostics import DataError, Diagnostic, did_you_mean
from cnnspec.ops.base import Shape, show

__all__ = ["ARRAYS", "read_array"]

Array = npt.NDArray[Any]

ARRAYS = (".npy", ".npz", ".safetensors")
"""Suffixes of files that hold numbers and no picture."""


@dataclass(frozen=True, slots=True)
class _Entry:
    """An array of a file, not read yet."""

    shape: Shape
    dtype: np.dtype[Any]
    read: Callable[[], Array]


def read_array(path: str, shapes: Mapping[str, Shape]) -> dict[str, Array]:
    """Read one sample of the inputs that a file has.

    A file of one array is that of the only input, whatever it is called; several go by the names
    of the inputs. A first axis of size 1 may stand for the batch, and may be missing for a single
    channel.

    Args:
        path: an .npy, .npz or safetensors file.
        shapes: the inputs that it may be for, by name, without the batch.

    Returns:
        By input, float64, without the batch.

    Raises:
        SetupError: there is no such file, or it cannot be read.
        DataError: it is damaged, a name, shape or type does not fit, or a number is not finite.
    """
    try:
        with open(path, "rb"):
            pass  # the libraries' own errors do not tell a missing file from a damaged one
        found = _named(path, _entries(path), shapes)
        return {
            name: _finite(path, entry.read().astype(np.float64).reshape(shapes[name]))
            for name, entry in found.items()
        }
    except DataError:
        raise
    except Exception as fault:  # a damaged file raises whatever its parts raise
        if isinstance(fault, OSError) and fault.errno is not None:
            raise files.unreadable(path, fault) from None
        if isinstance(fault, ValueError) and "null byte" in str(fault):
            raise files.unreadable(path, fault) from None
        suffix = os.path.splitext(path)[1].lower()
        text = (str(fault).splitlines() or [""])[0][:120] or type(fault).__name__
        raise _unreadable(f"`{path}` is no {suffix} file, or a damaged one ({text})") from None


def _entries(path: str) -> dict[str, _Entry]:
    suffix = os.path.splitext(path)[1].lower()
    if suffix == ".npy":
        return {"": _npy(path, None)}
    if suffix == ".npz":
        with zipfile.ZipFile(path) as archive:
            return {name.removesuffix(".npy"): _npy(path, name) for name in archive.namelist()}
    from safetensors import safe_open

    found = {}
    with safe_open(path, framework="numpy") as opened:
        for key in opened.keys():  # noqa: SIM118 - it is no mapping
            part = opened.get_slice(key)
            kind = {"F64": "f8", "F32": "f4", "F16": "f2"}.get(str(part.get_dtype()), "V1")
            shape = tuple(part.get_shape())
            found[key] = _Entry(shape, np.dtype(kind), partial(_tensor, path, key))
    return found


def _tensor(path: str, key: str) -> Array:
    from safetensors import safe_open

    with safe_open(path, framework="numpy") as opened:
        value: Array = opened.get_tensor(key)
        return value


def _npy(path: str, member: str | None) -> _Entry:
    """The header of an .npy file, or of one inside an archive; no pickle is ever read."""

    def opened(whole: bool) -> Any:
        with open(path, "rb") as file:
            if member is None:
                return _parsed(file, whole=whole)
            with zipfile.ZipFile(file) as archive, archive.open(member) as inner:
                return _parsed(inner, whole=whole)

    shape, dtype = opened(whole=False)
    return _Entry(shape, dtype, partial(opened, whole=True))


def _parsed(stream: Any, *, whole: bool) -> Any:
    if whole:
        return npy.read_array(stream, allow_pickle=False)
    version = npy.read_magic(stream)
    reader = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
    shape, _, dtype = reader(stream)
    return shape, dtype


def _named(
    path: str, entries: Mapping[str, _Entry], shapes: Mapping[str, Shape]
) -> dict[str, _Entry]:
    """The array of each input; only what fits is ever read."""
    if len(entries) == 1 and len(shapes) == 1:
        found = dict(zip(shapes, entries.values(), strict=True))
    else:
        found = dict(entries)
    for name, entry in found.items():
        if name not in shapes:
            known = did_you_mean(name, list(shapes))
            what = f"`{name}`" if name else "an array without a name"
            raise _unfit(f"`{path}` has {what}, which is no input of the network", known)
        shape = shapes[name]
        fits = {shape, (1, *shape), shape[1:] if shape[0] == 1 else shape}
        if entry.shape not in fits:
            raise _unfit(f"`{path}` has shape {show(entry.shape)}, and `{name}` is {show(shape)}")
        if entry.dtype.kind not in "fiub":
            raise _unfit(f"`{path}` has type {entry.dtype}, and an input is of real numbers")
    if not found:
        raise _unfit(f"`{path}` has no array")
    return found


def _finite(path: str, array: Array) -> Array:
    bad = int(np.count_nonzero(~np.isfinite(array)))
    if bad:
        raise _unreadable(f"`{path}`: {bad:,} of {array.size:,} values are not finite")
    return array


def _unreadable(message: str) -> DataError:
    return DataError(Diagnostic("image-unreadable", message))


def _unfit(message: str, help: str = "") -> DataError:
    return DataError(Diagnostic("image-does-not-fit", message, help=help))
