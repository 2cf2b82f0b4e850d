"""`[tool.cnnspec]` of a project's pyproject.toml: what is checked there, and how.

```toml
[tool.cnnspec]
specs = ["specs/*.yaml"]
backends = ["numpy", "torch"]
reduce = true
```
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from cnnspec.diagnostics import Diagnostic, Label, SetupError, Source, Span, did_you_mean

__all__ = ["CACHE", "Config", "cache_directory", "find_config", "in_ci", "read_config"]

FILE = "pyproject.toml"
SECTION = "tool.cnnspec"
DTYPES = ("float64", "float32", "bfloat16")
CACHE = ".cnnspec_cache"
MOST_STEPS = 10_000


@dataclass(frozen=True, slots=True)
class Config:
    """What a project says of its checks; the names are those of `check`'s options.

    Attributes:
        specs: patterns of the specs that the pytest plugin collects, from the file's directory.
        backends: in the order of the report; None for the default ones.
        dtype: in which to check; None for both.
        seed: for weights, inputs and targets; None for that of each spec.
        steps: number of optimizer updates; None for `check`'s own.
        reduce: run each network on its smallest inputs.
        graph: let Keras compile its training step.
        cache: skip what has agreed before.
    """

    specs: tuple[str, ...] = ()
    backends: tuple[str, ...] | None = None
    dtype: str | None = None
    seed: int | None = None
    steps: int | None = None
    reduce: bool = False
    graph: bool = False
    cache: bool = False


def find_config(start: str = os.curdir) -> Config:
    """The settings of the nearest pyproject.toml, in a directory or above it; defaults without.

    Raises:
        SetupError: they are wrong.
    """
    folder = os.path.abspath(start)
    while True:
        file = os.path.join(folder, FILE)
        if os.path.isfile(file):
            return read_config(file) or Config()
        above = os.path.dirname(folder)
        if above == folder:
            return Config()
        folder = above


def read_config(file: str) -> Config | None:
    """The settings of a pyproject.toml; None where it has none, or does not exist.

    Raises:
        SetupError: the file cannot be read, or a setting is wrong; all of them are told.
    """
    from cnnspec.files import read_bytes

    if not os.path.isfile(file):
        return None
    data = read_bytes(file)
    import tomllib

    source = Source(file, data.decode("utf-8", "replace"))
    try:
        document = tomllib.loads(data.decode("utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as fault:
        # Where other tools read the same file they say so too.
        raise SetupError(
            Diagnostic("bad-config", f"`{file}` is no TOML file", notes=(str(fault),))
        ) from None
    tool = document.get("tool")
    section = tool.get("cnnspec") if isinstance(tool, dict) else None
    if section is None:
        return None
    if not isinstance(section, dict):
        raise SetupError(Diagnostic("bad-config", f"`{SECTION}` in `{file}` is no table"))
    found = [_fault(source, name, value) for name, value in section.items()]
    faults = [each for each in found if each is not None]
    if faults:
        raise SetupError(faults)
    given: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in section.items()}
    return Config(**given)


_KINDS: Mapping[str, str] = {
    "specs": "a list of patterns",
    "backends": "a list of names",
    "dtype": " or ".join(f'"{dtype}"' for dtype in DTYPES),
    "seed": "a whole number from 0 on",
    "steps": f"a whole number from 0 to {MOST_STEPS}",
    "reduce": "true or false",
    "graph": "true or false",
    "cache": "true or false",
}


def _fault(source: Source, name: str, value: object) -> Diagnostic | None:
    """What is wrong with one setting."""
    place = _place(source, name)
    if name not in _KINDS:
        help = did_you_mean(name, tuple(_KINDS))
        return Diagnostic("bad-config", f"`[{SECTION}]` has no `{name}`", place, help=help)
    if _fits(name, value):
        return None
    return Diagnostic("bad-config", f"`{name}` in `[{SECTION}]` is {_KINDS[name]}", place)


def _fits(name: str, value: object) -> bool:
    if name in ("specs", "backends"):
        return isinstance(value, list) and all(isinstance(v, str) and v for v in value)
    if name == "dtype":
        return value in DTYPES
    if name in ("seed", "steps"):
        most = MOST_STEPS if name == "steps" else 2**63 - 1
        return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= most
    return isinstance(value, bool)


def _place(source: Source, name: str) -> Label | None:
    """The key in the table, where it is written as plainly as people do: TOML has no positions."""
    inside = False
    for number, line in enumerate(source.text.splitlines(), 1):
        if re.match(r"\s*\[", line):
            inside = re.match(r"\s*\[\s*tool\s*\.\s*cnnspec\s*\]", line) is not None
        found = re.match(rf"""\s*(["']?){re.escape(name)}\1\s*=""", line) if inside else None
        if found is not None:
            column = line.index(name) + 1
            return Label(Span(source, number, column, number, column + len(name)))
    return None


def in_ci() -> bool:
    """Whether this is a run of continuous integration, which sets the variable CI."""
    return os.environ.get("CI", "").lower() not in ("", "0", "false")


def cache_directory(wanted: bool | None, directory: str | None = None) -> str | None:
    """Where results of checks are kept, or None if they are not.

    What a command line says is done. Without that the project's `cache` is, but not in CI:
    there a check is wanted to be one.

    Args:
        wanted: `--cache` or `--no-cache`, if one of them is given.
        directory: `--cache-dir`, if it is given.

    Raises:
        SetupError: the project's settings are wrong.
    """
    if wanted is None and directory is None:
        wanted = not in_ci() and find_config().cache
    elif wanted is None:
        wanted = True
    return (directory or CACHE) if wanted else None
