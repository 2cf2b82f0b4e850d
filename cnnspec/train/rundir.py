"""The directory that a run leaves behind."""

from __future__ import annotations

import contextlib
import csv
import datetime
import io
import json
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cnnspec import files
from cnnspec.backends.base import Emitted
from cnnspec.data.dataset import Array
from cnnspec.diagnostics import Diagnostic, SetupError
from cnnspec.expand import expand
from cnnspec.graph import Graph
from cnnspec.train import curves
from cnnspec.train.events import Events
from cnnspec.train.lock import LOCK, Lock
from cnnspec.train.metrics import Epoch, columns, per_class
from cnnspec.train.store import Checkpoints
from cnnspec.weights import write_weights

__all__ = ["METRICS", "WEIGHTS", "RunDirectory", "refuse_used", "source_name"]

METRICS = "metrics.csv"
WEIGHTS = "weights.safetensors"
BEST = "best.safetensors"
RUN = "run.json"
DATA = "data.json"
LOG = "log.txt"
EXPANDED = "expanded.yaml"
CONFUSION = "confusion.json"
PAGE, PICTURE = "curves.html", "curves.png"
CHECKPOINTS, EVENTS = "checkpoints", "events"

LEFT_OVER = re.compile(r"\.cnnspec-[0-9a-f]{16}\.tmp")
"""What a process that was killed while it wrote a file leaves beside it."""


def source_name(graph: Graph, backend: str) -> str:
    """The name of the emitted source."""
    return f"{graph.name}_{backend}.py"


def refuse_used(path: str | os.PathLike[str], *, force: bool = False, resume: bool = False) -> None:
    """Ask, before long work, whether a run may write here.

    Args:
        path: of the directory.
        force: whether one that is not empty may be used.
        resume: whether one that a run has written may be used.

    Raises:
        SetupError: it may not, or it is a file.
    """
    name = os.fspath(path)
    try:
        used = {entry for entry in os.listdir(name) if not LEFT_OVER.fullmatch(entry)} - {LOCK}
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
    if not used or force:
        return
    if RUN not in used and resume:
        raise SetupError(
            Diagnostic(
                "not-a-run", f"the directory `{name}` is not empty, and no run has written to it"
            )
        )
    if not resume:
        raise SetupError(
            Diagnostic(
                "directory-in-use",
                f"the directory `{name}` is not empty",
                help="`--resume` goes on with the run in it, and `--force` (in Python "
                "`resume=True`, `force=True`) replaces it",
            )
        )


