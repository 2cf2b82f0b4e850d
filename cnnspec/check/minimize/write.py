"""A minimal case as a directory: the spec, its numbers, what was found, scripts that show it."""

from __future__ import annotations

import contextlib
import importlib.metadata
import io
import os
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from cnnspec.diagnostics import Diagnostic, SetupError
from cnnspec.files import make_directory, reason, write_bytes, write_text
from cnnspec.version import __version__
from cnnspec.weights import write_weights

Array = npt.NDArray[Any]

SPEC, WEIGHTS, INPUTS, README = "spec.yaml", "weights.safetensors", "inputs.npz", "README.md"
OTHERS = ("cotangents.npz", "targets.npz")
SOURCE, SCRIPT = "source_", "reproduce_"
PACKAGES = ("numpy", "torch", "keras", "tensorflow", "jax")


def refuse_directory(folder: Path, *, force: bool) -> None:
    """Ask, before long work, whether a case could be written there.

    Raises:
        SetupError: it is a file; or it has anything in it and `force` is not given; or it has
            anything but an earlier case in it.
    """
    if folder.exists() and not folder.is_dir():
        raise SetupError(
            Diagnostic("not-a-directory", f"`{folder}` is a file, and a directory is needed")
        )
    entries = sorted(entry.name for entry in folder.iterdir()) if folder.is_dir() else []
    foreign = [name for name in entries if not _is_ours(name)]
    if foreign:
        raise SetupError(
            Diagnostic(
                "directory-not-empty",
                f"`{folder}` has other files in it, such as `{foreign[0]}`",
                help="name a directory that is empty or does not exist",
            )
        )
    if entries and not force:
        raise SetupError(
            Diagnostic(
                "directory-not-empty",
                f"`{folder}` holds an earlier case",
                help="`--force` (in Python `force=True`) replaces it",
            )
        )


def _is_ours(name: str) -> bool:
    known = (SPEC, WEIGHTS, INPUTS, README, *OTHERS)
    return name in known or (name.startswith((SOURCE, SCRIPT)) and name.endswith(".py"))


@contextmanager
def replacing(folder: Path, *, force: bool) -> Iterator[Path]:
    """A new directory beside this one, which takes its place when all is written.

    Raises:
        SetupError: the system refuses, or it has become one that may not be replaced.
    """
    target = Path(os.path.realpath(folder))
    make_directory(target.parent)
    fresh = target.parent / f".cnnspec-{os.urandom(8).hex()}.tmp"
    make_directory(fresh)
    try:
        yield fresh
        refuse_directory(target, force=force)
        try:
            if target.is_dir():
                for entry in target.iterdir():
                    entry.unlink()
            os.replace(fresh, target)
        except OSError as error:
            raise SetupError(
                Diagnostic("file-unwritable", f"`{folder}` cannot be written: {reason(error)}")
            ) from None
    finally:
        with contextlib.suppress(OSError):
            shutil.rmtree(fresh)


def write_arrays(path: Path, arrays: Mapping[str, Array]) -> None:
    """Write an .npz file."""
    buffer = io.BytesIO()
    np.savez(buffer, **dict(arrays))  # type: ignore[arg-type] # its own options are no arrays
    write_bytes(path, buffer.getvalue())


def write_numbers(
    folder: Path,
    weights: Mapping[str, Array],
    inputs: Mapping[str, Array],
    others: Mapping[str, Mapping[str, Array]],
) -> None:
    """Write weights, inputs, and cotangents or targets where there are any."""
    write_weights(folder / WEIGHTS, dict(weights))
    write_arrays(folder / INPUTS, inputs)
    for name, arrays in others.items():
        if arrays:
            write_arrays(folder / f"{name}.npz", arrays)


def write_readme(folder: Path, lines: list[str]) -> None:
    """Write what was found, and by which versions."""
    write_text(folder / README, "\n".join([*lines, "", "Versions: " + versions(), ""]))


def versions(installed: Callable[[str], str] = importlib.metadata.version) -> str:
    """This package, the frameworks that are installed, and Python."""
    found = [f"cnnspec {__version__}"]
    for name in PACKAGES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found.append(f"{name} {installed(name)}")
    found.append("Python " + ".".join(str(n) for n in sys.version_info[:3]))
    return ", ".join(found)
