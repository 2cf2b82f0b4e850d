"""Wrong formulas: in what a text defines for its layers, its losses and its optimizer."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from cnnspec.check.selftest.arguments import changed, number
from cnnspec.check.selftest.operators import operator
from cnnspec.check.selftest.source import Mutant, Source

OPPOSITE: dict[type[ast.operator], str] = {ast.Add: "-", ast.Sub: "+"}
SIGNS: dict[type[ast.operator], str] = {ast.Add: "+", ast.Sub: "-"}
STRICT: dict[type[ast.cmpop], str] = {
    ast.Gt: ">=", ast.GtE: ">", ast.Lt: "<=", ast.LtE: "<",
}  # fmt: skip
TURNED: dict[type[ast.cmpop], str] = {ast.Gt: "<", ast.GtE: "<", ast.Lt: ">", ast.LtE: ">"}


def counts(source: Source, node: ast.AST) -> bool:
    """Whether it is arithmetic on sizes, positions and axes, which a wrong shape betrays."""
    for inner in ast.walk(node):
        if getattr(inner, "attr", "") in ("ndim", "shape") or getattr(inner, "id", "") == "rank":
            return True
    while node in source.parents:
        parent = source.parents[node]
        if isinstance(parent, (ast.Subscript, ast.Slice)) and node is not getattr(
            parent, "value", None
        ):
            return True
        if isinstance(parent, ast.Call):
            name = source.text.source(parent.func).rpartition(".")[2]
            if name in ("range", "reshape", "arange", "transpose", "moveaxis", "slice", "zeros"):
                return True
        node = parent
    return False


def shifts(node: ast.BinOp) -> bool:
    """Whether the right side is a maximum, which a softmax is the same without."""
    return any(isinstance(n, ast.Attribute) and n.attr == "max" for n in ast.walk(node.right))


@operator("sign of a term")
def _sign(source: Source) -> Iterator[Mutant]:
    """A sum for a difference, or the other way round."""
    for node, region in source.inside("helper", "training"):
        if isinstance(node, ast.BinOp) and type(node.op) in OPPOSITE:
            if shifts(node) or counts(source, node):
                continue
            left, right = source.text.source(node.left), _bracketed(source, node.right)
            new = f"({left} {OPPOSITE[type(node.op)]} {right})"
            yield source.replacing("sign of a term", node, new, region)
        if isinstance(node, ast.AugAssign) and type(node.op) in OPPOSITE:
            target, value = source.text.source(node.target), source.text.source(node.value)
            new = f"{target} {OPPOSITE[type(node.op)]}= {value}"
            yield source.replacing("sign of a term", node, new, region)


@operator("term left out")
def _term(source: Source) -> Iterator[Mutant]:
    """What is added or taken away is not."""
    for node, region in source.inside("helper", "training"):
        if not (isinstance(node, ast.BinOp) and type(node.op) in OPPOSITE):
            continue
        if not (shifts(node) or counts(source, node) or _goes_back(source, node)):
            new = f"({source.text.source(node.left)})"
            yield source.replacing("term left out", node, new, region)


@operator("term of a gradient left out")
def _term_back(source: Source) -> Iterator[Mutant]:
    """A term or a factor of a function that goes backward."""
    kinds = (ast.Add, ast.Sub, ast.Mult)
    for node, region in source.inside("helper", "training"):
        if (
            isinstance(node, ast.BinOp)
            and isinstance(node.op, kinds)
            and _goes_back(source, node)
            and not (shifts(node) or counts(source, node))
        ):
            new = f"({source.text.source(node.left)})"
            yield source.replacing("term of a gradient left out", node, new, region)


def _goes_back(source: Source, node: ast.AST) -> bool:
    """Whether it is in a `backward`, or in a lambda of g, of the NumPy text."""
    while node in source.parents:
        node = source.parents[node]
        if isinstance(node, ast.FunctionDef) and node.name == "backward":
            return True
        if isinstance(node, ast.Lambda) and [a.arg for a in node.args.args] in (["g"], ["gs"]):
            return True
    return False


def _bracketed(source: Source, node: ast.expr) -> str:
    text = source.text.source(node)
    return f"({text})" if isinstance(node, (ast.BinOp, ast.IfExp)) else text


@operator("constant of a formula")
def _constant(source: Source) -> Iterator[Mutant]:
    """A number that a helper computes with."""
    for node, region in source.inside("helper", "training"):
        value = number(node)
        if value is None or not isinstance(source.parents[node], ast.BinOp):
            continue
        large = isinstance(value, int) and abs(value) > 100  # of a generator, a mask
        if value and not large and not counts(source, node):
            new = changed(float(value)) if isinstance(value, int) else changed(value)
            yield source.replacing("constant of a formula", node, new, region)


@operator("comparison at its bound")
def _bound(source: Source) -> Iterator[Mutant]:
    """A kink or a tie decided the other way: nothing else than equality shows it."""
    yield from _compared(source, "comparison at its bound", STRICT)


@operator("comparison turned")
def _turned(source: Source) -> Iterator[Mutant]:
    """The other branch."""
    yield from _compared(source, "comparison turned", TURNED)


def _compared(source: Source, name: str, table: dict[type[ast.cmpop], str]) -> Iterator[Mutant]:
    for node, region in source.inside("helper"):
        if isinstance(node, ast.Compare) and len(node.ops) == 1 and type(node.ops[0]) in table:
            left, (right,) = source.text.source(node.left), node.comparators
            if any(isinstance(n, ast.Attribute) for n in ast.walk(node.left)):
                continue  # a question about a shape or an option
            new = f"{left} {table[type(node.ops[0])]} {source.text.source(right)}"
            yield source.replacing(name, node, new, region)


@operator("order of elements")
def _order(source: Source) -> Iterator[Mutant]:
    """Flattened the other way round: the NumPy text's `reshape` in Fortran order."""
    for node, region in source.inside("helper"):
        if (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Attribute)
            and node.func.attr == "reshape"
            and source.emitted.backend == "numpy"
            and source.text.source(node).startswith("x.reshape(len(x), -1)")
        ):
            new = 'x.reshape(len(x), -1, order="F")'
            yield source.replacing("order of elements", node, new, region)
    for node, region in source.inside("layer"):
        text = source.text.source(node)
        if isinstance(node, ast.Call) and text.startswith("torch.flatten(x, 1)"):
            x = node.args[0]
            yield source.replacing("order of elements", x, "x.movedim(1, -1)", region)
