"""The process that one engine lives in: sessions by key, commands in, answers out.

Frames are pickles behind their length. They come from our own parent process over a pipe that
nobody else holds.
"""

from __future__ import annotations

import os
import pickle
import struct
import sys
import traceback
from typing import IO, Any

from cnnspec.diagnostics import UserError

HEADER = struct.Struct("<Q")


def send(stream: IO[bytes], message: object) -> None:
    """Write one frame."""
    data = pickle.dumps(message, protocol=pickle.HIGHEST_PROTOCOL)
    stream.write(HEADER.pack(len(data)))
    stream.write(data)
    stream.flush()


def receive(stream: IO[bytes]) -> Any:
    """Read one frame; EOFError where the other side has gone."""
    header = stream.read(HEADER.size)
    if len(header) < HEADER.size:
        raise EOFError
    (length,) = HEADER.unpack(header)
    data = stream.read(length)
    if len(data) < length:
        raise EOFError
    return pickle.loads(data)  # noqa: S301 - from our own parent or child, over a private pipe


class Sessions:
    """The sessions of one process, by key; the same commands in a child and in this process."""

    def __init__(self) -> None:
        self._open: dict[str, Any] = {}

    def handle(self, command: str, arguments: dict[str, Any]) -> Any:
        """`open` a session, `call` a method of one, or `close` it."""
        if command == "open":
            from cnnspec.backends import get

            key = arguments.pop("key")
            backend = get(arguments.pop("backend"))
            self._open[key] = backend.open(arguments.pop("emitted"), **arguments)
            return None
        if command == "close":
            self._open.pop(arguments["key"]).close()
            return None
        session = self._open[arguments["key"]]
        return getattr(session, arguments["method"])(*arguments["args"], **arguments["kwargs"])

    def close(self) -> None:
        """Close every session."""
        for session in self._open.values():
            session.close()
        self._open.clear()


def answer(sessions: Sessions, command: str, arguments: dict[str, Any]) -> tuple[str, Any]:
    """Run one command; a fault becomes an answer too."""
    try:
        return "ok", sessions.handle(command, arguments)
    except UserError as fault:
        return "user", (type(fault), fault.diagnostics)
    except Exception:  # whatever an engine raises is that engine's reported failure
        return "fault", traceback.format_exc()


def main() -> None:
    """Answer frames until the parent goes."""
    # Frameworks print to descriptor 1; the frames keep the real one to themselves.
    out = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    sessions = Sessions()
    while True:
        try:
            command, arguments = receive(sys.stdin.buffer)
        except (EOFError, KeyboardInterrupt):
            return
        try:
            send(out, answer(sessions, command, arguments))
        except (BrokenPipeError, KeyboardInterrupt):
            return


if __name__ == "__main__":
    main()
