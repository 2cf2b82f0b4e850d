"""Paths as CI wants them: relative to the top of the checkout, with slashes."""

from __future__ import annotations

import os
from pathlib import Path
from urllib.parse import quote


def workspace() -> str:
    """The directory that paths are relative to: GITHUB_WORKSPACE, or the current one."""
    return os.path.realpath(os.environ.get("GITHUB_WORKSPACE") or os.curdir)


def relative(path: str) -> str | None:
    """A path relative to the workspace, with slashes; None for what lies outside of it."""
    try:
        found = os.path.relpath(os.path.realpath(path), workspace())
    except ValueError:  # another drive, or a NUL
        return None
    if found == os.pardir or found.startswith(os.pardir + os.sep):
        return None
    return Path(found).as_posix()


def uri(path: str) -> tuple[str, bool]:
    """A URI reference for a path, and whether it is relative to the workspace."""
    found = relative(path)
    if found is not None:
        return quote(_bytes(found)), True
    return "file://" + quote(_bytes(Path(os.path.abspath(path)).as_posix())), False


def _bytes(path: str) -> bytes:
    return path.encode("utf-8", "surrogateescape")
