"""A live model with the weights of a file or of a run."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from cnnspec import backends, memory
from cnnspec.backends.base import Backend, Dtype, Session, Style
from cnnspec.data.dataset import Array
from cnnspec.diagnostics import Diagnostic, SetupError
from cnnspec.graph import Graph
from cnnspec.train.rundir import BEST, WEIGHTS
from cnnspec.weights import read_weights

__all__ = ["opened", "trained_weights", "weights_file"]


def weights_file(path: str, *, best: bool = False) -> str:
    """The weights file that a path means: itself, or of a run directory the one in it.

    Args:
        path: a file or a run directory.
        best: of a run directory the weights of the best epoch, and not of the last.

    Raises:
        SetupError: the directory has no such file, or `best` is asked of a file.
    """
    if not os.path.isdir(path):
        if best:
            raise SetupError(
                Diagnostic("not-a-directory", f"`{path}` is no run directory, which `--best` needs")
            )
        return path
    found = os.path.join(path, BEST if best else WEIGHTS)
    if not os.path.isfile(found):
        what = "best" if best else "last"
        raise SetupError(
            Diagnostic(
                "file-not-found", f"there is no file `{found}`, the weights of the {what} epoch"
            )
        )
    return found


def trained_weights(path: str, graph: Graph, *, best: bool = False) -> dict[str, Array]:
    """The weights of a file or run directory, found to fit; see `read_weights`."""
    return read_weights(weights_file(path, best=best), graph)


@contextmanager
def opened(
    graph: Graph,
    backend: str | Backend,
    weights: Mapping[str, Array],
    *,
    dtype: Dtype = "float64",
    device: str = "cpu",
    batch: int = 1,
) -> Iterator[Session]:
    """A session over the text that `check` and `train` run, with these weights.

    Args:
        graph: the network.
        backend: by name, or one made by hand.
        weights: by canonical name.
        dtype: of all arithmetic.
        device: as the framework calls it.
        batch: samples at a time, for the question whether there is memory for them.
    """
    chosen = backends.get(backend) if isinstance(backend, str) else backend
    size = 8 if dtype == "float64" else 4
    needed = memory.weights_bytes(graph, size) + memory.activation_bytes(graph, batch, size) // 2
    memory.require(needed, f"a pass through `{graph.name}`")
    emitted = chosen.emit(graph, Style(random="counter"))
    session = chosen.open(emitted, dtype=dtype, device=device, drawn=False)
    try:
        session.assign(weights)
        yield session
    finally:
        session.close()
