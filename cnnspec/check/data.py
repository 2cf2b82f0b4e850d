"""Inputs that a user gives to a check, and results that it writes for him."""

from __future__ import annotations

import io
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from cnnspec.diagnostics import DataError, Diagnostic, SetupError, did_you_mean
from cnnspec.files import write_bytes
from cnnspec.graph import Graph
from cnnspec.ops.base import Shape, show
from cnnspec.weights import write_weights

Array = npt.NDArray[Any]


def read_inputs(path: str, graph: Graph) -> dict[str, Array]:
    """Inputs by name from an .npz file: N, C, then space.

    Raises:
        SetupError: the file cannot be read.
        DataError: it is no .npz, a name or a shape is wrong, or a value is not finite.
    """
    if not os.path.exists(path):
        raise SetupError(Diagnostic("file-not-found", f"there is no file `{path}`"))
    try:
        with open(path, "rb") as stream, np.load(stream, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
    except OSError as fault:
        raise SetupError(
            Diagnostic("file-unreadable", f"`{path}` cannot be read: {fault}")
        ) from None
    except Exception as fault:  # a broken archive raises whatever its parts raise
        raise DataError(Diagnostic("bad-inputs", f"`{path}` is no .npz file: {fault}")) from None
    return fit_inputs(arrays, graph, what=f"`{path}`")


def fit_inputs(
    arrays: Mapping[str, Array], graph: Graph, *, what: str = "the inputs"
) -> dict[str, Array]:
    """Check inputs that are in memory already, as `read_inputs` does.

    Args:
        arrays: by name, N, C, then space, of any real type.
        graph: the network they must fit.
        what: what messages call them.

    Returns:
        The same in float64.

    Raises:
        DataError: they do not fit, or a value is not finite.
    """
    faults = []
    sizes: dict[str, int] = {}
    for entry in graph.inputs:
        name = entry.name
        if name not in arrays:
            names = ", ".join(f"`{each}`" for each in arrays) or "nothing"
            faults.append(
                Diagnostic("bad-inputs", f"{what}: there is no `{name}`", help=f"there is {names}")
            )
            continue
        array = np.asarray(arrays[name])
        fault = _unfit(array, entry.shape)
        if fault:
            faults.append(Diagnostic("bad-inputs", f"{what}: `{name}` {fault}"))
            continue
        sizes[name] = len(array)
        bad = ~np.isfinite(array.astype(np.float64))
        if bad.any():
            index = tuple(int(i) for i in np.unravel_index(int(np.argmax(bad)), array.shape))
            place, count = ", ".join(map(str, index)), int(np.count_nonzero(bad))
            faults.append(
                Diagnostic(
                    "not-finite",
                    f"{what}: `{name}` is {array[index]} at index [{place}]",
                    notes=(f"{count:,} of its {array.size:,} values are not finite",),
                )
            )
    if len(set(sizes.values())) > 1:
        found = ", ".join(f"{size} of `{name}`" for name, size in sizes.items())
        faults.append(Diagnostic("bad-inputs", f"{what}: batch sizes differ: {found}"))
    known = {entry.name for entry in graph.inputs}
    faults += [
        Diagnostic(
            "bad-inputs",
            f"{what}: the network has no input `{name}`",
            help=did_you_mean(name, sorted(known)),
        )
        for name in arrays
        if name not in known
    ]
    if faults:
        raise DataError(faults)
    return {name: np.asarray(arrays[name], np.float64) for name in sizes}


def _unfit(array: Array, shape: Shape) -> str:
    """What keeps an array from being a batch of this shape; empty if nothing does."""
    if array.dtype.kind not in "fiu":
        return f"has dtype {array.dtype}"
    if array.ndim < 1 or array.shape[1:] != shape:
        return f"has shape {show(array.shape)}, and the network needs Nx{show(shape)}"
    return "has fewer than 2 samples" if len(array) < 2 else ""


def write_results(folder: Path, saved: Mapping[str, Mapping[str, Array]], *, force: bool) -> None:
    """Write weights.safetensors, inputs.npz and outputs.npz.

    Raises:
        SetupError: one is there already, or cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    write_weights(folder / "weights.safetensors", dict(saved["weights"]), force=force)
    for name in ("inputs", "outputs"):
        buffer = io.BytesIO()
        np.savez(buffer, **dict(saved[name]))  # type: ignore[arg-type] # its own options are no arrays
        write_bytes(folder / f"{name}.npz", buffer.getvalue(), force=force)
