"""Files of data, which are not trusted: each fault is one `DataError` that names the file."""

from __future__ import annotations

import os
import stat
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from cnnspec import files, memory
from cnnspec.diagnostics import DataError, Diagnostic, Label

__all__ = ["File", "corrupt", "missing", "truncated", "unreadable"]

GZIP = b"\x1f\x8b"
MOST_UNPACKED = 1032
"""Bytes that one byte of gzip data can become: 258 out of two bits (RFC 1951)."""
LARGE = 2**26
"""Below so many bytes nobody asks whether there is room for a file."""

Body = Callable[[bytes], int]


def missing(path: Path, label: Label | None, help: str = "") -> DataError:
    """There is no such file or folder."""
    return DataError(Diagnostic("data-missing", f"there is no `{path}`", label, help=help))


def corrupt(path: Path, what: str, label: Label | None, help: str = "") -> DataError:
    """The bytes are not those of the format."""
    return DataError(Diagnostic("data-corrupt", f"`{path}` {what}", label, help=help))


def truncated(path: Path, what: str, label: Label | None) -> DataError:
    """The file ends too early."""
    return DataError(Diagnostic("data-truncated", f"`{path}` {what}", label))


@dataclass(frozen=True, slots=True)
class File:
    """The bytes of a file, unpacked as far as they are asked for.

    Attributes:
        path: of the file.
        data: all of it, as it lies on the disk.
        label: the place in the spec that has led to it.
    """

    path: Path
    data: bytes
    label: Label | None

    @classmethod
    def read(cls, path: Path, label: Label | None = None) -> File:
        """Read a regular file.

        Raises:
            DataError: there is none, it is empty, it cannot be read, or it changes meanwhile.
            SetupError: it does not fit into memory.
        """
        try:
            stream, size = _opened(path, label)
            with stream:
                if size > LARGE:
                    memory.require(size, f"`{path}`")
                data = stream.read(size + 1)
        except (OSError, ValueError) as error:
            raise unreadable(path, error, label) from None
        if len(data) < size:
            raise truncated(
                path, f"shrank to {len(data):,} of {size:,} bytes while it was read", label
            )
        if len(data) > size:
            raise corrupt(path, f"grew above {size:,} bytes while it was read", label)
        if not data:
            raise truncated(path, "is empty", label)
        return cls(path, data, label)

    def unpacked_head(self, count: int) -> bytes:
        """The first bytes of the contents.

        Raises:
            DataError: there are not so many, or they are damaged gzip data.
        """
        if not self.data.startswith(GZIP):
            return self._head(self.data[:count], count)
        try:
            return self._head(zlib.decompressobj(wbits=31).decompress(self.data, count), count)
        except zlib.error as fault:
            raise corrupt(self.path, f"is damaged gzip data: {fault}", self.label) from None

    def unpacked(self, header: int, body: Body) -> bytes:
        """The contents, unpacked if they are gzip data, never beyond the size that they state.

        Args:
            header: bytes that have to be there first.
            body: gives for the header the size of everything, header included.

        Raises:
            DataError: there are fewer bytes, or more, or they are damaged gzip data.
            SetupError: they do not fit into memory.
        """
        if not self.data.startswith(GZIP):
            wanted = body(self._head(self.data[:header], header))
            if len(self.data) != wanted:
                raise self.wrong_size(len(self.data), wanted)
            return self.data
        stream = zlib.decompressobj(wbits=31)
        try:
            head = stream.decompress(self.data, header)
            wanted = body(self._head(head, header))
            if wanted > MOST_UNPACKED * len(self.data):
                what = f"has {len(self.data):,} bytes of gzip data, too few for the {wanted:,} "
                raise truncated(self.path, f"{what}that its header says", self.label)
            memory.require(wanted, f"`{self.path}`")
            found = head + stream.decompress(stream.unconsumed_tail, wanted - header + 1)
        except zlib.error as fault:
            raise corrupt(self.path, f"is damaged gzip data: {fault}", self.label) from None
        if len(found) != wanted:
            raise self.wrong_size(len(found), wanted, more="or more")
        if not stream.eof:
            raise truncated(self.path, "ends before its gzip data do", self.label)
        if stream.unused_data:
            offset = len(self.data) - len(stream.unused_data)
            raise corrupt(self.path, f"goes on after its gzip data, at byte {offset:,}", self.label)
        return found

    def _head(self, found: bytes, wanted: int) -> bytes:
        if len(found) < wanted:
            raise truncated(
                self.path, f"ends at byte {len(found)}, inside its header of {wanted}", self.label
            )
        return found

    def wrong_size(self, found: int, wanted: int, more: str = "") -> DataError:
        """The contents have another size than they state."""
        if found < wanted:
            what = f"ends at byte {found:,}, and its header says {wanted:,}"
            return truncated(self.path, what, self.label)
        many = f"{found:,} bytes {more}".strip()
        return corrupt(self.path, f"has {many}, and its header says {wanted:,}", self.label)


def _opened(path: Path, label: Label | None) -> tuple[BinaryIO, int]:
    """A regular file and its size in bytes."""
    # Without waiting: of a pipe nobody may ever write the other end.
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode):
        os.close(descriptor)
        raise DataError(Diagnostic("data-unreadable", f"`{path}` is no regular file", label))
    return open(descriptor, "rb"), status.st_size


def unreadable(path: Path, error: OSError | ValueError, label: Label | None) -> DataError:
    """The system refuses."""
    if isinstance(error, FileNotFoundError | NotADirectoryError):
        return missing(path, label)
    return DataError(
        Diagnostic("data-unreadable", f"`{path}` cannot be read: {files.reason(error)}", label)
    )
