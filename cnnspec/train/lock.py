"""One run at a time in a directory; the system gives a lock back when its process ends."""

from __future__ import annotations

import contextlib
import errno
import os
import sys
from pathlib import Path

from cnnspec import files
from cnnspec.diagnostics import Diagnostic, SetupError

__all__ = ["LOCK", "Lock"]

LOCK = ".lock"


class Lock:
    """Held from construction to `release`, or to the end of the process, however it ends.

    Raises:
        SetupError: another process holds it, or the system refuses.
    """

    def __init__(self, directory: Path) -> None:
        path = directory / LOCK
        try:
            self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        except OSError as error:
            raise files.unwritable(str(path), error) from None
        try:
            _acquire(self._descriptor)
        except OSError as error:
            holder = _holder(self._descriptor)
            os.close(self._descriptor)
            if error.errno not in (errno.EACCES, errno.EAGAIN):
                raise files.unwritable(str(path), error) from None
            raise SetupError(
                Diagnostic(
                    "directory-locked",
                    f"another run is writing to the directory `{directory}`",
                    notes=(holder,) if holder else (),
                    help="wait for it, end it, or give this run a directory of its own",
                )
            ) from None
        with contextlib.suppress(OSError):  # a full disk: the lock holds without a name
            os.ftruncate(self._descriptor, 0)
            os.lseek(self._descriptor, 0, os.SEEK_SET)
            os.write(self._descriptor, str(os.getpid()).encode())

    def release(self) -> None:
        """Let others write; the file stays, because one that is waited for may not be removed."""
        with contextlib.suppress(OSError):
            os.close(self._descriptor)


if sys.platform == "win32":

    def _acquire(descriptor: int) -> None:
        import msvcrt

        # What is locked there cannot be read by others, and the number of the process shall be.
        os.lseek(descriptor, 1 << 30, os.SEEK_SET)
        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)

else:

    def _acquire(descriptor: int) -> None:
        import fcntl

        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _holder(descriptor: int) -> str:
    try:
        os.lseek(descriptor, 0, os.SEEK_SET)
        text = os.read(descriptor, 20).decode("ascii")
    except (OSError, ValueError):
        return ""
    return f"it is process {int(text)}" if text.isdigit() else ""
