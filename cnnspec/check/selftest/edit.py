"""Edits of emitted text that keep track of where each layer stands in it."""

from __future__ import annotations

import ast
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from cnnspec.backends.base import Emitted, Place, Range


class EditError(Exception):
    """An edit that does not apply, or after which a layer cannot be found in the text."""


@dataclass(frozen=True, slots=True, order=True)
class Edit:
    """One replacement in a text.

    Attributes:
        start: of what is replaced, in bytes of UTF-8 (as `ast` counts columns).
        end: of it, exclusive.
        new: what stands there instead.
    """

    start: int
    end: int
    new: str


class Text:
    """A text, by byte offsets as well as by lines and columns."""

    def __init__(self, text: str) -> None:
        self.data = text.encode()
        self._starts = [0]
        for line in self.data.splitlines(keepends=True):
            self._starts.append(self._starts[-1] + len(line))

    def offset(self, line: int, column: int) -> int:
        """Of a position as `ast` has it."""
        return self._starts[line - 1] + column

    def span(self, node: ast.AST) -> tuple[int, int]:
        """Start and end of an expression or statement."""
        assert isinstance(node, (ast.expr, ast.stmt, ast.keyword, ast.arg))
        assert node.end_lineno is not None
        assert node.end_col_offset is not None
        start = self.offset(node.lineno, node.col_offset)
        return start, self.offset(node.end_lineno, node.end_col_offset)

    def source(self, node: ast.AST) -> str:
        """The text of an expression or statement."""
        start, end = self.span(node)
        return self.data[start:end].decode()

    def ends(self, place: Range) -> tuple[int, int]:
        """Start and end of a range."""
        start = self.offset(place.line, place.column)
        return start, self.offset(place.end_line, place.end_column)

    def range(self, start: int, end: int) -> Range:
        """Lines and columns of what lies between two offsets."""
        first, last = (bisect_right(self._starts, at) for at in (start, end))
        return Range(first, start - self._starts[first - 1], last, end - self._starts[last - 1])


def replaced(text: str, old: str, new: str, count: int = 1) -> list[Edit]:
    """The edits that replace every occurrence of a piece of text by another, where they differ.

    Raises:
        EditError: it does not occur so many times.
    """
    data, piece = text.encode(), old.encode()
    before = _shared(old, new)
    behind = _shared(old[before:][::-1], new[before:][::-1])
    changed = new[before : len(new) - behind]
    first, last = len(old[:before].encode()), len(old[len(old) - behind :].encode())
    found, at = [], data.find(piece)
    while at >= 0:
        found.append(Edit(at + first, at + len(piece) - last, changed))
        at = data.find(piece, at + len(piece))
    if len(found) != count:
        raise EditError(f"{old!r} occurs {len(found)} times, not {count}")
    return found


def _shared(a: str, b: str) -> int:
    """How many characters two texts have in common at their start."""
    differing = (i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y)
    return next(differing, min(len(a), len(b)))


def edited(emitted: Emitted, edits: Sequence[Edit]) -> Emitted:
    """The same program in edited text, with its layers where they stand now.

    A layer's expression may be edited inside, at its ends, or replaced as a whole. Where an input
    of a layer goes with what is replaced, the one expression like it in the layer's new text takes
    its place.

    Args:
        emitted: what a back end wrote.
        edits: that do not overlap.

    Raises:
        EditError: an edit cuts a layer's expression in two, or its input cannot be found again.
    """
    before = Text(emitted.text)
    parts, at = [], 0
    for edit in sorted(edits):
        if edit.start < at:
            raise EditError("two edits overlap")
        parts += [before.data[at : edit.start], edit.new.encode()]
        at = edit.end
    text = b"".join([*parts, before.data[at:]]).decode()
    lines = _Moved(before, sorted(edits), text).places(emitted.lines)
    return replace(emitted, text=text, lines=lines)


class _Moved:
    """Where ranges of a text are after edits."""

    def __init__(self, before: Text, edits: Sequence[Edit], text: str) -> None:
        self.before, self.edits, self.after = before, edits, Text(text)
        self.tree = ast.parse(text)

    def places(self, lines: Mapping[str, Place]) -> dict[str, Place]:
        """Of all layers."""
        wholes = {place.range for place in lines.values()}
        return {id: self._place(id, place, wholes) for id, place in lines.items()}

    def _place(self, id: str, place: Place, wholes: set[Range]) -> Place:
        own = self._range(place.range, absorbs=True)
        if own is None:
            raise EditError(f"the edit cuts through what computes `{id}`")
        inputs = []
        for part in place.inputs:
            moved = self._range(part, absorbs=part in wholes)
            inputs.append(moved or self._again(id, part, own))
        return replace(place, range=own, inputs=tuple(inputs))

    def _range(self, place: Range, *, absorbs: bool) -> Range | None:
        """A range in the new text; None where an edit goes across one of its ends.

        With `absorbs` what is inserted right before or behind it becomes a part of it.
        """
        start, end = self.before.ends(place)
        moved_start, moved_end = start, end
        for edit in self.edits:
            longer = len(edit.new.encode()) - (edit.end - edit.start)
            if edit.start == edit.end and edit.start in (start, end):
                inside = absorbs
                moved_start += longer if edit.start == start and not inside else 0
                moved_end += longer if edit.start == start or inside else 0
            elif edit.end <= start:
                moved_start, moved_end = moved_start + longer, moved_end + longer
            elif start <= edit.start and edit.end <= end:
                moved_end += longer
            elif edit.start < end:
                return None
        return self.after.range(moved_start, moved_end)

    def _again(self, id: str, part: Range, own: Range) -> Range:
        """The one expression in the layer's new text that reads like this input."""
        start, end = self.before.ends(part)
        wanted = ast.dump(ast.parse(self.before.data[start:end].decode(), mode="eval").body)
        first, last = self.after.ends(own)
        found = [span for node, span in self._expressions(first, last) if ast.dump(node) == wanted]
        if len(found) != 1:
            raise EditError(f"the edit leaves {len(found)} inputs like that of `{id}`")
        return self.after.range(*found[0])

    def _expressions(self, first: int, last: int) -> Iterator[tuple[ast.expr, tuple[int, int]]]:
        for node in ast.walk(self.tree):
            if isinstance(node, ast.expr):
                start, end = self.after.span(node)
                if first <= start and end <= last:
                    yield node, (start, end)


__all__ = ["Edit", "EditError", "Text", "edited", "replaced"]
