"""Writes Python: literals, calls, wrapped lines, and the range of every node's expression.

A node's expression is marked while text is put together; `finish` takes the marks out again and
notes where they stood.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from cnnspec.backends.base import Range
from cnnspec.backends.layout import INDENT, WIDTH, lay_out
from cnnspec.backends.marks import CLOSE, NAME_END, OPEN, marked, unmarked

__all__ = [
    "INDENT",
    "WIDTH",
    "Call",
    "Code",
    "Writer",
    "apply",
    "call",
    "code",
    "literal",
    "mark",
    "unmarked",
]


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


class Call(Code):
    """A call as source, which still knows its function and its arguments.

    Attributes:
        function: as written, or a call whose result is called.
        args: positional ones, values or `Code`.
        kwargs: the others.
    """

    function: str
    args: tuple[object, ...]
    kwargs: dict[str, object]


def call(function: str, *args: object, **kwargs: object) -> Call:
    """`function(a, b, key=c)`."""
    parts = [*(code(a) for a in args), *(f"{key}={code(value)}" for key, value in kwargs.items())]
    made = Call(f"{function}({', '.join(parts)})")
    made.function, made.args, made.kwargs = function, args, kwargs
    return made


def apply(function: str, *args: object) -> Call:
    """The call of a layer: `layers.ReLU()(x)`."""
    return call(function, *args)


def mark(name: str, expression: str) -> Code:
    """The expression, with its range noted under this name."""
    return Code(marked(name, expression))


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
        self.lines.extend(lay_out(text, self.depth * len(INDENT), self.width))

    def fits(self, text: str) -> bool:
        """Whether a statement would stay on one line."""
        return self.depth * len(INDENT) + len(unmarked(text)) <= self.width

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
        for number, source in enumerate(self.lines, start=1):
            if OPEN not in source and CLOSE not in source:
                out.append(source)
                continue
            plain: list[str] = []
            position = 0
            while position < len(source):
                character = source[position]
                if character == OPEN:
                    end = source.index(NAME_END, position)
                    open_marks.append((source[position + 1 : end], number, len(plain)))
                    position = end
                elif character == CLOSE:
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
