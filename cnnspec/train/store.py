"""The checkpoints of a run directory: the last one and the one before, each whole at any time."""

from __future__ import annotations

import contextlib
import os
import stat
from pathlib import Path

from cnnspec import files, memory
from cnnspec.diagnostics import DataError, Diagnostic
from cnnspec.train.checkpoint import Checkpoint, Unusable, from_bytes, to_bytes

__all__ = ["LAST", "PREVIOUS", "Checkpoints"]

LAST = "last.safetensors"
PREVIOUS = "previous.safetensors"
NEXT = "next.safetensors"
"""While it is written; what a run that was killed has left under this name is never read."""
LINK = "link.safetensors"


class Checkpoints:
    """Two files in a folder.

    Attributes:
        folder: where they are.
        remarks: what was found out of order when reading, for the user.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.remarks: list[Diagnostic] = []
        self._last_is_good = False

    def save(self, checkpoint: Checkpoint) -> None:
        """Write a checkpoint in the place of the last one, which becomes the previous one.

        Raises:
            SetupError: the system refuses; both are as they were.
        """
        last, fresh = self.folder / LAST, self.folder / NEXT
        files.make_directory(self.folder)
        files.write_bytes(fresh, to_bytes(checkpoint), force=True)
        try:
            if self._last_is_good:
                self._keep(last, self.folder / PREVIOUS)
            os.replace(fresh, last)
        except OSError as error:
            raise files.unwritable(str(last), error) from None
        self._last_is_good = True

    def _keep(self, last: Path, previous: Path) -> None:
        """Let the last one be the previous one as well, so that there always is a last one."""
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self.folder / LINK)
        try:
            os.link(last, self.folder / LINK)
            os.replace(self.folder / LINK, previous)
        except OSError:
            # A file system without links: for a moment there is a previous one alone.
            os.replace(last, previous)

    def clear(self) -> None:
        """Remove them, for a run that begins again.

        Raises:
            SetupError: the system refuses.
        """
        for name in (LAST, PREVIOUS, NEXT, LINK):
            files.remove(self.folder / name)
        self._last_is_good = False

    def load(self) -> tuple[Checkpoint, Path] | None:
        """The last checkpoint that is whole, and its file; None where there is none at all.

        Raises:
            DataError: there are files, and none of them is a whole checkpoint.
            SetupError: the system refuses to read them, or one would not fit into memory.
        """
        faults = []
        for name in (LAST, PREVIOUS):
            path = self.folder / name
            try:
                data = _read(path)
                if data is None:
                    continue
                found = from_bytes(data)
            except Unusable as fault:
                faults.append(f"`{path}` cannot be used: {fault}")
                continue
            self._last_is_good = name == LAST
            if faults:
                self.remarks.append(
                    Diagnostic(
                        "checkpoint-corrupt",
                        faults[0],
                        notes=(f"the one before it, `{path}`, is whole and is used instead",),
                        severity="warning",
                    )
                )
            return found, path
        if not faults:
            return None
        raise DataError(
            Diagnostic(
                "checkpoint-corrupt",
                faults[0],
                notes=tuple(faults[1:]),
                help="`--force` begins the run again from the start",
            )
        )


def _read(path: Path) -> bytes | None:
    """All of a file; None where there is none."""
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise files.unreadable(str(path), error) from None
    if not stat.S_ISREG(found.st_mode):
        raise Unusable("it is no file")
    memory.require(2 * found.st_size, f"reading `{path}`")
    return files.read_bytes(path)
