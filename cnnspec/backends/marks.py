"""Marks: where a node's expression begins and ends, carried through layout as private characters.

Everything from a spec passes `literal`, whose output is ASCII, so nothing in a spec can look like
a mark.
"""

from __future__ import annotations

from collections.abc import Iterator

OPEN, NAME_END, CLOSE = "\ue000", "\ue001", "\ue002"


def marked(name: str, expression: str) -> str:
    """The expression, with its range noted under this name."""
    return f"{OPEN}{name}{NAME_END}{expression}{CLOSE}"


def unmarked(text: str) -> str:
    """Text without its marks; a line may hold one end of a mark only."""
    if OPEN not in text and CLOSE not in text:
        return text
    return "".join(_plain(text))


def _plain(text: str) -> Iterator[str]:
    inside = False
    for character in text:
        if character == OPEN:
            inside = True
        elif character == NAME_END:
            inside = False
        elif character != CLOSE and not inside:
            yield character
