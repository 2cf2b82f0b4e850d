from __future__ import annotations

import ast
from pathlib import Path

import pytest

from cnnspec.backends.library import Definition, Library, names_in, strip_annotations

SOURCE = '''\
"""A module."""

from __future__ import annotations

import numpy as np

LIMIT: int = 3
TABLE = {"a": LIMIT}


def inner(x: np.ndarray, *, flag: bool = False) -> np.ndarray:
    # a comment stays
    half: float = 0.5
    later: int
    later = 2
    return x * half * later if flag else x


@register("größe: a")
class Outer(Base):
    """Über: a docstring."""

    def method(
        self,
        x: dict[str, tuple[int, ...]],
        *args: object,
        y: int = 1,
        **kwargs: object,
    ) -> list[int]:
        """Has a -> in it."""
        return inner(x, flag=y == 1)

    def long_signature(self, a_first_argument: int, a_second_argument: int, a_third: int) -> None:
        assert LIMIT
'''

STRIPPED = '''\
LIMIT = 3

TABLE = {"a": LIMIT}

def inner(x, *, flag=False):
    # a comment stays
    half = 0.5
    later = 2
    return x * half * later if flag else x

@register("größe: a")
class Outer(Base):
    """Über: a docstring."""

    def method(self, x, *args, y=1, **kwargs):
        """Has a -> in it."""
        return inner(x, flag=y == 1)

    def long_signature(self, a_first_argument, a_second_argument, a_third):
        assert LIMIT'''


@pytest.fixture
def library(tmp_path: Path) -> Library:
    path = tmp_path / "module.py"
    path.write_text(SOURCE, encoding="utf-8")
    return Library.read(path)


def test_annotations_go_and_nothing_else(library: Library) -> None:
    assert "\n\n".join(d.text for d in library.closure(["Outer", "TABLE"])) == STRIPPED


def test_closure_is_in_the_modules_order(library: Library) -> None:
    assert library.names == {"LIMIT", "TABLE", "inner", "Outer"}
    assert [d.name for d in library.closure(["Outer"])] == ["LIMIT", "inner", "Outer"]
    assert [d.name for d in library.closure(["TABLE", "unknown"])] == ["LIMIT", "TABLE"]
    assert library.closure([]) == []


def test_definitions_may_need_each_other() -> None:
    library = Library(
        [Definition("a", "a", frozenset({"b"})), Definition("b", "b", frozenset({"a"}))]
    )
    assert [d.name for d in library.closure(["b"])] == ["a", "b"]


def test_two_helpers_of_one_name() -> None:
    with pytest.raises(ValueError, match="two helpers are called a"):
        Library([Definition("a", "a = 1", frozenset())] * 2)


def test_names() -> None:
    assert names_in("x.y(z)[w]; def_ = 'no'") == {"x", "z", "w", "def_"}


def without_annotations(tree: ast.AST) -> str:
    class Strip(ast.NodeTransformer):
        def visit_arg(self, node: ast.arg) -> ast.AST:
            node.annotation = None
            return node

        def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
            self.generic_visit(node)
            node.returns = None
            return node

        def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST | None:
            if node.value is None:
                return None
            return ast.Assign([node.target], node.value, lineno=node.lineno)

    return ast.unparse(ast.fix_missing_locations(Strip().visit(tree)))


def helper_files() -> list[Path]:
    folder = Path(__file__).parents[1] / "cnnspec" / "backends"
    return [
        *sorted(folder.glob("*/helpers/*.py")),
        *sorted((folder / "numpy" / "kernels").glob("*.py")),
    ]


@pytest.mark.parametrize("path", helper_files(), ids=lambda p: f"{p.parts[-3]}-{p.stem}")
def test_every_helper_keeps_its_meaning(path: Path) -> None:
    source = path.read_text(encoding="utf-8")
    definitions = {d.name: d for d in Library.read(path).closure(Library.read(path).names)}
    tree = ast.parse(source)
    for statement in tree.body:
        if isinstance(statement, (ast.FunctionDef, ast.ClassDef)):
            wanted = without_annotations(ast.Module([statement], []))
            found = definitions[statement.name].text
            assert ast.unparse(ast.parse(found)) == wanted
            assert strip_annotations(found) == found