class RunDirectory:
    """Checkpoints, weights, metrics, the emitted source, the spec, and what the run was told.

    Every file is whole at any time. Weights and metrics are those of the last complete epoch; they
    are made of a checkpoint, so that what a killed run has not come to write is written when it
    is resumed.

    Args:
        path: of the directory.
        force: whether the run in it may be replaced.
        resume: whether to go on with the run in it.

    Raises:
        SetupError: it may not be used; see `refuse_used`.
    """

    def __init__(
        self, path: str | os.PathLike[str], *, force: bool = False, resume: bool = False
    ) -> None:
        refuse_used(path, force=force, resume=resume)
        self.path = Path(path)
        self.force, self.resume = force, resume
        self.checkpoints = Checkpoints(self.path / CHECKPOINTS)
        self._lock: Lock | None = None
        self._events: Events | None = None
        self._title = ""
        self._columns: tuple[str, ...] = ()
        self._classes: tuple[str, ...] = ()

    def open(self) -> None:
        """Make the directory, and keep other runs out of it.

        Raises:
            SetupError: another run is writing to it, or the system refuses.
        """
        files.make_directory(self.path)
        self._lock = Lock(self.path)
        # Another run may have begun and ended since it was looked at.
        refuse_used(self.path, force=self.force, resume=self.resume)
        for folder in (self.path, self.path / CHECKPOINTS):
            with contextlib.suppress(FileNotFoundError):
                for name in os.listdir(folder):
                    if LEFT_OVER.fullmatch(name):
                        files.remove(folder / name)

    def clear(self) -> None:
        """Remove what another run has left, so that nothing of it is taken for this one's.

        Raises:
            SetupError: the system refuses.
        """
        self.checkpoints.clear()
        for name in (WEIGHTS, BEST, METRICS, CONFUSION, PAGE, PICTURE, LOG):
            files.remove(self.path / name)
        for old in self.path.glob("confusion*.csv"):
            files.remove(old)

    def describe(
        self,
        graph: Graph,
        emitted: Emitted,
        options: Mapping[str, object],
        data: Mapping[str, object],
        classes: tuple[str, ...],
    ) -> None:
        """Write everything that is known before the first update.

        Args:
            graph: with its seed and epochs as they are used.
            emitted: the text that is executed.
            options: for run.json.
            data: for data.json.
            classes: what labels stand for.

        Raises:
            SetupError: the system refuses.
        """
        self._title = f"{graph.name}, {emitted.backend}"
        self._columns = columns(emitted.present(training=False))
        self._classes = classes
        # The first, because it marks the directory as a run's.
        self._write(RUN, _json(options))
        self._write(source_name(graph, emitted.backend), emitted.text)
        origin = graph.inputs[0].origin
        if origin is not None:
            source = origin.span.source
            self._write("spec.json" if source.name.endswith(".json") else "spec.yaml", source.text)
        self._write(EXPANDED, expand(graph))
        self._write(DATA, _json(data))

    def begin(self, history: Sequence[Epoch]) -> None:
        """Write the metrics so far, which may be those of a run that is resumed.

        Raises:
            SetupError: the system refuses.
        """
        self._metrics(history)
        try:
            self._events = Events(self.path / EVENTS, tuple(history))
        except ImportError as fault:
            self.log(f"no event files for TensorBoard: {fault}; pip install 'cnnspec[log]'")

    def epoch(
        self,
        history: Sequence[Epoch],
        weights: Mapping[str, Array],
        confusion: Mapping[str, Array],
        *,
        best: bool,
        new: bool = True,
    ) -> None:
        """Keep what an epoch has come to.

        Args:
            history: of all epochs; the last one is the one.
            weights: after it.
            confusion: by output.
            best: whether it is the best so far.
            new: whether it has ended now, and was not read from a checkpoint.

        Raises:
            SetupError: the system refuses.
        """
        self.weights(weights)
        if best:
            write_weights(self.path / BEST, weights, force=True)
        self._metrics(history)
        self._confusion(history[-1].epoch, confusion)
        if self._events is not None and new:
            self._events.add(history[-1])

    def weights(self, weights: Mapping[str, Array]) -> None:
        """Write the weights, in the place of those before."""
        write_weights(self.path / WEIGHTS, weights, force=True)

    def draw(self, history: Sequence[Epoch]) -> None:
        """The picture of the curves, which takes too long to be drawn after every epoch.

        Raises:
            SetupError: the system refuses.
        """
        if not history:
            return
        try:
            drawn = curves.picture(self._title, history)
        except ImportError as fault:
            self.log(f"no {PICTURE}: {fault}; pip install 'cnnspec[log]'")
            return
        files.write_bytes(self.path / PICTURE, drawn, force=True)

    def log(self, text: str) -> None:
        """Add a line to the log, with the time.

        Raises:
            SetupError: the system refuses.
        """
        now = datetime.datetime.now().astimezone().isoformat(timespec="seconds")
        try:
            with open(self.path / LOG, "a", encoding="utf-8") as stream:
                stream.write(f"{now} {text}\n")
        except OSError as error:
            raise files.unwritable(str(self.path / LOG), error) from None

    def close(self) -> None:
        """Let others use the directory."""
        if self._events is not None:
            self._events.close()
        if self._lock is not None:
            self._lock.release()

    def _metrics(self, history: Sequence[Epoch]) -> None:
        lines = [",".join(self._columns), *(epoch.row() for epoch in history)]
        self._write(METRICS, "\n".join(lines) + "\n")
        self._write(PAGE, curves.page(self._title, history))

    def _confusion(self, epoch: int, confusion: Mapping[str, Array]) -> None:
        if not confusion:
            return
        outputs: dict[str, Any] = {}
        for position, (name, matrix) in enumerate(confusion.items()):
            named = self._classes if len(self._classes) == len(matrix) else ()
            classes = list(named) or [str(number) for number in range(len(matrix))]
            rows = [["label", *classes]]
            rows += [[c, *map(str, row)] for c, row in zip(classes, matrix.tolist(), strict=True)]
            file = f"confusion-{name}.csv" if position else "confusion.csv"
            self._write(file, _csv(rows))
            outputs[name] = {"classes": classes, "matrix": matrix.tolist(), **per_class(matrix)}
        self._write(CONFUSION, _json({"epoch": epoch, "outputs": outputs}, indent=None))

    def _write(self, name: str, text: str) -> None:
        files.write_text(self.path / name, text, force=True)


def _csv(rows: Sequence[Sequence[str]]) -> str:
    stream = io.StringIO()
    csv.writer(stream, lineterminator="\n").writerows(rows)
    return stream.getvalue()


def _json(value: object, indent: int | None = 2) -> str:
    return json.dumps(value, indent=indent, default=_listed) + "\n"


def _listed(value: Any) -> Any:
    """Arrays and NumPy's numbers as JSON has them."""
    return value.tolist() if hasattr(value, "tolist") else str(value)
