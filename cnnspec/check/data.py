"""Inputs that a user gives to a check, and results that it writes for him."""

from __future__ import annotations

import io
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from cnnspec.diagnostics import DataError, Diagnostic, SetupError
from cnnspec.files import write_bytes
from cnnspec.graph import Graph
from cnnspec.ops.base import show
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
    faults = []
    count: int | None = None
    for entry in graph.inputs:
        array = arrays.get(entry.name)
        if array is None:
            names = ", ".join(f"`{name}`" for name in arrays) or "nothing"
            faults.append(
                Diagnostic("bad-inputs", f"`{path}` has no `{entry.name}`", help=f"it has {names}")
            )
        elif array.dtype.kind not in "fiu":
            faults.append(
                Diagnostic("bad-inputs", f"`{entry.name}` in `{path}` has dtype {array.dtype}")
            )
        elif array.ndim < 1 or array.shape[1:] != entry.shape:
            faults.append(
                Diagnostic(
                    "bad-inputs",
                    f"`{entry.name}` in `{path}` has shape {show(array.shape)}, "
                    f"and the network needs Nx{show(entry.shape)}",
                )
            )
        elif not np.all(np.isfinite(array)):
            faults.append(
                Diagnostic(
                    "not-finite", f"`{entry.name}` in `{path}` has values that are not finite"
                )
            )
        elif len(array) < 2:
            faults.append(
                Diagnostic("bad-inputs", f"`{entry.name}` in `{path}` has fewer than 2 samples")
            )
        elif count is not None and len(array) != count:
            faults.append(
                Diagnostic("bad-inputs", f"the inputs in `{path}` have different batch sizes")
            )
        else:
            count = len(array)
    unknown = sorted(set(arrays) - {entry.name for entry in graph.inputs})
    faults += [
        Diagnostic("bad-inputs", f"the network has no input `{name}`, which `{path}` has")
        for name in unknown
    ]
    if faults:
        raise DataError(faults)
    return {entry.name: arrays[entry.name].astype(np.float64) for entry in graph.inputs}


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
