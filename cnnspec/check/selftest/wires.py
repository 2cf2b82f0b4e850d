"""Wrong wires: a layer reads another value of the same shape."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from cnnspec.backends.base import Range
from cnnspec.check.selftest.operators import operator
from cnnspec.check.selftest.source import Mutant, Region, Source
from cnnspec.graph import Node
from cnnspec.ops.base import Op, Shape


@operator("wired to another value")
def _wire(source: Source) -> Iterator[Mutant]:
    """Every input that is a variable, for every other variable of its shape at that point."""
    for node in source.graph.nodes:
        place = source.emitted.lines[node.id]
        if place.module is not None:
            continue
        for index, part in enumerate(place.inputs):
            if node.id != _readers(source, part)[0]:
                continue  # several instances of a block, or parts of a split, share the text
            read = _variable(source, source.text.ends(part))
            if read is None:
                continue
            shape = node.inputs[index].shape
            for name, other in _visible(source, read, node).items():
                if name != read.id and other == shape:
                    start, end = source.text.ends(place.range)
                    region = Region("layer", start, end, _readers(source, part))
                    yield source.replacing("wired to another value", read, name, region)


def _readers(source: Source, part: Range) -> tuple[str, ...]:
    """The layers that an expression is an input of."""
    return tuple(id for id, place in source.emitted.lines.items() if part in place.inputs)


def _variable(source: Source, span: tuple[int, int]) -> ast.Name | None:
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Name) and source.text.span(node) == span:
            return node
    return None


def _visible(source: Source, read: ast.Name, node: Node[Op]) -> dict[str, Shape]:
    """The variables that hold values where this one is read, and their shapes."""
    function = next(source.enclosing(read))
    instance = source.emitted.lines[node.id].instance
    shapes: dict[str, Shape] = {}
    if isinstance(function, ast.FunctionDef):
        arguments = {argument.arg for argument in function.args.args}
        for entry in source.graph.inputs if not instance else ():
            if entry.name in arguments:
                shapes[entry.name] = entry.shape
    values = {
        source.text.ends(place.range): source.graph.node(id).shape
        for id, place in source.emitted.lines.items()
        if place.module is None and place.part is None and place.instance == instance
    }
    for statement in function.body:
        if statement.lineno >= read.lineno:
            break
        if isinstance(statement, ast.Assign):
            (target, *_) = statement.targets
            if isinstance(target, ast.Tuple):  # a value and its backward
                target = target.elts[0]
            if isinstance(target, ast.Name):
                shapes.pop(target.id, None)
                span = source.text.span(statement.value)
                if span in values:
                    shapes[target.id] = values[span]
    return shapes
