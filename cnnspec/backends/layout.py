"""Lays a long statement out over lines, as `ruff format` would lay out the same statement.

A statement is read into pieces: code, strings, and brackets with entries, which are again lists of
pieces. A bracket stays on its line if it and what follows it fit, up to the next place where the
line may break; else it opens. Arguments then share one line where they fit there, the entries of
a list, tuple or dict get a line each.
"""

from __future__ import annotations

import keyword
import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from cnnspec.backends.marks import NAME_END, OPEN, unmarked

WIDTH = 100
INDENT = "    "

_PAIRS = {"(": ")", "[": "]", "{": "}"}
_STATEMENT = re.compile(r"(return |raise |[^=(\[{]* = )")
_CLAUSE = re.compile(r" (?=for |if )")
# From the loosest to the tightest; those of one row bind alike.
_OPERATORS = (
    r" (?=or )",
    r" (?=and )",
    r" (?=(?:[<>=!]=|[<>]) )",
    r" (?=[+-] )",
    r" (?=(?://|[*/%]) )",
)


class _Text(str):
    """Code without brackets."""

    __slots__ = ()


class _Quoted(str):
    """A string, which nothing looks into."""

    __slots__ = ()


@dataclass(slots=True)
class _Bracket:
    """A bracket: its entries, and whether it belongs to a name, as arguments do.

    Attributes:
        opening: its first character.
        arguments: whether entries may share a line when it is open.
        subscript: whether a comma behind the last entry would change what it means.
        entries: each a list of pieces.
        comma: whether a comma follows the last entry; one is the mark of a tuple with one entry,
            or else asks for an open bracket.
    """

    opening: str
    arguments: bool = False
    subscript: bool = False
    entries: list[list[_Piece]] = field(default_factory=list)
    comma: bool = False

    @property
    def closing(self) -> str:
        return _PAIRS[self.opening]

    @property
    def forced(self) -> bool:
        """Whether it is open even if it would fit."""
        alone = self.opening == "(" and not self.arguments and len(self.entries) == 1
        if self.comma and not alone:
            return True
        return any(
            isinstance(piece, _Bracket) and piece.forced
            for entry in self.entries
            for piece in entry
        )


_Piece = _Text | _Quoted | _Bracket


def lay_out(text: str, indent: int, width: int = WIDTH) -> list[str]:
    """The lines of a statement that starts at this column."""
    pad = " " * indent
    # A comma in front of a closing bracket may ask for lines that would not be needed.
    if indent + len(unmarked(text)) <= width and not re.search(r",[\ue002]*[\])}]", text):
        return [pad + text]
    if text.startswith(('"""', 'f"""', "@")):
        return [pad + text]
    pieces = _read(text)
    lines: list[str] = []
    wrapped = _parenthesized(text, pieces, indent, width)
    line = _sequence(pieces if wrapped is None else wrapped, pad, indent, "", width, lines)
    return [*lines, line]


# --- reading -----------------------------------------------------------------------------------


def _read(text: str) -> list[_Piece]:
    root = _Bracket("(", entries=[[]])
    stack = [root]
    start = position = 0

    def flush(end: int) -> None:
        if text[start:end]:
            stack[-1].entries[-1].append(_Text(text[start:end]))

    while position < len(text):
        character = text[position]
        if character == OPEN:
            position = text.index(NAME_END, position)
        elif character in "\"'":
            flush(position)
            end = _end_of_string(text, position)
            stack[-1].entries[-1].append(_Quoted(text[position:end]))
            start, position = end, end - 1
        elif character in _PAIRS:
            flush(position)
            bracket = _bracket(character, unmarked(text[:position]))
            stack[-1].entries[-1].append(bracket)
            bracket.entries.append([])
            stack.append(bracket)
            start = position + 1
        elif character in ")]}":
            flush(position)
            _finish(stack.pop())
            start = position + 1
        elif character == "," and len(stack) > 1:
            flush(position)
            if _in_target(stack[-1].entries[-1]):
                start = position
                position += 1
                continue
            stack[-1].entries.append([])
            start = position + 1
            while text[start : start + 1] == " ":
                start += 1
            position = start - 1
        position += 1
    flush(position)
    return root.entries[0]


def _bracket(opening: str, before: str) -> _Bracket:
    word = re.search(r"(\w+|[)\]\"'])$", before)
    follows = word is not None and not keyword.iskeyword(word[1])
    return _Bracket(opening, follows and opening == "(", follows and opening == "[")


def _in_target(entry: Sequence[_Piece]) -> bool:
    """Whether a comma stands between the names that a comprehension assigns to."""
    code = "".join(piece if isinstance(piece, _Text) else "_" for piece in entry)
    return " in " not in code.rpartition(" for ")[2] and " for " in code


def _finish(bracket: _Bracket) -> None:
    last = bracket.entries[-1]
    if unmarked(_flat(last)).strip():
        return
    bracket.entries.pop()
    if bracket.entries:
        bracket.comma = True
        bracket.entries[-1].extend(last)  # ends of marks


def _end_of_string(text: str, start: int) -> int:
    quote = text[start]
    position = start + 1
    while text[position] != quote:
        position += 2 if text[position] == "\\" else 1
    return position + 1


