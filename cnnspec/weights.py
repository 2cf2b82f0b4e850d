"""Canonical weights to and from safetensors files, which `load_state_dict` of torch reads as well.

Names and layouts are the graph's: `layer1.0.conv1.weight`, O, I, then space. A file is checked
against a graph before anything of it is used, and every fault is reported, not the first alone.
"""

from __future__ import annotations

import json
import os
import struct
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from cnnspec import files, memory
from cnnspec.diagnostics import DataError, Diagnostic, Label, closest
from cnnspec.graph import Graph
from cnnspec.ops.base import Param, Shape

__all__ = ["fit", "read_tensors", "read_weights", "write_weights"]

Array = npt.NDArray[Any]
Reader = Callable[[], Array]

DTYPES = ("F64", "F32", "F16", "BF16")
IGNORED = "num_batches_tracked"
"""torch counts batches for its batch norms; no computation here depends on it."""

MOST_REPORTED = 10
"""Faults of one kind that are listed; the last one says how many more there are."""


@dataclass(frozen=True, slots=True)
class _Entry:
    """One tensor of a file, not read yet."""

    dtype: str
    shape: Shape
    read: Reader


def read_weights(path: str | os.PathLike[str], graph: Graph) -> dict[str, Array]:
    """Read the weights of a network.

    Args:
        path: a safetensors file.
        graph: the network they must fit.

    Returns:
        By canonical name, in canonical layout and in the order of the graph; float16, float32 and
        float64 as stored, bfloat16 as float32, which holds it exactly.

    Raises:
        SetupError: there is no such file, or it cannot be read.
        DataError: it is no safetensors file, or does not fit: names, shapes, types, or a value
            that is not finite.
    """
    name = os.fspath(path)
    return _checked(_entries(name), graph, f"`{name}`")


def read_tensors(path: str | os.PathLike[str]) -> dict[str, Array]:
    """Read every tensor of a safetensors file, whatever network it belongs to.

    Returns:
        By name; float16, float32 and float64 as stored, bfloat16 as float32.

    Raises:
        SetupError: there is no such file, or it cannot be read.
        DataError: it is no safetensors file, or a tensor is not of floating-point numbers.
    """
    name = os.fspath(path)
    entries = _entries(name)
    faults = _few(
        Diagnostic("weight-dtype", f"`{name}`: `{key}` has type {entry.dtype.lower()}")
        for key, entry in entries.items()
        if entry.dtype not in DTYPES and key.rpartition(".")[2] != IGNORED
    )
    if faults:
        raise DataError(faults)
    return {key: entry.read() for key, entry in entries.items() if entry.dtype in DTYPES}


def fit(
    weights: Mapping[str, Array], graph: Graph, *, what: str = "the weights"
) -> dict[str, Array]:
    """Check weights that are in memory already, as `read_weights` does.

    Args:
        weights: by canonical name, of any floating type.
        graph: the network they must fit.
        what: what messages call them.

    Raises:
        DataError: they do not fit.
    """
    entries = {}
    for name, value in weights.items():
        array = np.asarray(value)
        entries[name] = _Entry(_code(array.dtype), array.shape, partial(_same, array))
    return _checked(entries, graph, what)


def write_weights(
    path: str | os.PathLike[str], weights: Mapping[str, Array], *, force: bool = False
) -> None:
    """Write a safetensors file, whole or not at all.

    Args:
        path: the file.
        weights: by canonical name, in canonical layout; float16, float32 or float64.
        force: whether an existing file may be replaced.

    Raises:
        SetupError: the file exists and `force` is not given, or the system refuses.
    """
    files.refuse_existing(path, force=force)
    files.write_bytes(path, weights_bytes(weights), force=force)


def weights_bytes(weights: Mapping[str, Array]) -> bytes:
    """What `write_weights` writes: the same bytes for the same weights."""
    from safetensors.numpy import save

    arrays = {name: np.ascontiguousarray(value) for name, value in weights.items()}
    for name, array in arrays.items():
        if _code(array.dtype) not in DTYPES:
            raise TypeError(f"{name} is {array.dtype}, and weights are floating-point numbers")
    data: bytes = save(arrays)
    return data


# --- reading ---------------------------------------------------------------------------------


def _same(array: Array) -> Array:
    return array


def _entries(name: str) -> dict[str, _Entry]:
    from safetensors import SafetensorError, safe_open

    try:
        # Opened here first: the library's own error for a file without read right has no type.
        with open(name, "rb") as stream:
            first = stream.read(8)
        size = os.path.getsize(name)
        with safe_open(name, framework="numpy") as opened:
            found = {}
            for key in opened.keys():  # noqa: SIM118 - it is no mapping
                part = opened.get_slice(key)
                found[key] = (str(part.get_dtype()), tuple(part.get_shape()))
            # The library has found the header well-formed and the offsets within the file.
            (length,) = struct.unpack("<Q", first)
    except SafetensorError as error:
        fault = str(error).removeprefix("Error while deserializing header: ")
        raise DataError(
            Diagnostic(
                "weights-format",
                f"`{name}` is not a safetensors file, or only a part of one: {fault}",
                help="`save_weights` of a compiled file and `cnnspec init-weights` write such ones",
            )
        ) from None
    except (OSError, ValueError) as error:
        raise files.unreadable(name, error) from None
    memory.require(size, f"reading `{name}`")
    header = json.loads(_bytes(name, 8, length))
    return {
        key: _Entry(dtype, shape, _reader(name, 8 + length, header[key], dtype, shape))
        for key, (dtype, shape) in found.items()
    }


