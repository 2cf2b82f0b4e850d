"""What makes two runs the same run, so that one can go on where the other one ended."""

from __future__ import annotations

import dataclasses
import difflib
import hashlib
import platform
import sys
from collections.abc import Collection, Mapping
from importlib import import_module, metadata
from typing import Any

import numpy as np

from cnnspec.backends.base import Dtype, Emitted
from cnnspec.data import Dataset
from cnnspec.data.dataset import Array
from cnnspec.diagnostics import DataError, Diagnostic
from cnnspec.expand import expand
from cnnspec.graph import Graph
from cnnspec.version import __version__

__all__ = ["differences", "fingerprint", "identity", "require_same", "surroundings"]

SPEC = "spec"
SOURCE = "compiled source"
SEEN = 16
"""Samples of the training set that its fingerprint is made of."""
MOST_LINES = 6
"""Lines of a spec's difference that are shown."""


def identity(
    graph: Graph,
    backend: str,
    emitted: Emitted,
    data: Dataset,
    *,
    dtype: Dtype,
    more: Mapping[str, str] | None = None,
) -> dict[str, str]:
    """Everything that the weights of a run depend on, in words; what differs is another run.

    The number of epochs is not part of it: a run may be resumed for more of them.

    Args:
        graph: with the seed that the run has.
        backend: the name of what trains it, with the engine's.
        emitted: the text that is executed.
        data: under the network's names.
        dtype: of all arithmetic.
        more: options of the engine that change the arithmetic.
    """
    assert graph.training is not None
    training = dataclasses.replace(graph.training, epochs=1)
    spec = expand(dataclasses.replace(graph, training=training, seed=0))
    return {
        SPEC: spec,
        "seed": str(graph.seed),
        "back end": backend,
        "dtype": dtype,
        "data": f"{data.name}, {len(data.train)} samples to train on, fingerprint {_seen(data)}",
        "version of cnnspec": __version__,
        **(more or {}),
        SOURCE: _digest(emitted.text.encode()),
    }


def surroundings(imports: Collection[str]) -> dict[str, str]:
    """Versions and machine; where they differ, a resumed run may differ in its last digits.

    Args:
        imports: modules that the emitted text may import.
    """
    found = {"python": platform.python_version()}
    names = {"numpy", *(name.partition(".")[0] for name in imports)}
    if "keras" in names:
        names.add(import_module("keras").backend.backend())
    for name in sorted(names):
        version = _version(name)
        if version is not None:
            found[name] = version
    return {**found, "platform": platform.platform(), "processor": platform.machine()}


def differences(before: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    """What differs, each in words."""
    found = []
    for name in (*now, *(name for name in before if name not in now)):
        old, new = before.get(name), now.get(name)
        if old == new:
            continue
        if name == SPEC:
            found.append("the spec differs")
        elif name == SOURCE:
            found.append("the compiled source differs")
        else:
            found.append(f"the {name} was {_word(old)} and is {_word(new)}")
    if len(found) > 1 and found[-1] == "the compiled source differs":
        found.pop()  # which follows from what was named before it
    return found


def require_same(before: Mapping[str, str], now: Mapping[str, str], *, where: str) -> None:
    """Refuse to resume a run that is another one.

    Args:
        before: the identity that a checkpoint has.
        now: the identity of what was asked for.
        where: name of the checkpoint.

    Raises:
        DataError: they differ; it says in what.
    """
    found = differences(before, now)
    if found:
        raise DataError(
            Diagnostic(
                "checkpoint-differs",
                f"`{where}` is of another run: {found[0]}",
                notes=(*found[1:], *_lines(before.get(SPEC, ""), now.get(SPEC, ""))),
                help="resume with the spec and the options of that run, or begin a new one in "
                "another directory",
            )
        )


def _version(name: str) -> str | None:
    """Of a package that is loaded or installed, whichever way it came here; None of a module."""
    version = getattr(sys.modules.get(name), "__version__", None)
    if isinstance(version, str):
        return version
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _lines(before: str, now: str) -> list[str]:
    """The first lines that differ, as in a unified diff."""
    lines = difflib.unified_diff(before.splitlines(), now.splitlines(), n=0, lineterm="")
    shown = [line for line in lines if not line.startswith(("---", "+++", "@@"))]
    more = len(shown) - MOST_LINES
    return [
        *(
            f"{'was' if line[0] == '-' else 'is'}: {line[1:].strip()}"
            for line in shown[:MOST_LINES]
        ),
        *([f"and {more} more lines of the expanded spec"] if more > 0 else []),
    ]


def _word(value: str | None) -> str:
    return "not given" if value is None else f"`{value}`"


def _seen(data: Dataset) -> str:
    """A fingerprint of some samples, which tells other data of the same name and size."""
    count = len(data.train)
    index = np.unique(np.linspace(0, count - 1, min(SEEN, count)).astype(np.int64))
    inputs, targets = data.train.take(index)
    return fingerprint({**inputs, **targets})


def fingerprint(arrays: Mapping[str, Array]) -> str:
    """Of names, types, shapes and bytes."""
    digest = hashlib.blake2b(digest_size=8)
    for name, array in sorted(arrays.items()):
        whole: np.ndarray[Any, Any] = np.ascontiguousarray(array)
        digest.update(f"{name} {whole.dtype.str} {whole.shape}".encode())
        digest.update(whole.data)
    return digest.hexdigest()


def _digest(data: bytes) -> str:
    return hashlib.blake2b(data, digest_size=16).hexdigest()
