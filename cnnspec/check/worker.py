"""The process that one engine lives in: sessions by key, commands in, answers out.

Frames are pickles behind their length, and arrays go beside them as they are, without a copy. They
come from our own parent process over a pipe that nobody else holds.

What a call answers may be gigabytes, so it can be held here, for the parent to take a part of it
at a time.
"""

from __future__ import annotations

import ctypes
import dataclasses
import gc
import math
import os
import pickle
import signal
import struct
import sys
import traceback
from collections.abc import Hashable, Iterator, Mapping
from contextlib import suppress
from typing import IO, Any

import numpy as np

from cnnspec.diagnostics import UserError
from cnnspec.heap import MOST, USUAL, give_back, keep_freed_memory

COUNT = struct.Struct("<Q")
PIPE_BYTES = 1 << 20


def send(stream: IO[bytes], message: object) -> None:
    """Write one frame: the number of its parts, their lengths, and the parts."""
    buffers: list[pickle.PickleBuffer] = []
    data = pickle.dumps(message, protocol=5, buffer_callback=buffers.append)
    parts = [memoryview(data), *(buffer.raw() for buffer in buffers)]
    stream.write(b"".join(COUNT.pack(n) for n in (len(parts), *(part.nbytes for part in parts))))
    for part in parts:
        stream.write(part)
    stream.flush()


def receive(stream: IO[bytes]) -> Any:
    """Read one frame; EOFError where the other side has gone."""
    (count,) = COUNT.unpack(_read(stream, COUNT.size))
    lengths = _read(stream, count * COUNT.size)
    data, *buffers = [_read(stream, length) for (length,) in COUNT.iter_unpack(lengths)]
    # From our own parent or child, over a private pipe.
    return pickle.loads(data, buffers=buffers)  # noqa: S301


def _read(stream: IO[bytes], length: int) -> memoryview:
    data = np.empty(length, np.uint8).data  # unlike a bytearray not filled with zeros first
    filled = 0
    while filled < length:
        got = stream.readinto(data[filled:])  # type: ignore[attr-defined] # of a binary stream
        if not got:
            raise EOFError
        filled += got
    return data


def widen(*pipes: IO[bytes]) -> None:
    """Let a pipe hold a mebibyte, where the system can: fewer turns for the same gigabytes."""
    for pipe in pipes:
        with suppress(ImportError, AttributeError, OSError):
            import fcntl

            fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, PIPE_BYTES)


LARGE = 10**6
"""Weights of a model that is worth looking for: that takes longer than checking a small one."""


HUGE = 10**8
"""Of one whose memory is needed as soon as it is free."""


class Sessions:
    """The sessions of one process, by key; the same commands in a child and in this process.

    Args:
        alone: whether the process is there for nothing else, and its memory theirs to manage.
    """

    def __init__(self, *, alone: bool = False) -> None:
        self._alone = alone
        self._open: dict[str, Any] = {}
        self._weights: dict[str, int] = {}
        self._held: dict[str, Mapping[Hashable, Any]] = {}

    def handle(self, command: str, arguments: dict[str, Any]) -> Any:
        """`open` a session, `call` one, `draw` from it, `take` of a held answer, or `close`.

        A call with `hold` keeps its answer under that name; each part can be taken once.
        """
        if command == "open":
            from cnnspec.backends import get

            key = arguments.pop("key")
            backend = get(arguments.pop("backend"))
            emitted = arguments.pop("emitted")
            self._weights[key] = sum(math.prod(slot.shape) for slot in emitted.slots.values())
            if self._alone:
                keep_freed_memory(USUAL if self._weights[key] >= HUGE else MOST)
            self._open[key] = backend.open(emitted, **arguments)
            return None
        if command == "close":
            self._open.pop(arguments["key"]).close()
            self._held.clear()
            if self._weights.pop(arguments["key"]) >= LARGE:
                gc.collect()  # models are full of cycles, and others need their memory
                give_back()
            return None
        if command == "take":
            held = self._held[arguments["hold"]]
            pick = held.pop if isinstance(held, dict) else held.__getitem__
            return [pick(part) for part in arguments["parts"]]
        session = self._open[arguments["key"]]
        if command == "draw":
            from cnnspec.check.initial import moments

            return moments(session, **arguments["options"])
        hold = arguments["hold"]
        self._held.pop(hold, None)  # its memory may be needed
        found = getattr(session, arguments["method"])(*arguments["args"], **arguments["kwargs"])
        if hold is None:
            return found
        self._held[hold] = found if isinstance(found, Mapping) else dict(parts(found))
        return True

    def close(self) -> None:
        """Close every session."""
        for session in self._open.values():
            session.close()
        self._open.clear()
        self._held.clear()


def parts(answer: Any) -> Iterator[tuple[Hashable, Any]]:
    """What an answer holds, by (field, name) of a trace or of gradients.

    Of a trace fed with values, (`own`, node, index) are the gradients of a node's inputs.
    """
    for field in dataclasses.fields(answer):
        value = getattr(answer, field.name)
        if not isinstance(value, Mapping):
            continue
        for name, part in value.items():
            if isinstance(part, tuple):
                yield from (((field.name, name, i), each) for i, each in enumerate(part))
            else:
                yield (field.name, name), part


def answer(sessions: Sessions, command: str, arguments: dict[str, Any]) -> tuple[str, Any]:
    """Run one command; a fault becomes an answer too."""
    try:
        return "ok", sessions.handle(command, arguments)
    except UserError as fault:
        return "user", (type(fault), fault.diagnostics)
    except Exception:  # whatever an engine raises is that engine's reported failure
        return "fault", traceback.format_exc()


PR_SET_PDEATHSIG = 1  # of Linux' prctl.h


def die_with(parent: int) -> None:
    """Have the system end this process with its parent, however busy it is; on Linux alone.

    Elsewhere it ends when it next looks for a command.

    Args:
        parent: its process number.
    """
    with suppress(AttributeError, OSError, TypeError):
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # it has gone already
            sys.exit()


def main(parent: int) -> None:
    """Answer frames until the parent goes."""
    die_with(parent)
    # Frameworks print to descriptor 1; the frames keep the real one to themselves.
    out = os.fdopen(os.dup(1), "wb")
    widen(out, sys.stdin.buffer)
    os.dup2(2, 1)
    sessions = Sessions(alone=True)
    while True:
        try:
            command, arguments = receive(sys.stdin.buffer)
        except (EOFError, KeyboardInterrupt):
            return
        try:
            send(out, answer(sessions, command, arguments))
        except (BrokenPipeError, KeyboardInterrupt):
            return