def _reader(name: str, base: int, header: Mapping[str, Any], dtype: str, shape: Shape) -> Reader:
    start, end = header["data_offsets"]

    def read() -> Array:
        data = _bytes(name, base + start, end - start)
        if dtype == "BF16":  # NumPy has no such type; it is the upper half of a float32
            wide = np.frombuffer(data, "<u2").astype(np.uint32) << np.uint32(16)
            return wide.view(np.float32).reshape(shape)
        kind = {"F64": np.float64, "F32": np.float32, "F16": np.float16}[dtype]
        little = np.frombuffer(data, np.dtype(kind).newbyteorder("<"))
        return little.astype(kind).reshape(shape)

    return read


def _bytes(name: str, start: int, count: int) -> bytes:
    try:
        with open(name, "rb") as stream:
            stream.seek(start)
            return stream.read(count)
    except OSError as error:
        raise files.unreadable(name, error) from None


def _code(dtype: np.dtype[Any]) -> str:
    codes = {"float64": "F64", "float32": "F32", "float16": "F16", "bfloat16": "BF16"}
    return codes.get(dtype.name, dtype.name)


# --- checking --------------------------------------------------------------------------------


def _checked(entries: Mapping[str, _Entry], graph: Graph, what: str) -> dict[str, Array]:
    params = graph.params()
    missing = [name for name in params if name not in entries]
    extra = [name for name in entries if name not in params and name.rpartition(".")[2] != IGNORED]
    faults = [
        *_unexpected(extra, params, missing, what),
        *_missing(missing, what),
        *_few(
            fault
            for name, param in params.items()
            if name in entries
            for fault in _form(name, entries[name], param, graph, what)
        ),
    ]
    if faults:
        raise DataError(faults)
    weights = {name: entries[name].read() for name in params}
    faults = _few(
        fault for name, array in weights.items() for fault in _not_finite(name, array, what)
    )
    if faults:
        raise DataError(faults)
    return weights


def _unexpected(
    extra: Sequence[str], params: Mapping[str, Param], missing: Sequence[str], what: str
) -> list[Diagnostic]:
    found = []
    for name in extra[:MOST_REPORTED]:
        # Most likely a name that was meant for one that is missing; comparing all is quadratic.
        guess = closest(name, missing) or closest(name, params)
        found.append(
            Diagnostic(
                "weight-unexpected",
                f"{what}: the network has no parameter `{name}`",
                help=f"did you mean `{guess}`?" if guess else "",
            )
        )
    return _with_count(found, len(extra))


def _missing(missing: Sequence[str], what: str) -> list[Diagnostic]:
    found = [
        Diagnostic("weight-missing", f"{what}: there is no `{name}`, which the network needs")
        for name in missing[:MOST_REPORTED]
    ]
    return _with_count(found, len(missing))


def _form(name: str, entry: _Entry, param: Param, graph: Graph, what: str) -> Iterable[Diagnostic]:
    if entry.shape != param.shape:
        yield Diagnostic(
            "weight-shape",
            f"{what}: `{name}` has shape {_shape(entry.shape)}, "
            f"and the network needs {_shape(param.shape)}",
            secondary=_where(graph, name),
        )
    if entry.dtype not in DTYPES:
        yield Diagnostic(
            "weight-dtype",
            f"{what}: `{name}` has type {entry.dtype.lower()}",
            help="weights are float64, float32, float16 or bfloat16",
        )


def _not_finite(name: str, array: Array, what: str) -> Iterable[Diagnostic]:
    bad = ~np.isfinite(array)
    count = int(np.count_nonzero(bad))
    if count:
        index = tuple(int(i) for i in np.unravel_index(int(np.argmax(bad)), array.shape))
        yield Diagnostic(
            "weight-not-finite",
            f"{what}: `{name}` is {array[index]} at index {_shape(index)}",
            notes=(f"{count:,} of its {array.size:,} values are not finite",),
        )


def _where(graph: Graph, name: str) -> tuple[Label, ...]:
    origin = graph.node(graph.owners()[name]).origin
    return () if origin is None else (Label(origin.span, "the layer"),)


def _few(faults: Iterable[Diagnostic]) -> list[Diagnostic]:
    found = list(faults)
    return _with_count(found[:MOST_REPORTED], len(found))


def _with_count(shown: list[Diagnostic], count: int) -> list[Diagnostic]:
    """The faults shown, the last of them with a note on those that are not."""
    if count > len(shown):
        last = shown[-1]
        note = f"and {count - len(shown):,} more of this kind"
        shown[-1] = replace(last, notes=(*last.notes, note))
    return shown


def _shape(numbers: Sequence[int]) -> str:
    return "[" + ", ".join(str(n) for n in numbers) + "]"
