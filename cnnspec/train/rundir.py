"""The directory that a run leaves behind."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Mapping
from pathlib import Path

from cnnspec import files
from cnnspec.backends.base import Emitted
from cnnspec.data.dataset import Array
from cnnspec.diagnostics import Diagnostic, SetupError
from cnnspec.graph import Graph
from cnnspec.train.metrics import HEADER, Epoch
from cnnspec.version import __version__
from cnnspec.weights import write_weights

__all__ = ["METRICS", "WEIGHTS", "RunDirectory", "refuse_used", "source_name"]

METRICS = "metrics.csv"
WEIGHTS = "weights.safetensors"
RUN = "run.json"


def source_name(graph: Graph, backend: str) -> str:
    """The name of the emitted source."""
    return f"{graph.name}_{backend}.py"


def refuse_used(path: str | os.PathLike[str], *, force: bool) -> None:
    """Ask, before long work, whether a run may write here.

    Raises:
        SetupError: there is something in the directory and `force` is not given, or it is a file.
    """
    name = os.fspath(path)
    try:
        used = bool(os.listdir(name))
    except FileNotFoundError:
        return
    except NotADirectoryError:
        raise SetupError(
            Diagnostic("not-a-directory", f"`{name}` is a file, and a directory is needed")
        ) from None
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        raise SetupError(
            Diagnostic("file-unreadable", f"`{name}` cannot be read: {files.reason(error)}")
        ) from None
    if used and not force:
        raise SetupError(
            Diagnostic(
                "directory-in-use",
                f"the directory `{name}` is not empty",
                help="`--force` (in Python `force=True`) replaces the run in it",
            )
        )


class RunDirectory:
    """Weights, metrics, the emitted source, the spec, and what the run was told.

    Every file is whole at any time; weights and metrics are those of the last complete epoch.
    """

    def __init__(self, path: str | os.PathLike[str], *, force: bool = False) -> None:
        refuse_used(path, force=force)
        self.path = Path(path)

    def begin(self, graph: Graph, emitted: Emitted, options: Mapping[str, object]) -> None:
        """Make the directory and write everything that is known before the first update.

        Raises:
            SetupError: the system refuses.
        """
        files.make_directory(self.path)
        # Weights of a run before this one must not be taken for those of this one's metrics.
        try:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self.path / WEIGHTS)
        except OSError as error:
            raise self._refused(WEIGHTS, error) from None
        self._write(source_name(graph, emitted.backend), emitted.text)
        origin = graph.inputs[0].origin
        if origin is not None:
            source = origin.span.source
            self._write("spec.json" if source.name.endswith(".json") else "spec.yaml", source.text)
        self._write(RUN, json.dumps({"cnnspec": __version__, **options}, indent=2) + "\n")
        self._write(METRICS, HEADER + "\n")

    def epoch(self, epoch: Epoch, weights: Mapping[str, Array]) -> None:
        """Keep what an epoch has come to.

        Raises:
            SetupError: the system refuses; the epochs before stay.
        """
        self.weights(weights)
        try:
            with open(self.path / METRICS, "a", encoding="ascii", newline="") as stream:
                stream.write(epoch.row() + "\n")
        except OSError as error:
            raise self._refused(METRICS, error) from None

    def weights(self, weights: Mapping[str, Array]) -> None:
        """Write the weights, in the place of those before."""
        write_weights(self.path / WEIGHTS, weights, force=True)

    def _write(self, name: str, text: str) -> None:
        files.write_text(self.path / name, text, force=True)

    def _refused(self, name: str, error: OSError) -> SetupError:
        return SetupError(
            Diagnostic(
                "file-unwritable",
                f"`{self.path / name}` cannot be written: {files.reason(error)}",
            )
        )
