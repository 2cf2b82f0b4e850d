from __future__ import annotations

import ast
import math
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cnnspec.backends.layout import lay_out
from cnnspec.backends.marks import unmarked
from cnnspec.backends.writer import Code, Writer, call, code, literal, mark

CONSTANTS = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3).map(tuple),
)


@given(CONSTANTS)
def test_a_literal_is_the_value(value: object) -> None:
    text = literal(value)
    read = ast.literal_eval(text)
    assert (read, type(read)) == (value, type(value))
    assert text.isascii()
    assert text.isprintable()


@pytest.mark.parametrize(
    "value",
    [math.nan, math.inf, -math.inf, object(), [1], {"a": 1}, {1}, b"x", 1j, (1, [2]), print],
)
def test_nothing_else_is_a_literal(value: object) -> None:
    with pytest.raises(TypeError):
        literal(value)


def test_source_is_no_literal() -> None:
    with pytest.raises(TypeError, match="source already"):
        literal(Code("x"))


def test_subclasses_print_as_their_base() -> None:
    class Loud(int):
        def __repr__(self) -> str:
            return "import os"

    class Shrill(float):
        def __repr__(self) -> str:
            return "import os"

    assert literal(Loud(3)) == "3"
    assert literal(Shrill(0.5)) == "0.5"
    assert literal((Loud(3),)) == "(3,)"


def test_calls() -> None:
    assert code("a") == '"a"'
    assert call("f", Code("x"), "x", 1, key=(2, 3)) == 'f(x, "x", 1, key=(2, 3))'


def test_quotes_are_double_where_that_needs_no_escape() -> None:
    assert literal("it's") == '"it\'s"'
    assert literal('say "x"') == "'say \"x\"'"
    assert ast.literal_eval(literal("'\"\\\n\r\u2028\ue000")) == "'\"\\\n\r\u2028\ue000"


# --- marks -------------------------------------------------------------------------------------


def test_ranges_of_marks() -> None:
    writer = Writer()
    with writer.indented("def f(x):"):
        inner = mark("a", "g(x)")
        writer.line(f"y = {mark('b', f'h({inner}, 1)')}")
        entries = ", ".join(mark(f"n{i}", f"layer_number_{i}(x, {i})") for i in range(9))
        writer.line(f"return {mark('all', f'[{entries}]')}")
    text, ranges = writer.finish()
    lines = text.splitlines()
    assert unmarked(text) == text
    assert lines[1][ranges["a"].column : ranges["a"].end_column] == "g(x)"
    assert lines[1][ranges["b"].column : ranges["b"].end_column] == "h(g(x), 1)"
    found = {
        (n.lineno, n.col_offset, n.end_lineno, n.end_col_offset)
        for n in ast.walk(ast.parse(text))
        if isinstance(n, ast.expr)
    }
    for place in ranges.values():
        assert (place.line, place.column, place.end_line, place.end_column) in found
    assert ranges["all"].end_line > ranges["all"].line + 8


def test_one_line_of_a_mark_is_clean() -> None:
    assert unmarked(mark("a", "x")[:-2]) == ""
    assert unmarked("x\ue002)") == "x)"


def test_marks_are_unique_and_closed() -> None:
    writer = Writer()
    writer.line(f"{mark('a', 'x')} + {mark('a', 'y')}")
    with pytest.raises(ValueError, match="twice"):
        writer.finish()
    writer = Writer()
    writer.line(mark("a", "x")[:-1])
    with pytest.raises(ValueError, match="unclosed"):
        writer.finish()


# --- layout ------------------------------------------------------------------------------------

