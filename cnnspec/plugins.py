"""Plug-ins: ops and back ends of other installed packages, found by their entry points.

A package is looked for only when a spec has an op, or a command a back end, that is not built in,
and only the entry that is asked for is imported. Its groups are

- `cnnspec.ops`: the key of an op -> its class;
- `cnnspec.cells`: the name of a back end -> a module that spells ops in that back end's column;
- `cnnspec.strategies`: any name -> a module that registers how fields are drawn in tests;
- `cnnspec.backends`: the name of a back end -> the back end.
"""

from __future__ import annotations

import os
import sys
from functools import cache
from typing import TYPE_CHECKING, Final

from cnnspec.diagnostics import Diagnostic, Label, SetupError
from cnnspec.ops.base import Op, lookup

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

OPS: Final = "cnnspec.ops"
CELLS: Final = "cnnspec.cells"
STRATEGIES: Final = "cnnspec.strategies"
BACKENDS: Final = "cnnspec.backends"

OURS = "cnnspec"


def built_in(cls: type[Op]) -> bool:
    """Whether an op is one of ours."""
    return cls.__module__.startswith("cnnspec.ops.")


def op(key: str, where: Label | None = None) -> type[Op] | None:
    """The op class of this name, built in or of a plug-in, which is imported now; or None.

    Args:
        key: its name in a spec.
        where: who asks; faults of the plug-in are told there.

    Raises:
        SetupError: the plug-in cannot be imported, or two define the op.
    """
    known = lookup(key)
    if known is not None and built_in(known):
        return known
    entry = find(OPS, key, where)
    if entry is None:
        return known
    cls = load(entry, where)
    if cls is not lookup(key):
        raise failed(entry, f'`{entry.value}` is no op that `@op("{key}")` registers', where)
    return lookup(key)


def all_ops() -> None:
    """Register the op of every plug-in.

    Raises:
        SetupError: one of them cannot be imported, or an op is defined twice; all are told.
    """
    faults: list[Diagnostic] = []
    for name in names(OPS):
        try:
            known = lookup(name)
            find(OPS, name, ours=known is not None and built_in(known))
            op(name)
        except SetupError as fault:
            faults += fault.diagnostics
    if faults:
        raise SetupError(faults)


def names(group: str) -> list[str]:
    """The names in a group, in order; nothing is imported."""
    return sorted({entry.name for entry in _entries(group)})


def find(
    group: str, name: str, where: Label | None = None, *, ours: bool = False
) -> EntryPoint | None:
    """The entry of this name, or None; nothing is imported.

    Args:
        group: of entry points.
        name: of the op or back end.
        where: who asks.
        ours: whether one of the same name is built in.

    Raises:
        SetupError: two packages have one, or one package and we.
    """
    found = [entry for entry in _entries(group) if entry.name == name]
    owners = [*([OURS] if ours else []), *(owner(entry) for entry in found)]
    if len(owners) > 1 and found:
        what = "backend" if group == BACKENDS else "op"
        raise SetupError(
            Diagnostic(
                "plugin-clash",
                f"{what} `{name}` is defined by both {' and '.join(f'`{o}`' for o in owners)}",
                where,
                help="uninstall one of them",
            )
        )
    return found[0] if found else None


def load(entry: EntryPoint, where: Label | None = None) -> object:
    """What an entry stands for, imported.

    Raises:
        SetupError: whatever its import raises.
    """
    try:
        return entry.load()
    except Exception as fault:  # a plug-in may raise anything
        raise failed(entry, f"{type(fault).__name__}: {fault}", where) from fault


@cache
def load_all(group: str, name: str | None = None) -> None:
    """Import every module of a group, or those of one name, once; they register what they have.

    Raises:
        SetupError: one cannot be imported.
    """
    for entry in _entries(group):
        if name in (None, entry.name):
            load(entry)


def modules() -> list[str]:
    """The module of every entry, in all groups; nothing is imported."""
    groups = (OPS, CELLS, STRATEGIES, BACKENDS)
    return sorted({entry.module for group in groups for entry in _entries(group)})


def owner(entry: EntryPoint) -> str:
    """The package that an entry belongs to, with its version."""
    assert entry.dist is not None, "it has been found in a package"
    return f"{entry.dist.name} {entry.dist.version}"


@cache
def _entries(group: str) -> tuple[EntryPoint, ...]:
    if not _any():
        return ()
    from importlib.metadata import entry_points  # imports a package for mail, among others

    return tuple(entry_points(group=group))


@cache
def _any() -> bool:
    """Whether some package may be a plug-in: names of blocks are looked up on every `validate`.

    Reading all metadata takes 10 ms and more, and looking into the files that list entry points
    takes one. What is in an archive is left to the slow way.
    """
    for place in sys.path:
        if os.path.isfile(place):
            return True
        try:
            with os.scandir(place or os.curdir) as found:
                folders = [f.path for f in found if f.name.endswith((".dist-info", ".egg-info"))]
        except OSError:
            continue
        for folder in folders:
            try:
                with open(os.path.join(folder, "entry_points.txt"), "rb") as file:
                    if b"[cnnspec." in file.read():
                        return True
            except OSError:
                continue
    return False


def failed(entry: EntryPoint, why: str, where: Label | None = None) -> SetupError:
    """The error of a plug-in that is not what it should be; it names the package."""
    message = f"plug-in `{entry.name}` of `{owner(entry)}` cannot be used: {why}"
    value = f"it is the entry point `{entry.value}` of group `{entry.group}`"
    return SetupError(Diagnostic("plugin-failed", message, where, notes=(value,)))
