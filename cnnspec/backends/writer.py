"""Writes Python: literals, calls, wrapped lines, and the range of every node's expression.

A node's expression is marked with private-use characters while text is put together; `finish`
takes the marks out again and notes where they stood. Everything from a spec passes `literal`,
whose output is ASCII, so nothing in a spec can look like a mark.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from cnnspec.backends.base import Range

WIDTH = 100
INDENT = "    "

_OPEN, _NAME_END, _CLOSE = "\ue000", "\ue001", "\ue002"


class Code(str):
    """Source text, as opposed to a value that still has to pass `literal`."""

    __slots__ = ()


def literal(value: object) -> Code:
    """Source of a constant: None, bool, int, finite float, str, or a tuple of these.

    Raises:
        TypeError: for anything else; a spec can put nothing else into source.
    """
    if value is None or isinstance(value, bool):
        return Code(repr(value))
    if isinstance(value, Code):
        raise TypeError("this is source already")
    if isinstance(value, int):
        return Code(repr(int(value)))
    if isinstance(value, float):
        if not math.isfinite(value):
            raise TypeError(f"{value!r} is not finite")
        return Code(repr(float(value)))
    if isinstance(value, str):
        return Code(_quote(value))
    if isinstance(value, tuple):
        entries = [literal(v) for v in value]
        return Code(f"({entries[0]},)" if len(entries) == 1 else f"({', '.join(entries)})")
    raise TypeError(f"{type(value).__name__} cannot be written into source")


def _quote(text: str) -> str:
    quoted = ascii(text)
    if quoted[0] == "'" and '"' not in quoted:
        inner = quoted[1:-1].replace("\\'", "'")
        return f'"{inner}"'
    return quoted


def code(value: object) -> Code:
    """Source as it is, values through `literal`."""
    return value if isinstance(value, Code) else literal(value)


def call(function: str, *args: object, **kwargs: object) -> Code:
    """`function(a, b, key=c)`."""
    parts = [*(code(a) for a in args), *(f"{key}={code(value)}" for key, value in kwargs.items())]
    return Code(f"{function}({', '.join(parts)})")


def mark(name: str, expression: str) -> Code:
    """The expression, with its range noted under this name."""
    return Code(f"{_OPEN}{name}{_NAME_END}{expression}{_CLOSE}")


def unmarked(text: str) -> str:
    """Text without its marks."""
    if _OPEN not in text:
        return text
    return "".join(_plain(text))


def _plain(text: str) -> Iterator[str]:
    inside = False
    for character in text:
        if character == _OPEN:
            inside = True
        elif character == _NAME_END:
            inside = False
        elif character != _CLOSE and not inside:
            yield character


@dataclass(slots=True)
class Writer:
    """Collects lines of source, indented and wrapped."""

    width: int = WIDTH
    depth: int = 0
    lines: list[str] = field(default_factory=list)

    def line(self, text: str = "") -> None:
        """One statement, wrapped where it is too long; without text, an empty line."""
        if not text:
            self.lines.append("")
            return
        self.lines.extend(wrap(text, self.depth * len(INDENT), self.width))

    def block(self, text: str) -> None:
        """Lines that are laid out already."""
        for entry in text.splitlines():
            self.lines.append(INDENT * self.depth + entry if entry else "")

    @contextmanager
    def indented(self, header: str) -> Iterator[None]:
        """A compound statement: its header now, its body inside."""
        self.line(header)
        self.depth += 1
        yield
        self.depth -= 1

    def blank(self, count: int = 1) -> None:
        """Empty lines, never more in a row than asked for."""
        while self.lines and not self.lines[-1]:
            self.lines.pop()
        self.lines.extend([""] * count)

    def finish(self) -> tuple[str, dict[str, Range]]:
        """The text, and the range of every mark."""
        while self.lines and not self.lines[-1]:
            self.lines.pop()
        ranges: dict[str, Range] = {}
        open_marks: list[tuple[str, int, int]] = []
        out = []
        for number, marked in enumerate(self.lines, start=1):
            plain: list[str] = []
            position = 0
            while position < len(marked):
                character = marked[position]
                if character == _OPEN:
                    end = marked.index(_NAME_END, position)
                    open_marks.append((marked[position + 1 : end], number, len(plain)))
                    position = end
                elif character == _CLOSE:
                    name, line, column = open_marks.pop()
                    if name in ranges:
                        raise ValueError(f"{name} is marked twice")
                    ranges[name] = Range(line, column, number, len(plain))
                else:
                    plain.append(character)
                position += 1
            out.append("".join(plain))
        if open_marks:
            raise ValueError(f"unclosed marks: {open_marks}")
        return "\n".join(out) + "\n", ranges


def wrap(text: str, indent: int, width: int = WIDTH) -> list[str]:
    """Lay a statement out over lines the way formatters do: brackets first, then one entry a line."""
    pad = " " * indent
    if indent + len(unmarked(text)) <= width:
        return [pad + text]
    group = _outer_group(text)
    if group is None:
        return [pad + text]
    start, end = group
    head, body, tail = text[: start + 1], text[start + 1 : end], text[end:]
    inner = indent + len(INDENT)
    if inner + len(unmarked(body)) <= width and not body.endswith(","):
        lines = [" " * inner + body.strip()]
    else:
        lines = []
        for entry in _entries(body):
            lines.extend(wrap(f"{entry},", inner, width))
    return [pad + head, *lines, *wrap(tail, indent, width)]


def _scan(text: str) -> Iterator[tuple[int, str, int]]:
    """Position, character and bracket depth of every character outside strings and marks."""
    depth = 0
    quote = ""
    position = 0
    while position < len(text):
        character = text[position]
        if character == _OPEN:
            position = text.index(_NAME_END, position) + 1
            continue
        if quote:
            if character == "\\":
                position += 1
            elif character == quote:
                quote = ""
        elif character in "\"'":
            quote = character
        else:
            if character in ")]}":
                depth -= 1
            yield position, character, depth
            if character in "([{":
                depth += 1
        position += 1


def _outer_group(text: str) -> tuple[int, int] | None:
    """The last outermost bracket pair with something in it, which is the one to open up."""
    found: tuple[int, int] | None = None
    start = -1
    for position, character, depth in _scan(text):
        if depth == 0 and character in "([{":
            start = position
        elif depth == 0 and character in ")]}" and unmarked(text[start + 1 : position]):
            found = (start, position)
    if found is None:
        return None
    # A call on a call, layers.Conv2D(...)(x): open the long arguments, not the short ones.
    longest = found
    start = -1
    for position, character, depth in _scan(text):
        if depth == 0 and character in "([{":
            start = position
        elif depth == 0 and character in ")]}" and position - start > longest[1] - longest[0]:
            longest = (start, position)
    return longest


def _entries(body: str) -> list[str]:
    """The comma-separated entries of a bracket's inside."""
    found = []
    start = 0
    for position, character, depth in _scan(body):
        if character == "," and depth == 0:
            found.append(body[start:position].strip())
            start = position + 1
    last = body[start:].strip()
    if unmarked(last):
        found.append(last)
    elif last:
        found[-1] += last
    return found
