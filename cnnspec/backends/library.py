"""Helper code that emitted files carry with them, taken as text from real modules of ours.

Helpers are ordinary, typed and tested Python. To write a file, nothing of them is imported: their
source is read, the definitions in use and those they need are picked, and annotations, which
would need imports of their own, are taken out.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from cnnspec.backends.writer import WIDTH


@dataclass(frozen=True, slots=True)
class Definition:
    """A top-level function, class or constant of a helper module."""

    name: str
    text: str
    needs: frozenset[str]


class Library:
    """The definitions of some helper modules, in order."""

    def __init__(self, definitions: Iterable[Definition]) -> None:
        self._definitions: dict[str, Definition] = {}
        for definition in definitions:
            if definition.name in self._definitions:
                raise ValueError(f"two helpers are called {definition.name}")
            self._definitions[definition.name] = definition

    @staticmethod
    def read(*paths: Path) -> Library:
        """Read modules' source; nothing is imported."""
        return Library(d for path in paths for d in _definitions(path))

    @property
    def names(self) -> frozenset[str]:
        """Names of all definitions."""
        return frozenset(self._definitions)

    def closure(self, used: Iterable[str]) -> list[Definition]:
        """The definitions of these names and of all that they need, in the library's order."""
        wanted: set[str] = set()
        queue = [name for name in used if name in self._definitions]
        while queue:
            name = queue.pop()
            if name in wanted:
                continue
            wanted.add(name)
            queue.extend(n for n in self._definitions[name].needs if n in self._definitions)
        return [d for name, d in self._definitions.items() if name in wanted]


def names_in(text: str) -> frozenset[str]:
    """Every name that a piece of source mentions."""
    return frozenset(n.id for n in ast.walk(ast.parse(text)) if isinstance(n, ast.Name))


def definitions(text: str) -> frozenset[str]:
    """The names of the functions and classes that a piece of source defines."""
    kinds = (ast.FunctionDef, ast.ClassDef)
    return frozenset(s.name for s in ast.parse(text).body if isinstance(s, kinds))


@cache
def _definitions(path: Path) -> tuple[Definition, ...]:
    source = path.read_text(encoding="utf-8")
    found = []
    for statement in ast.parse(source).body:
        if isinstance(statement, (ast.FunctionDef, ast.ClassDef)):
            name = statement.name
        elif isinstance(statement, ast.Assign) and isinstance(statement.targets[0], ast.Name):
            name = statement.targets[0].id
        elif isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
            name = statement.target.id
        else:
            continue
        text = strip_annotations(_segment(source, statement))
        found.append(Definition(name, text, names_in(text) - {name}))
    return tuple(found)


def _segment(source: str, statement: ast.stmt) -> str:
    lines = source.splitlines()
    first = statement.lineno
    if isinstance(statement, (ast.FunctionDef, ast.ClassDef)) and statement.decorator_list:
        first = statement.decorator_list[0].lineno
    assert statement.end_lineno is not None
    return "\n".join(lines[first - 1 : statement.end_lineno])


def strip_annotations(text: str) -> str:
    """The same source without annotations; comments and layout stay."""
    tree = ast.parse(text)
    lines = text.splitlines(keepends=True)
    starts = [0]
    for line in lines:
        starts.append(starts[-1] + len(line))

    def offset(line: int | None, column: int | None) -> int:
        # `ast` counts columns in UTF-8 bytes.
        assert line is not None
        assert column is not None
        return starts[line - 1] + len(lines[line - 1].encode()[:column].decode())

    cuts: list[tuple[int, int]] = []
    headers: list[tuple[int, int]] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef):
            arguments = node.args
            every = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
            every += [a for a in (arguments.vararg, arguments.kwarg) if a is not None]
            for argument in every:
                if argument.annotation is not None:
                    start = offset(argument.lineno, argument.col_offset) + len(argument.arg)
                    end = offset(argument.end_lineno, argument.end_col_offset)
                    if text[end : end + 3] == " = ":  # a default has no spaces without annotation
                        cuts.append((end + 2, end + 3))
                        end += 1
                    cuts.append((start, end))
            start = offset(node.lineno, node.col_offset)
            body = offset(node.body[0].lineno, 0)
            if node.returns is not None:
                end = offset(node.returns.end_lineno, node.returns.end_col_offset)
                arrow = text.rindex(
                    "->", start, offset(node.returns.lineno, node.returns.col_offset)
                )
                cuts.append((len(text[:arrow].rstrip()), end))
            headers.append((start, body))
        elif isinstance(node, ast.AnnAssign):
            if node.value is None:
                start = offset(node.lineno, 0)
                cuts.append((start, offset(node.end_lineno, node.end_col_offset) + 1))
            else:
                start = offset(node.target.end_lineno, node.target.end_col_offset)
                cuts.append(
                    (start, offset(node.annotation.end_lineno, node.annotation.end_col_offset))
                )
    edits: list[tuple[int, int, str]] = []
    for start, end in headers:
        inside = [c for c in cuts if start <= c[0] and c[1] <= end]
        cuts = [c for c in cuts if c not in inside]
        header = _cut(text[start:end], [(a - start, b - start) for a, b in inside])
        column = start - (text.rfind("\n", 0, start) + 1)
        edits.append((start, end, _join_header(header, column)))
    edits += [(start, end, "") for start, end in cuts]
    for start, end, replacement in sorted(edits, reverse=True):
        text = text[:start] + replacement + text[end:]
    return text


def _cut(text: str, cuts: list[tuple[int, int]]) -> str:
    for start, end in sorted(cuts, reverse=True):
        text = text[:start] + text[end:]
    return text


def _join_header(header: str, column: int) -> str:
    """A signature on one line where it now fits."""
    stripped = header.rstrip()
    if "\n" not in stripped or "#" in stripped:
        return header
    joined = re.sub(r"\s*\n\s*", " ", stripped).replace("( ", "(")
    joined = re.sub(r",? \):", "):", joined)
    if column + len(joined) <= WIDTH:
        return joined + header[len(stripped) :]
    return header
