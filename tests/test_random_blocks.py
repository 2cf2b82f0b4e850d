from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from hypothesis import given
from jsonschema import Draft202012Validator

from cnnspec.expand import expand
from cnnspec.graph import Graph, Node, Scope
from cnnspec.json_schema import json_schema
from cnnspec.ops.base import Op
from cnnspec.testing import block_specs
from cnnspec.testing.networks import Spec, text_of
from tests.spec_errors import built
from tests.test_expand import facts

VALIDATOR = Draft202012Validator(json_schema())

Values = Mapping[str, object]


def python(text: str, values: Values) -> Any:
    """What emitted source has for an expression, where these are its names."""
    return eval(text, {}, dict(values))  # noqa: S307 - our own text


def check_children(scope: Scope, values: Values) -> None:
    """Every expression in a scope has, in Python, the value that the graph has."""
    for absent in scope.absent:
        found = python(absent.when, values)
        assert found is False or (type(found) is int and found == 0)
        assert 0 <= absent.position <= len(scope.children)
    for child in scope.children:
        check_child(child, values)


def check_child(child: Node[Op] | Scope, values: Values) -> None:
    if child.when is not None:
        assert python(child.when, values) is True
    if isinstance(child, Node):
        for field, text in child.expressions.items():
            value: Any = child.op
            for name in field.split("."):
                value = getattr(value, name)
            assert python(text, values) == value
        return
    for argument in child.arguments:
        if argument.expression is not None:
            found = python(argument.expression, values)
            assert (type(found), found) == (type(argument.value), argument.value)
    if child.kind in ("repeat", "instances"):
        (number,) = child.arguments
        assert len(child.children) == number.value
        for i, part in enumerate(child.children):
            inner = {**values, "index": i, "count": number.value}
            check_child(part, inner)
            if child.named is not None:
                assert part.name == python(f"f'{child.named}'", inner)
            elif child.kind == "repeat":
                assert part.name == str(i)
    elif child.kind == "block":
        check_children(child, {argument.name: argument.value for argument in child.arguments})
    else:
        check_children(child, values)


def check_sharing(graph: Graph) -> None:
    stack = [graph.root]
    while stack:
        scope = stack.pop()
        if scope.owner is not None:
            assert scope.owner.owner is None
            pairs = zip(scope.nodes(), scope.owner.nodes(), strict=True)
            assert all(own.owner in (other, other.owner) for own, other in pairs)
        stack += [child for child in scope.children if isinstance(child, Scope)]


@given(block_specs())
def test_random_blocks(spec: Spec) -> None:
    graph = built(text_of(spec)).graph
    check_children(graph.root, {})
    check_sharing(graph)
    VALIDATOR.validate(json.loads(json.dumps(spec)))


@given(block_specs())
def test_random_blocks_read_back(spec: Spec) -> None:
    graph = built(text_of(spec)).graph
    text = expand(graph)
    again = built(text).graph
    assert facts(again) == facts(graph)
    assert expand(again) == text
