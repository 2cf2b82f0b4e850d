"""What a training run tells while it goes on."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from cnnspec.train.metrics import Epoch

if TYPE_CHECKING:
    from rich.progress import Progress as RichProgress

__all__ = ["Lines", "Progress", "Remarks", "Terminal", "line"]


class Progress:
    """Is told about a run; this one says nothing."""

    def begin(self, epoch: int, epochs: int, batches: int, done: int) -> None:
        """An epoch begins; `epoch` counts from 1, and `done` of its batches were done before."""

    def remark(self, text: str) -> None:
        """Something out of the ordinary, such as that a run was resumed."""

    def advance(self, loss: float) -> None:
        """A batch is done; `loss` is the one before its update."""

    def end(self, epoch: Epoch, epochs: int, rate: float) -> None:
        """An epoch is done and measured; `rate` are training samples per second."""

    def close(self) -> None:
        """The run is over, or was cut short."""


class Remarks(Progress):
    """Remarks alone."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say

    def remark(self, text: str) -> None:
        """Print it where remarks go."""
        self._say(text)


class Lines(Remarks):
    """A line for each epoch, and remarks."""

    def __init__(self, out: Callable[[str], None], say: Callable[[str], None]) -> None:
        super().__init__(say)
        self._out = out

    def end(self, epoch: Epoch, epochs: int, rate: float) -> None:
        """Print the metrics."""
        self._out(line(epoch, epochs, rate))


class Terminal(Lines):
    """A line for each epoch, and while it runs a bar on the standard error."""

    def __init__(self, out: Callable[[str], None], say: Callable[[str], None]) -> None:
        super().__init__(out, say)
        self._bar: RichProgress | None = None
        self._task: Any = None  # what rich calls a task id
        self._started, self._done = 0.0, 0

    def begin(self, epoch: int, epochs: int, batches: int, done: int) -> None:
        """Show a bar."""
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            Progress,
            TextColumn,
            TimeRemainingColumn,
        )

        self.close()
        # One bar an epoch, taken away before the epoch's line is printed: the line goes to the
        # standard output, which may be a file, and would otherwise run into the bar.
        self._bar = Progress(
            TextColumn(f"epoch {epoch}/{epochs}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[loss]}"),
            console=Console(file=sys.stderr),
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
        )
        self._task = self._bar.add_task("", total=batches, completed=done, loss="", rate="")
        self._bar.start()
        self._started, self._done = time.perf_counter(), 0

    def advance(self, loss: float) -> None:
        """Move the bar."""
        if self._bar is not None and self._task is not None:
            self._done += 1
            rate = self._done / max(time.perf_counter() - self._started, 1e-9)
            self._bar.update(
                self._task,
                advance=1,
                loss=f"loss {loss:.4g}",
                rate=f"{rate:,.1f} batches/s",
            )

    def remark(self, text: str) -> None:
        """Take the bar away and print it."""
        self.close()
        super().remark(text)

    def end(self, epoch: Epoch, epochs: int, rate: float) -> None:
        """Take the bar away and print the metrics."""
        self.close()
        super().end(epoch, epochs, rate)

    def close(self) -> None:
        """Take the bar away."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None


def line(epoch: Epoch, epochs: int, rate: float) -> str:
    """The metrics of an epoch for people; metrics.csv has all their digits."""
    width = len(str(epochs))
    parts = [
        f"epoch {epoch.epoch:>{width}}/{epochs}",
        f"train loss {epoch.train_loss:.5f}",
        *([] if epoch.train_accuracy is None else [f"accuracy {epoch.train_accuracy:.4f}"]),
        f"test loss {epoch.test_loss:.5f}",
        *([] if epoch.test_accuracy is None else [f"accuracy {epoch.test_accuracy:.4f}"]),
        f"({rate:,.0f} images/s)",
    ]
    return "  ".join(parts)
