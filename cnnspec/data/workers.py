"""Processes that prepare samples; each has the split, and nothing of a framework."""

from __future__ import annotations

import signal
import weakref
from collections.abc import Sequence
from multiprocessing import get_context
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Any

from cnnspec.data.dataset import Arrays, Index, Samples
from cnnspec.diagnostics import DataError, Diagnostic, UserError

__all__ = ["Workers", "stop", "workers_of"]

PATIENCE = 5.0
"""Seconds that a worker has to end by itself."""

_known: weakref.WeakKeyDictionary[Samples, Workers] = weakref.WeakKeyDictionary()


class Workers:
    """A number of processes that serve one split, each in its turn.

    They are spawned: a process that is forked off one in which a framework runs may hang. One
    that has an answer waits until it is fetched, so that no more is prepared than there are
    workers; one whose parent is gone, however that has ended, finds its pipe closed and ends.
    """

    def __init__(self, split: Samples, count: int) -> None:
        context = get_context("spawn")
        self.count = count
        self.broken = False
        self._ends: list[Connection[Any, Any]] = []
        self._processes: list[BaseProcess] = []
        self._asked: list[int] = [0] * count
        self._next = self._fetched = 0
        try:
            for _ in range(count):
                ours, theirs = context.Pipe()
                process = context.Process(target=_serve, args=(theirs,), daemon=True)
                self._ends.append(ours)
                process.start()
                self._processes.append(process)
                theirs.close()
            for end in self._ends:
                end.send(split)
        except BrokenPipeError:
            self.close()
            raise _lost() from None
        except BaseException:
            self.close()
            raise

    def begin(self) -> None:
        """Forget what was asked for and never fetched."""
        for number, end in enumerate(self._ends):
            while self._asked[number]:
                self._receive(number, end)
        self._next = self._fetched = 0

    def ask(self, index: Index, epoch: int) -> None:
        """Ask the next worker for some samples.

        Raises:
            DataError: it is gone.
        """
        number = self._next % self.count
        try:
            self._ends[number].send((index, epoch))
        except OSError:
            self.broken = True
            raise _lost() from None
        self._asked[number] += 1
        self._next += 1

    def fetch(self) -> tuple[Arrays, Arrays]:
        """The answers, in the order in which they were asked for.

        Raises:
            UserError: that the worker has met, the same as without it.
            DataError: the worker is gone.
        """
        number = self._fetched % self.count
        found = self._receive(number, self._ends[number])
        self._fetched += 1
        if isinstance(found, UserError):
            raise found
        inputs, targets = found
        return inputs, targets

    def _receive(self, number: int, end: Connection[Any, Any]) -> Any:
        try:
            found = end.recv()
        except (EOFError, OSError):
            self.broken = True
            raise _lost() from None
        self._asked[number] -= 1
        return found

    def close(self) -> None:
        """End the processes, and do not wait for what they still work on."""
        _end(self._ends, self._processes)


def _end(ends: Sequence[Connection[Any, Any]], processes: Sequence[BaseProcess]) -> None:
    for end in ends:
        end.close()
    for process in processes:
        process.terminate()
    for process in processes:
        process.join(PATIENCE)
        if process.is_alive():
            process.kill()
            process.join()


def workers_of(split: Samples, count: int) -> Workers:
    """The processes of a split, started on first use, and anew where one is lost."""
    found = _known.get(split)
    if found is None or found.broken or found.count != count:
        stop(split)
        found = Workers(split, count)
        _known[split] = found
        weakref.finalize(split, found.close)
    return found


def stop(split: Samples) -> None:
    """End the processes of a split, if there are any; they start anew when they are needed."""
    found = _known.pop(split, None)
    if found is not None:
        found.close()


def _lost() -> DataError:
    return DataError(
        Diagnostic(
            "worker-lost",
            "a process that prepares batches has ended",
            notes=("the system may have ended it for want of memory",),
            help="use fewer workers; a script that uses any has its own start under "
            "`if __name__ == '__main__':`",
        )
    )


def _serve(end: Connection[Any, Any]) -> None:
    """Answer until nobody asks any more."""
    # Ctrl-C goes to every process of the terminal; the parent decides what becomes of it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        split: Samples = end.recv()
        while True:
            index, epoch = end.recv()
            try:
                answer: object = split.take(index, epoch)
            except UserError as error:
                answer = error
            end.send(answer)
    except (EOFError, OSError):  # the other end is closed, and its process perhaps gone
        return
