"""Layers that do not start like others of their class: one by one, or by their name in a block."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

FEWEST = 3
"""So many layers of one name that start alike are worth a loop over names."""


def by_name(
    exceptions: Sequence[tuple[str, str]], every: Iterable[str]
) -> tuple[dict[str, list[str]], list[tuple[str, str]]]:
    """Exceptions that all layers of a name in some block share, and the others.

    Args:
        exceptions: id of a layer and the statement that it needs, over any layer.
        every: the ids of all layers with parameters.

    Returns:
        The end of a path, such as `.bn3`, to its statements; and the rest.
    """
    ids: dict[str, set[str]] = {}
    for id in every:
        ids.setdefault(_end(id), set()).add(id)
    having: dict[tuple[str, str], set[str]] = {}
    for id, statement in exceptions:
        having.setdefault((_end(id), statement), set()).add(id)
    found: dict[str, list[str]] = {}
    for (end, statement), members in having.items():
        if end and len(members) >= FEWEST and members == ids[end]:
            found.setdefault(end, []).append(statement)
    rest = [(id, line) for id, line in exceptions if line not in found.get(_end(id), [])]
    return found, rest


def _end(id: str) -> str:
    """The name of a layer with the dot before it; with what holds it where it is a position."""
    path, _, name = id.rpartition(".")
    if not path:
        return ""
    if name.isdigit():
        path, _, holder = path.rpartition(".")
        return f".{holder}.{name}" if path and not holder.isdigit() else ""
    return f".{name}"