# --- writing -----------------------------------------------------------------------------------


def _flat(pieces: Sequence[_Piece]) -> str:
    found = []
    for piece in pieces:
        if not isinstance(piece, _Bracket):
            found.append(str(piece))
            continue
        inside = ", ".join(_flat(entry) for entry in piece.entries)
        comma = "," if piece.comma and len(piece.entries) == 1 else ""
        found.append(f"{piece.opening}{inside}{comma}{piece.closing}")
    return "".join(found)


def _size(text: str) -> int:
    return len(unmarked(text))


def _sequence(
    pieces: Sequence[_Piece], line: str, indent: int, after: str, width: int, lines: list[str]
) -> str:
    """Put pieces behind `line`; finished lines go to `lines`, the last one is returned."""
    for index, piece in enumerate(pieces):
        if not isinstance(piece, _Bracket):
            line += piece
            continue
        flat = _flat([piece])
        rest = _up_to_break(pieces[index + 1 :], after)
        if not piece.entries or (
            not piece.forced and _size(line) + _size(flat) + _size(rest) <= width
        ):
            line += flat
            continue
        lines.append(line + piece.opening)
        lines.extend(_inside(piece, indent + len(INDENT), width))
        line = " " * indent + piece.closing
    return line


def _up_to_break(pieces: Sequence[_Piece], after: str) -> str:
    """What has to stay on the line: everything up to the next bracket that could open."""
    found = ""
    for piece in pieces:
        if isinstance(piece, _Bracket) and piece.entries:
            return found + piece.opening
        found += _flat([piece])
    return found + after


def _inside(bracket: _Bracket, indent: int, width: int) -> list[str]:
    pad = " " * indent
    flat = [_flat(entry) for entry in bracket.entries]
    one = pad + ", ".join(flat)
    fits = _size(one) <= width and not bracket.forced
    single = len(flat) == 1 and not bracket.comma
    if single:
        clauses = _split(bracket.entries[0], _CLAUSE)
        if len(clauses) > 1:
            if fits:
                return [one]
            return [line for clause in clauses for line in _entry(clause, indent, "", width)]
        if bracket.subscript or (bracket.opening == "(" and not bracket.arguments):
            return _entry(bracket.entries[0], indent, "", width)
    if bracket.arguments and fits:
        return [one]
    return [line for entry in bracket.entries for line in _entry(entry, indent, ",", width)]


def _entry(entry: Sequence[_Piece], indent: int, after: str, width: int) -> list[str]:
    """One entry of an open bracket; operators begin a line where they have to."""
    pad = " " * indent
    whole = pad + _flat(entry) + after
    forced = any(isinstance(piece, _Bracket) and piece.forced for piece in entry)
    if _size(whole) <= width and not forced:
        return [whole]
    lines: list[str] = []
    parts = _operands(entry)
    for index, part in enumerate(parts):
        end = after if index == len(parts) - 1 else ""
        lines.append(_sequence(part, pad, indent, end, width, lines) + end)
    return lines


def _operands(pieces: Sequence[_Piece]) -> list[list[_Piece]]:
    """Split in front of the loosest operators."""
    for operators in _OPERATORS:
        parts = _split(pieces, re.compile(operators))
        if len(parts) > 1:
            return parts
    return [list(pieces)]


def _split(pieces: Sequence[_Piece], separator: re.Pattern[str]) -> list[list[_Piece]]:
    parts: list[list[_Piece]] = [[]]
    for piece in pieces:
        if not isinstance(piece, _Text):
            parts[-1].append(piece)
            continue
        first, *others = separator.split(piece)
        parts[-1].append(_Text(first))
        parts.extend([_Text(other)] for other in others)
    return parts


def _parenthesized(text: str, pieces: list[_Piece], indent: int, width: int) -> list[_Piece] | None:
    """The statement with brackets round its value, where nothing in it could open instead."""
    found = _STATEMENT.match(unmarked(text))
    if found is None or not isinstance(pieces[0], _Text):
        return None
    size = len(found[1])
    # The head has no mark in it, since marks stand on values.
    head, first = _Text(pieces[0][:size]), _Text(pieces[0][size:])
    value: list[_Piece] = [first, *pieces[1:]]
    entries = _split(value, re.compile(", "))
    if len(entries) > 1:
        return [head, _Bracket("(", entries=entries)]
    brackets = [piece for piece in value if isinstance(piece, _Bracket) and piece.entries]
    operands = _operands(value)
    ends = isinstance(value[-1], _Bracket) or (
        not unmarked(_flat(value[-1:])) and len(value) > 1 and isinstance(value[-2], _Bracket)
    )
    if len(operands) > 2 or (len(operands) == 2 and not ends):
        return [head, _Bracket("(", entries=[value])]
    if not brackets and indent + len(INDENT) + _size(_flat(value)) <= width:
        return [head, _Bracket("(", entries=[value])]
    if brackets and indent + _size(head) + _size(_up_to_break(value, "")) > width:
        return [head, _Bracket("(", entries=[value])]  # not even the call's name fits
    return None
