"""Expressions in a spec: what stands after `$` and in `$(...)`.

The language is a small part of Python's: numbers, texts, parameters, `+ - * / // %`, comparisons,
`and or not`, `a if c else b`, `min` and `max`. The tree is one of Python's own `ast`, so that
emitted source can be written from it, but it is never handed to `eval`: every type is checked here,
and values are bounded, because the text is untrusted.
"""

from __future__ import annotations

import ast
import math
import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

from cnnspec.quote import quoted

__all__ = [
    "ARITHMETIC",
    "COMPARISONS",
    "CONSTANTS",
    "FUNCTIONS",
    "MOST_INTEGER",
    "WORDS",
    "Expression",
    "ExpressionError",
    "bounded",
    "literal",
]

MOST_INTEGER = 2**53
"""Up to here a double holds every integer, so that `/` and NumPy see the same number."""

FUNCTIONS: Mapping[str, Callable[..., int | float]] = {"min": min, "max": max}
CONSTANTS = {"true": True, "True": True, "false": False, "False": False}
WORDS = frozenset((*FUNCTIONS, *CONSTANTS, "and", "or", "not", "if", "else"))
"""What cannot be the name of a parameter, because it means something else here."""

ARITHMETIC: Mapping[str, type[ast.operator]] = {
    "+": ast.Add, "-": ast.Sub, "*": ast.Mult, "/": ast.Div, "//": ast.FloorDiv, "%": ast.Mod,
}  # fmt: skip
COMPARISONS: Mapping[str, type[ast.cmpop]] = {
    "<": ast.Lt, "<=": ast.LtE, ">": ast.Gt, ">=": ast.GtE, "==": ast.Eq, "!=": ast.NotEq,
}  # fmt: skip
_SIGNS: Mapping[type[ast.AST], str] = {
    **{kind: sign for sign, kind in ARITHMETIC.items()},
    **{kind: sign for sign, kind in COMPARISONS.items()},
}
_FUNCTIONS: Mapping[str, Callable[[Any, Any], Any]] = {
    "+": operator.add, "-": operator.sub, "*": operator.mul, "/": operator.truediv,
    "//": operator.floordiv, "%": operator.mod,
    "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge,
    "==": operator.eq, "!=": operator.ne,
}  # fmt: skip


class ExpressionError(Exception):
    """What is wrong, and which characters of the string are at fault."""

    def __init__(self, message: str, start: int, end: int, help: str = "", *, code: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.start = start
        self.end = end
        self.help = help


@dataclass(frozen=True, slots=True, eq=False)
class Expression:
    """A checked expression.

    Attributes:
        tree: positions are offsets into the string that it was read from.
        names: the parameters that it reads; those of the whole network stand in it as values.
        text: of it in Python.
    """

    tree: ast.expr
    names: frozenset[str]
    text: str

    def value(self, values: Mapping[str, object]) -> object:
        """What it is for these values of its parameters.

        Raises:
            ExpressionError: a wrong type, a division by zero, a number out of bounds.
        """
        if isinstance(self.tree, ast.Name):
            return values[self.tree.id]
        return _value(self.tree, values)


def literal(value: object) -> ast.expr:
    """The tree of a value: a number, a boolean, a text, or a tuple of these."""
    if isinstance(value, tuple):
        return ast.Tuple([literal(entry) for entry in value], ast.Load())
    if isinstance(value, int | float) and not isinstance(value, bool) and value < 0:
        return ast.UnaryOp(ast.USub(), ast.Constant(-value))
    assert isinstance(value, int | float | str), f"no literal for {value!r}"
    return ast.Constant(value)


# --- values ------------------------------------------------------------------------------------


def _value(node: ast.expr, values: Mapping[str, object]) -> object:
    match node:
        case ast.Constant():
            return node.value
        case ast.Name():
            return values[node.id]
        case ast.BinOp():
            return _arithmetic(node, values)
        case ast.Compare():
            return _comparison(node, values)
        case ast.BoolOp():
            stops = isinstance(node.op, ast.Or)
            return (
                any(_truth(p, values) for p in node.values)
                if stops
                else all(_truth(p, values) for p in node.values)
            )
        case ast.UnaryOp(op=ast.Not()):
            return not _truth(node.operand, values)
        case ast.UnaryOp():
            number = _numeric(node.operand, values)
            return -number if isinstance(node.op, ast.USub) else number
        case ast.IfExp():
            return _value(node.body if _truth(node.test, values) else node.orelse, values)
        case ast.Call(func=ast.Name(id=name)):
            return FUNCTIONS[name](*(_numeric(part, values) for part in node.args))
        case ast.Tuple():
            return tuple(_value(entry, values) for entry in node.elts)
    raise AssertionError(f"no value for {ast.dump(node)}")


def _arithmetic(node: ast.BinOp, values: Mapping[str, object]) -> int | float:
    sign = _SIGNS[type(node.op)]
    left, right = _numeric(node.left, values), _numeric(node.right, values)
    start, end = node.col_offset, node.end_col_offset or 0
    if sign in ("//", "%"):
        for part, number in ((node.left, left), (node.right, right)):
            if isinstance(number, float):
                _wrong(part, f"`{sign}` takes whole numbers, and this is {number!r}")
    if sign in ("/", "//", "%") and right == 0:
        raise ExpressionError("this divides by zero", start, end, code="expression-value")
    try:
        result = _FUNCTIONS[sign](left, right)
    except OverflowError:
        result = math.inf
    assert isinstance(result, int | float)
    return bounded(result, start, end)


def _comparison(node: ast.Compare, values: Mapping[str, object]) -> bool:
    left = _value(node.left, values)
    for op, part in zip(node.ops, node.comparators, strict=True):
        right = _value(part, values)
        sign = _SIGNS[type(op)]
        kinds = _kind(left), _kind(right)
        if kinds[0] != kinds[1]:
            _wrong(node, f"{kinds[0]} and {kinds[1]} cannot be compared")
        if sign not in ("==", "!=") and kinds[0] != "a number":
            _wrong(node, f"`{sign}` compares numbers, and this is {kinds[0]}")
        if not _FUNCTIONS[sign](left, right):
            return False
        left = right
    return True


def _truth(node: ast.expr, values: Mapping[str, object]) -> bool:
    value = _value(node, values)
    if not isinstance(value, bool):
        _wrong(node, f"true or false is needed, and this is {_shown(value)}")
    return value


def _numeric(node: ast.expr, values: Mapping[str, object]) -> int | float:
    value = _value(node, values)
    if isinstance(value, bool) or not isinstance(value, int | float):
        _wrong(node, f"a number is needed, and this is {_shown(value)}")
    return value


def _wrong(node: ast.expr, message: str) -> NoReturn:
    raise ExpressionError(
        message, node.col_offset, node.end_col_offset or node.col_offset, code="expression-type"
    )


def _kind(value: object) -> str:
    if isinstance(value, bool):
        return "true or false"
    if isinstance(value, int | float):
        return "a number"
    return "a list" if isinstance(value, tuple) else "text"


def _shown(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return f"the text {quoted(value)}"
    return _kind(value)


def bounded(value: int | float, start: int, end: int) -> int | float:
    """A number, if it is not too large.

    Raises:
        ExpressionError: it is no finite float, or no integer within 2^53.
    """
    if isinstance(value, float):
        if not math.isfinite(value):
            raise ExpressionError("the number is not finite", start, end, code="expression-value")
    elif abs(value) > MOST_INTEGER:
        raise ExpressionError(
            "the whole number is beyond 2^53 in size", start, end, code="expression-value"
        )
    return value
