"""Files out and in: whole or not at all, and never over an existing one unless told.

Every fault of the file system is a `SetupError` that names the path.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat

from cnnspec.diagnostics import Diagnostic, SetupError

__all__ = [
    "make_directory",
    "read_bytes",
    "refuse_existing",
    "remove",
    "require_writable",
    "unreadable",
    "unwritable",
    "write_bytes",
    "write_text",
]

StrPath = str | os.PathLike[str]


def write_text(path: StrPath, text: str, *, force: bool = False) -> None:
    """Write text as UTF-8, line breaks as they are; see `write_bytes`."""
    write_bytes(path, text.encode(), force=force)


def write_bytes(path: StrPath, data: bytes, *, force: bool = False) -> None:
    """Write a file; on any failure what was there before is still there, and nothing else is.

    A device or pipe, such as `/dev/stdout`, is written to as it is.

    Args:
        path: the file; a symbolic link is followed.
        data: all of it.
        force: whether an existing file may be replaced.

    Raises:
        SetupError: the file exists and `force` is not given, or the system refuses.
    """
    name = os.fspath(path)
    if not name:
        raise SetupError(Diagnostic("file-unwritable", "the name of the file to write is empty"))
    refuse_existing(name, force=force)
    try:
        if _is_special(name):
            with open(name, "wb") as stream:
                stream.write(data)
        else:
            _replace(os.path.realpath(name), data)
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        if isinstance(error, BrokenPipeError):
            raise
        raise unwritable(name, error) from None


def refuse_existing(path: StrPath, *, force: bool = False) -> None:
    """Ask, before long work, whether `path` could be written to.

    Raises:
        SetupError: it is a directory, or it is a file and `force` is not given.
    """
    name = os.fspath(path)
    try:
        mode = os.stat(name).st_mode
    except (OSError, ValueError):
        return  # there is none, or writing will say what is wrong
    if stat.S_ISDIR(mode):
        raise SetupError(Diagnostic("is-a-directory", f"`{name}` is a directory"))
    if stat.S_ISREG(mode) and not force:
        raise SetupError(
            Diagnostic(
                "file-exists",
                f"`{name}` exists already",
                help="`--force` (in Python `force=True`) replaces it",
            )
        )


def require_writable(path: StrPath, *, force: bool = False) -> None:
    """Ask, before long work, for all that can be known of whether `path` can be written to.

    Raises:
        SetupError: as `write_bytes` would; of a disk that is full only that will tell.
    """
    name = os.fspath(path)
    if not name:
        raise SetupError(Diagnostic("file-unwritable", "the name of the file to write is empty"))
    refuse_existing(name, force=force)
    if _is_special(name):
        return
    try:
        folder = os.path.dirname(os.path.realpath(name))
    except ValueError as error:
        raise unwritable(name, error) from None
    if not os.path.isdir(folder):
        raise unwritable(name, FileNotFoundError())
    if not os.access(folder, os.W_OK | os.X_OK):
        raise unwritable(name, PermissionError(errno.EACCES, os.strerror(errno.EACCES)))


def make_directory(path: StrPath) -> None:
    """Make a directory and those above it; one that exists is fine.

    Raises:
        SetupError: there is a file of that name, or the system refuses.
    """
    name = os.fspath(path)
    try:
        os.makedirs(name, exist_ok=True)
    except FileExistsError:
        raise SetupError(
            Diagnostic("not-a-directory", f"`{name}` is a file, and a directory is needed")
        ) from None
    except (OSError, ValueError) as error:
        raise unwritable(name, error) from None


def read_bytes(path: StrPath) -> bytes:
    """The whole file.

    Raises:
        SetupError: there is none, or it cannot be read.
    """
    name = os.fspath(path)
    try:
        with open(name, "rb") as stream:
            return stream.read()
    except (OSError, ValueError) as error:
        raise unreadable(name, error) from None


def unreadable(name: str, error: OSError | ValueError) -> SetupError:
    """What to raise for a file that could not be opened or read."""
    if isinstance(error, FileNotFoundError):
        return SetupError(Diagnostic("file-not-found", f"there is no file `{name}`"))
    if isinstance(error, IsADirectoryError):
        return SetupError(Diagnostic("is-a-directory", f"`{name}` is a directory"))
    return SetupError(Diagnostic("file-unreadable", f"`{name}` cannot be read: {reason(error)}"))


def reason(error: OSError | ValueError) -> str:
    """The system's own words, in lower case."""
    words = error.strerror if isinstance(error, OSError) else None
    return (words or str(error)).lower()


def remove(path: StrPath) -> None:
    """Remove a file; that there is none is fine.

    Raises:
        SetupError: the system refuses.
    """
    name = os.fspath(path)
    try:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(name)
    except OSError as error:
        raise unwritable(name, error) from None


def unwritable(name: str, error: OSError | ValueError) -> SetupError:
    """What to raise for a file that could not be written, moved or removed."""
    if isinstance(error, FileNotFoundError):
        return SetupError(
            Diagnostic(
                "directory-not-found",
                f"`{name}` cannot be written: there is no directory "
                f"`{os.path.dirname(name) or '.'}`",
                help="make the directory first",
            )
        )
    hint = "free some space" if isinstance(error, OSError) and error.errno == errno.ENOSPC else ""
    return SetupError(
        Diagnostic("file-unwritable", f"`{name}` cannot be written: {reason(error)}", help=hint)
    )


def _is_special(name: str) -> bool:
    try:
        mode = os.stat(name).st_mode
    except OSError:
        return False
    return not stat.S_ISREG(mode)


def _replace(target: str, data: bytes) -> None:
    """Write a neighbour and move it into place, which the file system does in one step."""
    # A short name of its own: the target's may already be as long as the system allows.
    neighbour = os.path.join(os.path.dirname(target), f".cnnspec-{os.urandom(8).hex()}.tmp")
    try:
        # `tempfile` would make it private; like any new file, it gets what the umask leaves.
        descriptor = os.open(neighbour, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
        with open(descriptor, "wb") as stream:
            with contextlib.suppress(FileNotFoundError):
                os.chmod(neighbour, stat.S_IMODE(os.stat(target).st_mode))
            stream.write(data)
            stream.flush()
            # Some file systems report a full disk only now.
            os.fsync(stream.fileno())
        os.replace(neighbour, target)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(neighbour)
        raise
