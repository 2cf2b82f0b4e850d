"""Ctrl-C and the system's request to end, kept until the update that is being made is whole."""

from __future__ import annotations

import signal
import threading
from types import FrameType, TracebackType
from typing import Any, Self

from cnnspec.backends.base import LostWorker

__all__ = ["Interrupt", "Interrupted"]

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interrupted(KeyboardInterrupt):
    """A run has been asked to end, and has written a checkpoint of its completed updates."""


class Interrupt:
    """Inside, the first of these signals only sets `requested`; a second one ends the run at once.

    A signal that the process ignores stays ignored, and outside of the main thread, where Python
    has no signals, nothing is changed. After `LostWorker` SIGTERM stays ignored: the process ends.
    """

    def __init__(self) -> None:
        self.requested = False
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            for number in SIGNALS:
                if signal.getsignal(number) not in (signal.SIG_IGN, None):
                    self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for number, handler in self._before.items():
            # torchrun ends the others as soon as one is lost, and they have to say so before that.
            lost = isinstance(error, LostWorker) and number == signal.SIGTERM
            signal.signal(number, signal.SIG_IGN if lost else handler)

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.requested:
            raise KeyboardInterrupt
        self.requested = True
