"""The process in which networks are drawn and checked; its engines live in it as well.

A framework that crashes takes this process with it, and nothing else: the parent knows which
network it was.
"""

from __future__ import annotations

import gc
import os
import sys
import traceback
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from cnnspec import threads
from cnnspec.check.engines import Engine
from cnnspec.check.engines import engines as check_engines
from cnnspec.check.options import Options
from cnnspec.check.run import needs_process
from cnnspec.check.worker import receive, send, widen
from cnnspec.diagnostics import UserError
from cnnspec.fuzz.generate import network
from cnnspec.fuzz.judge import judge
from cnnspec.fuzz.options import FuzzOptions, Verdict
from cnnspec.heap import keep_freed_memory

COLLECT = 20
"""Networks after which garbage is looked for; models are full of cycles, and small."""


@contextmanager
def engines(options: Options) -> Iterator[dict[str, Engine]]:
    """One engine for each back end: here, or in a process where one Keras cannot be another."""
    made: dict[str, Engine] = {}
    with ExitStack() as stack:
        for name in needs_process(options):
            made |= stack.enter_context(check_engines([name], in_process=shares(name)))
        yield made


def shares(name: str) -> bool:
    """Whether a back end can live in one process with the others: Keras has one engine in each."""
    return ":" not in name or name == "keras:tensorflow"


class Worker:
    """Answers what the parent asks, one network after the other."""

    def __init__(self) -> None:
        self._engines: dict[str, Engine] | None = None
        self._stack = ExitStack()
        self._done = 0

    def answer(self, command: str, arguments: dict[str, Any]) -> Any:
        """`start`, look at `network` number `index` of the options, or `judge` a text."""
        options: FuzzOptions = arguments["options"]
        if self._engines is None:
            self._engines = self._stack.enter_context(engines(options.checked()))
            gc.disable()  # looking for garbage in frameworks takes longer than a small network
        if command == "start":
            return self._judge("cnnspec: 1\nname: net\ninput: [2]\nlayers: [tanh]\n", options)
        if command == "judge":
            return self._judge(arguments["text"], options)
        text = network(options, arguments["index"])
        return text, self._judge(text, options)

    def _judge(self, text: str, options: FuzzOptions) -> Verdict:
        assert self._engines is not None
        found = judge(text, options.checked(), self._engines)
        self._done += 1
        if self._done % COLLECT == 1:
            gc.collect()
            if self._done == 1:
                gc.freeze()  # the frameworks themselves
        return found

    def close(self) -> None:
        """End the engines."""
        self._stack.close()


def main(parent: int = 0) -> None:
    """Answer frames until the parent, of this process id, goes."""
    out = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    widen(out, sys.stdin.buffer)
    threads.single()
    keep_freed_memory()
    worker = Worker()
    try:
        while True:
            command, arguments = receive(sys.stdin.buffer)
            try:
                answer: tuple[str, object] = "ok", worker.answer(command, arguments)
            except UserError as fault:
                answer = "user", (type(fault), fault.diagnostics)
            except Exception:  # a bug of ours is told by the parent
                answer = "fault", traceback.format_exc()
            send(out, answer)
    except (EOFError, BrokenPipeError, KeyboardInterrupt):
        return
    finally:
        worker.close()


if __name__ == "__main__":
    main()
