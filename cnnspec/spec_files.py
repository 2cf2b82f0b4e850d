"""The specs that paths and patterns stand for; only what is needed to tell them from libraries."""

from __future__ import annotations

import glob
import os
from collections.abc import Sequence

from cnnspec.diagnostics import Diagnostic, SetupError, UserError
from cnnspec.document import read
from cnnspec.schema import is_library

__all__ = ["listed", "matching"]

SUFFIXES = (".yaml", ".yml", ".json")


def matching(patterns: Sequence[str], base: str) -> list[str]:
    """The specs that patterns stand for, each once, in the order of the patterns.

    A pattern is a file, a directory, or a glob in which `**` stands for any directories. Files
    that a glob or a directory stands for are left out if they are libraries of blocks.

    Args:
        patterns: relative to `base`, with slashes.
        base: a directory.

    Raises:
        SetupError: a pattern stands for no spec.
    """
    found: dict[str, None] = {}
    for pattern in patterns:
        path = os.path.join(base, pattern)
        if os.path.isdir(path):
            files = listed([path])[0]
        elif os.path.isfile(path):
            files = [path]
        else:
            files = [
                name
                for name in sorted(glob.glob(path, recursive=True))
                if os.path.isfile(name) and not _is_library(name)
            ]
        if not files:
            raise SetupError(
                Diagnostic("no-specs", f"`{pattern}` stands for no spec below `{base}`")
            )
        found.update(dict.fromkeys(os.path.normpath(name) for name in files))
    return list(found)


def listed(paths: Sequence[str]) -> tuple[list[str], list[str]]:
    """The specs that paths stand for, and the libraries of blocks that are left out.

    A directory stands for every file of a spec's suffix in it and below it, by name; files and
    directories whose name starts with a dot, and links to directories, are passed over. Of these
    files only, those that are libraries are left out: a file that is named is always checked.

    Raises:
        SetupError: a directory has no spec in it.
    """
    specs: list[str] = []
    libraries: list[str] = []
    for path in paths:
        if not os.path.isdir(path):
            specs.append(path)
            continue
        before = len(specs)
        for file in _below(path):
            (libraries if _is_library(file) else specs).append(file)
        if len(specs) == before:
            raise SetupError(
                Diagnostic(
                    "no-specs",
                    f"there is no spec in the directory `{path}`",
                    help="specs end in .yaml, .yml or .json; libraries of blocks are left out",
                )
            )
    return specs, libraries


def _below(path: str) -> list[str]:
    found = []
    for folder, folders, files in os.walk(path):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        found += [
            os.path.join(folder, name)
            for name in sorted(files)
            if name.endswith(SUFFIXES) and not name.startswith(".")
        ]
    return found


def _is_library(path: str) -> bool:
    try:
        return is_library(read(path))
    except UserError:  # it is told when the file is checked
        return False
