"""What is shown while networks are checked: a line on a terminal, with rates."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from cnnspec.fuzz.options import FuzzReport

if TYPE_CHECKING:
    from rich.progress import Progress as RichProgress


class Progress:
    """Is told how far it is; this one says nothing."""

    def __call__(self, report: FuzzReport) -> None:
        """Networks are done."""

    def close(self) -> None:
        """All are done, or it was told to stop."""


class Terminal(Progress):
    """A bar on the standard error."""

    def __init__(self) -> None:
        self._bar: RichProgress | None = None
        self._task: Any = None  # what rich calls a task id

    def __call__(self, report: FuzzReport) -> None:
        """Move the bar: of networks where their number is known, else of seconds."""
        options = report.options
        if self._bar is None:
            self._open(options.examples if options.seconds is None else options.seconds)
        assert self._bar is not None
        done = report.networks if options.seconds is None else report.seconds
        found = len(report.cases)
        self._bar.update(
            self._task,
            completed=done,
            said=f"{report.networks:,} networks, {report.rate:.1f}/s, {found} found",
        )

    def _open(self, total: float | None) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

        self._bar = Progress(
            TextColumn("fuzz"),
            BarColumn(),
            TextColumn("{task.fields[said]}"),
            TimeRemainingColumn(),
            console=Console(file=sys.stderr),
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
        )
        self._task = self._bar.add_task("", total=total, said="")
        self._bar.start()

    def close(self) -> None:
        """Take the bar away."""
        if self._bar is not None:
            self._bar.stop()
