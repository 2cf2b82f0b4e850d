"""Files that are kept beside a spec, such as compiled source: are they what would be written?"""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterator

from cnnspec import files
from cnnspec.diagnostics import DataError, Diagnostic
from cnnspec.render import clean

__all__ = ["compare", "require_same"]

MOST_LINES = 20_000
"""Of a file that a diff is made of: its time grows with the square."""
MOST_SHOWN = 400
"""Lines of a diff."""


def compare(path: str, wanted: bytes) -> tuple[Diagnostic, str] | None:
    """Hold a file against what would be written; None if they are equal, byte for byte.

    Args:
        path: of the file.
        wanted: all of it.

    Returns:
        What is wrong, and a unified diff, which is empty where the file is missing or no text.

    Raises:
        SetupError: the file cannot be read.
    """
    again = "compile again with `--force`"
    if not os.path.lexists(path):
        missing = f"there is no file `{path}` yet"
        return Diagnostic("file-differs", missing, help="compile it"), ""
    found = files.read_bytes(path)
    if found == wanted:
        return None
    ours, theirs = _lines(wanted), _lines(found)
    if ours is None or theirs is None:
        place = next(
            (i for i, (a, b) in enumerate(zip(found, wanted, strict=False)) if a != b), None
        )
        at = min(len(found), len(wanted)) if place is None else place
        message = f"`{path}` is not what would be written; byte {at} is the first that differs"
        return Diagnostic("file-differs", message, help=again), ""
    line = next(
        (i for i, (a, b) in enumerate(zip(ours, theirs, strict=False)) if a != b),
        min(len(ours), len(theirs)),
    )
    notes = []
    if line < len(theirs):
        notes.append(f"line {line + 1} of the file:  {theirs[line].strip()}")
    if line < len(ours):
        notes.append(f"line {line + 1} would be:     {ours[line].strip()}")
    message = f"`{path}` is not what would be written; line {line + 1} is the first that differs"
    diff = "\n".join(_diff(path, theirs, ours))
    return Diagnostic("file-differs", message, notes=tuple(notes), help=again), diff


def require_same(wanted: list[tuple[str, bytes]]) -> Iterator[str]:
    """Compare several files; gives the diff of each that differs, and then raises.

    Raises:
        DataError: some file is not what would be written; all of them are told.
    """
    faults = []
    for path, data in wanted:
        found = compare(path, data)
        if found is not None:
            faults.append(found[0])
            if found[1]:
                yield found[1]
    if faults:
        raise DataError(faults)


def _lines(data: bytes) -> list[str] | None:
    """Lines with their ends, None of what is no text."""
    try:
        return data.decode("utf-8").splitlines(keepends=True)
    except UnicodeDecodeError:
        return None


def _diff(path: str, theirs: list[str], ours: list[str]) -> Iterator[str]:
    if max(len(theirs), len(ours)) > MOST_LINES:
        return
    made = difflib.unified_diff(theirs, ours, path, f"{path} (compiled)")
    for number, line in enumerate(made):
        if number == MOST_SHOWN:
            yield "... and more"
            return
        # Other ends of lines than ours are differences that should be seen.
        yield clean(line.removesuffix("\n"))
        if number > 1 and not line.endswith("\n"):
            yield "\\ No newline at end of file"
