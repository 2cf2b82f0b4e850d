"""Values of a spec that hold expressions: `$name` and `$(...)` in strings, lists and mappings."""

from __future__ import annotations

import ast
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field

from cnnspec.document import Path
from cnnspec.expression_parser import MOST_CHARACTERS, Parser
from cnnspec.expressions import Expression, ExpressionError
from cnnspec.faults import Faults

__all__ = ["FAULT", "Known", "Template", "evaluate", "names_in", "python_text", "resolve"]

_DOLLAR = re.compile(r"\$(?:(?P<escaped>\$)|(?P<name>(?=[A-Za-z_]))|(?P<open>(?=\()))?")


class Fault:
    """Stands for a value that could not be found, whose fault is told already."""


FAULT = Fault()


@dataclass(slots=True)
class Known:
    """The parameters that an expression may read.

    Attributes:
        constants: those of the whole network, with their values.
        local: the names of those of the block around, and of `index` and `count`.
        used: the local names that some expression has read.
        used_constants: the same of constants, in all of the spec.
    """

    constants: Mapping[str, object] = field(default_factory=dict)
    local: Collection[str] = ()
    used: set[str] = field(default_factory=set)
    used_constants: set[str] = field(default_factory=set)

    def with_index(self) -> Known:
        """The same inside a repeated layer."""
        local = (*self.local, "index", "count")
        return Known(self.constants, local, self.used, self.used_constants)

    def of_block(self, local: Collection[str]) -> Known:
        """For the text of a block with these parameters."""
        return Known(self.constants, local, set(), self.used_constants)


@dataclass(frozen=True, slots=True, eq=False)
class Template:
    """A string with expressions in it that read parameters of a block, or `index` or `count`.

    Attributes:
        path: of the string in the document.
        pieces: plain text and expressions, in order.
        names: that the expressions read.
    """

    path: Path
    pieces: tuple[str | Expression, ...]
    names: frozenset[str]

    @property
    def text(self) -> str:
        """It in Python: the expression, or an f-string."""
        if len(self.pieces) == 1 and isinstance(self.pieces[0], Expression):
            return self.pieces[0].text
        parts: list[ast.expr] = [
            ast.FormattedValue(piece.tree, -1)
            if isinstance(piece, Expression)
            else ast.Constant(piece)
            for piece in self.pieces
        ]
        return ast.unparse(ast.JoinedStr(parts))

    @property
    def named(self) -> str:
        """What is inside the quotes of its f-string, for names: `denselayer{index + 1}`."""
        return "".join(
            f"{{{piece.text}}}" if isinstance(piece, Expression) else piece for piece in self.pieces
        )

    def value(self, values: Mapping[str, object]) -> object:
        """The value for these parameters.

        Raises:
            ExpressionError: see `Expression.value`; a list stands inside a longer text.
        """
        return _value(self.pieces, values)


def resolve(faults: Faults, value: object, path: Path, known: Known) -> object:
    """A value in which every string with a `$` is a template, or its value where that is constant.

    A part with a fault, which is reported, is `FAULT`.
    """
    if isinstance(value, str):
        return _read(faults, value, path, known) if "$" in value else value
    if isinstance(value, tuple):
        entries = tuple(resolve(faults, v, (*path, i), known) for i, v in enumerate(value))
        return FAULT if any(entry is FAULT for entry in entries) else entries
    if isinstance(value, dict):
        found = {name: resolve(faults, v, (*path, name), known) for name, v in value.items()}
        return FAULT if any(entry is FAULT for entry in found.values()) else found
    return value


def templates(value: object) -> Iterator[Template]:
    """Every template in a value."""
    if isinstance(value, Template):
        yield value
    elif isinstance(value, tuple):
        for entry in value:
            yield from templates(entry)
    elif isinstance(value, dict):
        for entry in value.values():
            yield from templates(entry)


def names_in(value: object) -> frozenset[str]:
    """The parameters that a value depends on."""
    return frozenset().union(*(template.names for template in templates(value)))


def evaluate(faults: Faults, value: object, values: Mapping[str, object]) -> object:
    """The plain value for these parameters; `FAULT` with a fault that is reported."""
    if isinstance(value, Template):
        try:
            return value.value(values)
        except ExpressionError as error:
            _report(faults, error, value.path)
            return FAULT
    if isinstance(value, tuple):
        entries = tuple(evaluate(faults, entry, values) for entry in value)
        return FAULT if any(entry is FAULT for entry in entries) else entries
    if isinstance(value, dict):
        found = {name: evaluate(faults, entry, values) for name, entry in value.items()}
        return FAULT if any(entry is FAULT for entry in found.values()) else found
    return value


def python_text(value: object) -> str | None:
    """A value in Python; None where it is constant, or a mapping, which has no spelling."""
    if isinstance(value, dict) or next(templates(value), None) is None:
        return None
    return _python(value)


def _python(value: object) -> str:
    if isinstance(value, Template):
        return value.text
    if isinstance(value, tuple):
        entries = ", ".join(_python(entry) for entry in value)
        return f"({entries},)" if len(value) == 1 else f"({entries})"
    return repr(value)


def _read(faults: Faults, text: str, path: Path, known: Known) -> object:
    try:
        pieces = _pieces(text, known)
        names = frozenset().union(*(p.names for p in pieces if isinstance(p, Expression)))
        return Template(path, pieces, names) if names else _value(pieces, {})
    except ExpressionError as error:
        _report(faults, error, path)
        return FAULT


def _pieces(text: str, known: Known) -> tuple[str | Expression, ...]:
    if len(text) > MOST_CHARACTERS:
        raise ExpressionError(
            f"a text with expressions has at most {MOST_CHARACTERS} characters",
            0,
            len(text),
            code="expression-too-large",
        )
    pieces: list[str | Expression] = []
    plain, at = "", 0
    while (found := _DOLLAR.search(text, at)) is not None:
        plain += text[at : found.start()]
        at = found.end()
        if found["escaped"] is not None:
            plain += "$"
            continue
        if found["name"] is None and found["open"] is None:
            raise ExpressionError(
                "a `$` is followed by the name of a parameter, or by an expression in brackets",
                found.start(),
                found.start() + 1,
                "`$$` is a dollar",
                code="expression-syntax",
            )
        parser = Parser(text, at, known.local, known.constants)
        expression = parser.name() if found["name"] is not None else parser.parenthesized()
        known.used |= parser.names
        known.used_constants |= parser.used_constants
        at = parser.end
        if plain:
            pieces.append(plain)
            plain = ""
        pieces.append(expression)
    plain += text[at:]
    if plain or not pieces:
        pieces.append(plain)
    return tuple(pieces)


def _value(pieces: tuple[str | Expression, ...], values: Mapping[str, object]) -> object:
    if len(pieces) == 1:
        (piece,) = pieces
        return piece.value(values) if isinstance(piece, Expression) else piece
    return "".join(p if isinstance(p, str) else _inserted(p, values) for p in pieces)


def _inserted(expression: Expression, values: Mapping[str, object]) -> str:
    value = expression.value(values)
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, tuple):
        tree = expression.tree
        raise ExpressionError(
            "a list cannot stand inside a text",
            tree.col_offset,
            tree.end_col_offset or tree.col_offset,
            code="expression-type",
        )
    return str(value)


def _report(faults: Faults, error: ExpressionError, path: Path) -> None:
    code, within = error.code, (error.start, error.end)
    faults.add(code, path, error.message, help=error.help, within=within)
