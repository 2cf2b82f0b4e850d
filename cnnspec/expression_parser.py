"""The parser of expressions: by hand, with the offset of every fault, bounded in text and depth."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Collection, Mapping
from typing import NoReturn

from cnnspec.diagnostics import did_you_mean
from cnnspec.expressions import (
    ARITHMETIC,
    COMPARISONS,
    CONSTANTS,
    FUNCTIONS,
    WORDS,
    Expression,
    ExpressionError,
    bounded,
    literal,
)
from cnnspec.quote import quoted

__all__ = ["MOST_CHARACTERS", "MOST_DEPTH", "Parser"]

MOST_CHARACTERS = 500
MOST_DEPTH = 40

_TOKEN = re.compile(
    r"""\s*(?:
        (?P<number>(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)
      | (?P<name>[A-Za-z_][A-Za-z0-9_]*)
      | (?P<text>'[^'\\]*'|"[^"\\]*")
      | (?P<sign>\*\*|//|<=|>=|==|!=|[-+*/%<>(),])
    )""",
    re.VERBOSE | re.ASCII,
)
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


class Parser:
    """Reads one expression out of a string.

    Args:
        text: the whole string.
        start: the offset of the expression in it.
        local: the names of parameters whose values are not known yet.
        constants: parameters of the whole network, with their values.
    """

    def __init__(
        self, text: str, start: int, local: Collection[str], constants: Mapping[str, object]
    ) -> None:
        self.text = text
        self.at = start
        self.outermost = start - 1  # the `$`
        self.local = local
        self.constants = constants
        self.used_constants: set[str] = set()
        self.names: set[str] = set()
        self.heights: dict[int, int] = {}
        self.kind = ""
        self.word = ""
        self.start = self.end = start

    def name(self) -> Expression:
        """The parameter whose name starts here; `end` is behind it."""
        found = _NAME.match(self.text, self.at)
        assert found is not None, "the caller has seen a name"
        self.start, self.end = found.span()
        return self._done(self._parameter(found.group()))

    def parenthesized(self) -> Expression:
        """The expression up to the closing bracket; `end` is behind that."""
        opening = self.at
        self.at += 1
        self._next()
        if self.word == ")":
            self._fail("the brackets are empty", opening, self.end)
        tree = self._choice(1)
        if self.word != ")":
            self._unclosed()
        return self._done(tree)

    def _done(self, tree: ast.expr) -> Expression:
        return Expression(tree, frozenset(self.names), ast.unparse(tree))

    # --- tokens --------------------------------------------------------------------------------

    def _next(self) -> None:
        found = _TOKEN.match(self.text, self.at)
        if found is None:
            rest = self.text[self.at :]
            self.start = self.at + len(rest) - len(rest.lstrip())
            if self.start < len(self.text):
                character = self.text[self.start]
                self._fail(
                    f"{quoted(character)} has no meaning in an expression",
                    self.start,
                    self.start + 1,
                )
            self.kind, self.word, self.end = "", "", self.start
            return
        self.kind = found.lastgroup or ""
        self.word = found.group(self.kind)
        self.start, self.end = found.span(self.kind)
        self.at = self.end
        if self.word == "**":
            self._fail("`**` is no operator of expressions", self.start, self.end)
        if self.kind == "number" and _NAME.match(self.text, self.end):
            self._fail("a number is followed by a letter", self.start, self.end + 1)

    def _fail(self, message: str, start: int, end: int, help: str = "") -> NoReturn:
        raise ExpressionError(message, start, end, help, code="expression-syntax")

    def _placed(self, node: ast.expr, start: int, end: int, *below: ast.expr) -> ast.expr:
        """A node with its place in the string, unless it would be too deep."""
        node.lineno = node.end_lineno = 1
        node.col_offset, node.end_col_offset = start, end
        height = 1 + max((self.heights[id(part)] for part in below), default=0)
        self._limit(height)
        self.heights[id(node)] = height
        return node

    def _limit(self, depth: int) -> None:
        if depth > MOST_DEPTH:
            raise ExpressionError(
                f"the expression is more than {MOST_DEPTH} operations deep",
                self.start,
                self.end,
                code="expression-too-large",
            )

    # --- grammar -------------------------------------------------------------------------------

    def _choice(self, depth: int) -> ast.expr:
        self._limit(depth)
        value = self._either(depth)
        if self.word != "if" or self.kind != "name":
            return value
        self._next()
        test = self._either(depth)
        if self.word != "else" or self.kind != "name":
            self._fail("`else` is missing: `a if c else b`", self.start, max(self.end, 1))
        self._next()
        other = self._choice(depth + 1)
        node = ast.IfExp(test, value, other)
        return self._placed(node, value.col_offset, other.end_col_offset or 0, test, value, other)

    def _either(self, depth: int) -> ast.expr:
        return self._joined("or", ast.Or(), lambda: self._both(depth))

    def _both(self, depth: int) -> ast.expr:
        return self._joined("and", ast.And(), lambda: self._negated(depth))

    def _joined(self, word: str, op: ast.boolop, part: Callable[[], ast.expr]) -> ast.expr:
        parts = [part()]
        while self.word == word and self.kind == "name":
            self._next()
            parts.append(part())
        if len(parts) == 1:
            return parts[0]
        start, end = parts[0].col_offset, parts[-1].end_col_offset or 0
        return self._placed(ast.BoolOp(op, parts), start, end, *parts)

    def _negated(self, depth: int) -> ast.expr:
        if self.word != "not" or self.kind != "name":
            return self._compared(depth)
        start = self.start
        self._limit(depth)
        self._next()
        part = self._negated(depth + 1)
        return self._placed(ast.UnaryOp(ast.Not(), part), start, part.end_col_offset or 0, part)

    def _compared(self, depth: int) -> ast.expr:
        parts, ops = [self._sum(depth)], []
        while self.word in COMPARISONS and self.kind == "sign":
            ops.append(COMPARISONS[self.word]())
            self._next()
            parts.append(self._sum(depth))
        if not ops:
            return parts[0]
        start, end = parts[0].col_offset, parts[-1].end_col_offset or 0
        return self._placed(ast.Compare(parts[0], ops, parts[1:]), start, end, *parts)

    def _sum(self, depth: int) -> ast.expr:
        return self._chained(("+", "-"), lambda: self._product(depth))

    def _product(self, depth: int) -> ast.expr:
        return self._chained(("*", "/", "//", "%"), lambda: self._signed(depth))

    def _chained(self, signs: tuple[str, ...], part: Callable[[], ast.expr]) -> ast.expr:
        left = part()
        while self.word in signs and self.kind == "sign":
            op = ARITHMETIC[self.word]()
            self._next()
            right = part()
            start, end = left.col_offset, right.end_col_offset or 0
            left = self._placed(ast.BinOp(left, op, right), start, end, left, right)
        return left

    def _signed(self, depth: int) -> ast.expr:
        if self.word not in ("+", "-") or self.kind != "sign":
            return self._atom(depth)
        start = self.start
        op: ast.unaryop = ast.USub() if self.word == "-" else ast.UAdd()
        self._limit(depth)
        self._next()
        part = self._signed(depth + 1)
        return self._placed(ast.UnaryOp(op, part), start, part.end_col_offset or 0, part)

    def _atom(self, depth: int) -> ast.expr:
        kind, word, start, end = self.kind, self.word, self.start, self.end
        if not kind:
            self._fail("the expression ends too early", max(start - 1, 0), start)
        if kind == "number":
            self._next()
            return self._placed(ast.Constant(_number(word, start, end)), start, end)
        if kind == "text":
            self._next()
            return self._placed(ast.Constant(word[1:-1]), start, end)
        if word == "(":
            self._next()
            inner = self._choice(depth + 1)
            # For a message the brackets belong to it.
            inner.col_offset, inner.end_col_offset = start, self._closing()
            return inner
        if kind != "name" or (word in WORDS and word not in (*FUNCTIONS, *CONSTANTS)):
            self._fail(f"{quoted(word)} is not expected here", start, end)
        if word in CONSTANTS:
            self._next()
            return self._placed(ast.Constant(CONSTANTS[word]), start, end)
        if word in FUNCTIONS:
            return self._call(depth)
        node = self._parameter(word)
        self._next()
        if self.word == "(":
            raise ExpressionError(
                f"there is no function {quoted(word)}",
                start,
                end,
                "there is `min`, `max`",
                code="expression-syntax",
            )
        return node

    def _call(self, depth: int) -> ast.expr:
        name, start, end = self.word, self.start, self.end
        self._next()
        if self.word != "(":
            self._fail(f"`{name}` is a function: `{name}(a, b)`", start, end)
        self._next()
        parts = [self._choice(depth + 1)]
        while self.word == ",":
            self._next()
            parts.append(self._choice(depth + 1))
        close = self._closing()
        if len(parts) < 2:
            self._fail(f"`{name}` takes two or more numbers", start, close)
        called = ast.Name(name, ast.Load())
        return self._placed(ast.Call(called, parts, []), start, close, *parts)

    def _closing(self) -> int:
        if self.word != ")":
            self._unclosed()
        end = self.end
        self._next()
        return end

    def _unclosed(self) -> NoReturn:
        if self.kind:
            self._fail(f"{quoted(self.word)} is not expected here", self.start, self.end)
        self._fail(
            "the closing bracket is missing",
            self.outermost,
            len(self.text),
            help="inside `{...}` and `[...]` a comma ends the text: put the whole of it in quotes",
        )

    def _parameter(self, name: str) -> ast.expr:
        start, end = self.start, self.end
        if name in self.local:
            self.names.add(name)
            return self._placed(ast.Name(name, ast.Load()), start, end)
        if name in self.constants:
            self.used_constants.add(name)
            return self._placed(literal(self.constants[name]), start, end)
        help = did_you_mean(name, [*self.local, *self.constants])
        if name in ("index", "count"):
            help = f"`{name}` exists inside a layer with `repeat:`"
        raise ExpressionError(
            f"there is no parameter {quoted(name)} here", start, end, help, code="unknown-parameter"
        )


def _number(word: str, start: int, end: int) -> int | float:
    if word.isdigit():
        if len(word) > 1 and word[0] == "0":
            raise ExpressionError(
                "a whole number does not start with 0", start, end, code="expression-syntax"
            )
        # No text here is long enough to be slow.
        return bounded(int(word), start, end)
    return bounded(float(word), start, end)
