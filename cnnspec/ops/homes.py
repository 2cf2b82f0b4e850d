"""Which module defines which op, read from the modules' text, so that no list is kept by hand.

Making the classes of every op takes longer than reading, checking and building a small spec;
looking for `@op("...")` in their text takes a millisecond.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from functools import cache
from importlib import import_module

__all__ = ["homes", "import_home"]

_DEFINITION = re.compile(r'^@op\("(\w+)"\)$', re.MULTILINE)
_PACKAGE = "cnnspec.ops"


def import_home(key: str) -> None:
    """Import the module of this package that defines an op; nothing where none does."""
    module = homes().get(key)
    if module is not None:
        import_module(f"{_PACKAGE}.{module}")


@cache
def homes() -> dict[str, str]:
    """The name of an op -> the name of its module."""
    return {key: module for module, text in _sources() for key in _DEFINITION.findall(text)}


def _sources() -> Iterator[tuple[str, str]]:
    """The modules of the package, and their text."""
    folder = os.path.dirname(__file__)
    try:
        names = os.listdir(folder)
    except OSError:
        yield from _archived()
        return
    for name in names:
        if name.endswith(".py"):
            with open(os.path.join(folder, name), encoding="utf-8") as file:
                yield name.removesuffix(".py"), file.read()


def _archived() -> Iterator[tuple[str, str]]:
    """The same where the package is in an archive."""
    from importlib.resources import files  # takes longer to import than all of the above

    for file in files(_PACKAGE).iterdir():
        if file.name.endswith(".py"):
            yield file.name.removesuffix(".py"), file.read_text(encoding="utf-8")