NAME = "a_rather_long_name"
STATEMENTS = [
    f"x = {NAME}({', '.join([NAME] * 4)})",
    f"x = {NAME}({', '.join([NAME] * 5)})",
    f"x = nn.Sequential({', '.join(f'nn.Conv2d({i}, {i}, 3)' for i in range(8))})",
    f"x = layers.Conv2D(16, 3, padding='same', use_bias=False, name='{NAME}.{NAME}')({NAME})",
    f"x = layers.Conv2D(16, 3, name={NAME})(layers.ZeroPadding2D(((1, 0), (2, 2)), 'p')({NAME}))",
    f"return {{'{NAME}': {NAME}, 'b{NAME}': b{NAME}, 'c{NAME}': c{NAME}}}",
    f"return {NAME}({NAME}), {{'a': {NAME}, 'b': {NAME}, 'c': {NAME}, 'd': {NAME}}}",
    f"return [{NAME}, {NAME}, {NAME}, {NAME}, {NAME}, {NAME}]",
    f"x = {' + '.join([NAME] * 6)}",
    f"x = {NAME}{NAME}{NAME} + {NAME}{NAME}{NAME}",
    f"{NAME}{NAME} = {NAME} + {NAME}_backward({NAME}, {NAME}, {NAME}, {NAME})",
    f"x = torch.cat([{', '.join([NAME] * 5)}], dim=1)",
    f"raise ValueError(f'made for inputs of 3x8x8, got {{tuple(x.shape[1:])}}', {NAME}, {NAME})",
    f"backward({{name: {NAME} / weight for name, (_, weight) in {NAME}.items() if {NAME}}})",
    f"return {{name: LOSSES[name]({NAME}[name], {NAME}[name]) for name in {NAME}{NAME}}}",
    f"x = sum({NAME}[name] * {NAME} for name, (s, w) in {NAME}.items() if {NAME}[name])",
    f"def {NAME}(self, {', '.join(f'{NAME}{i}' for i in range(5))}): pass",
    "x = (1, 2,)",
    "x = f((1,), [1], {'a': 1})",
    "x = {'a': (1, 2), 'b': [3],}",
    f"x = {NAME}['{NAME}'].{NAME}.{NAME}.{NAME}['{NAME}']({NAME})",
    f"x = F.conv2d(x, self.{NAME}.flip(2, 3), {NAME}({NAME}), self.{NAME}, 0, (1, 1, 1))",
    f"{NAME}_{NAME}_{NAME} = self.{NAME}_{NAME}_{NAME}_of",
    f"x = f('a, (b', 'c] d', {NAME}, '{NAME} + {NAME}', {NAME}, {NAME})",
]


def formatted(text: str) -> str:
    process = subprocess.run(
        [sys.executable, "-m", "ruff", "format", "--line-length", "100", "--isolated", "-"],
        input=text,
        capture_output=True,
        text=True,
        check=True,
    )
    return process.stdout


def test_layout_is_the_formatters() -> None:
    pytest.importorskip("ruff")
    for depth in (0, 1, 2):
        body = []
        for statement in STATEMENTS:
            text = statement.replace("'", '"')
            if not text.startswith("def"):
                body.append("\n".join(lay_out(text, 4 * (depth + 1))))
        blocks = "".join(f"{'    ' * d}if x:\n" for d in range(1, depth + 1))
        source = f"def function():\n{blocks}" + "\n".join(body) + "\n"
        assert source == formatted(source)


@given(st.lists(st.sampled_from("abcdef"), min_size=1, max_size=40), st.integers(0, 12))
def test_layout_changes_no_meaning(parts: list[str], indent: int) -> None:
    shapes = {
        "a": "name_a",
        "b": 'f("text, with (brackets]", 1)',
        "c": "[1, 2, (3,), {}]",
        "d": "g(x)(y, key=[z])",
        "e": '{"k": (u, v), "l": w}',
        "f": "h(*a, **b)",
    }
    text = f"x = call({', '.join(shapes[part] for part in parts)})"
    lines = lay_out(text, 0, 40 + indent)
    assert ast.dump(ast.parse("\n".join(lines))) == ast.dump(ast.parse(text))
    if len(parts) > 10:
        assert max(map(len, lines)) <= 40 + indent
