from __future__ import annotations

import json
import re
import subprocess
import sys
from textwrap import dedent

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cnnspec.diagnostics import Diagnostic, Label, Source, Span, SpecError
from cnnspec.document import Document, parse
from cnnspec.render import MAX_SHOWN, Form, render

SPEC = """\
cnnspec: 1
layers:
  - conv: {name: shortcut, filters: 64, kernel: 1, stride: 2}
  - relu
  - conv: {name: conv1, filters: 128, kernel: 1}
  - relu
  - conv: {name: conv2, filters: 128, kernel: 1}
  - add: {from: [shortcut, conv2]}
"""


def spec(text: str = SPEC, name: str = "specs/resnet.yaml") -> Document:
    return parse(text, name)


def drawn(text: str) -> str:
    return dedent(text).strip("\n")


def test_full_with_everything() -> None:
    document = spec()
    found = Diagnostic(
        "shape-mismatch",
        "inputs of `add` differ in shape",
        Label(document.key_span(("layers", 5, "add")), "64x16x16 and 128x16x16"),
        (
            Label(document.span(("layers", 0, "conv", "name")), "`shortcut` is 64x16x16"),
            Label(document.span(("layers", 4, "conv", "name")), "`conv2` is 128x16x16"),
        ),
        ("layer     shape\nshortcut  64x16x16\nconv2     128x16x16",),
        "give `shortcut` the same `filters` as `conv2`",
    )
    assert render([found]) == drawn("""
        error[shape-mismatch]: inputs of `add` differ in shape
         --> specs/resnet.yaml:8:5
          |
        3 |   - conv: {name: shortcut, filters: 64, kernel: 1, stride: 2}
          |                  -------- `shortcut` is 64x16x16
        ...
        7 |   - conv: {name: conv2, filters: 128, kernel: 1}
          |                  ----- `conv2` is 128x16x16
        8 |   - add: {from: [shortcut, conv2]}
          |     ^^^ 64x16x16 and 128x16x16
          |
          = note: layer     shape
                  shortcut  64x16x16
                  conv2     128x16x16
          = help: give `shortcut` the same `filters` as `conv2`

        error: 1 error in specs/resnet.yaml
        """)


def test_full_with_a_label_in_another_file() -> None:
    document, library = spec(), spec("define:\n  basic: {layers: [relu]}\n", "blocks.yaml")
    found = Diagnostic(
        "block-twice",
        "block `basic` is defined twice",
        Label(document.span(("cnnspec",)), "here"),
        (Label(library.key_span(("define", "basic")), "and here"),),
    )
    warning = Diagnostic("odd", "this is odd", severity="warning", help="do without")
    assert render([found, warning, warning]) == drawn("""
        error[block-twice]: block `basic` is defined twice
         --> specs/resnet.yaml:1:10
          |
        1 | cnnspec: 1
          |          ^ here
          |
         ::: blocks.yaml:2:3
          |
        2 |   basic: {layers: [relu]}
          |   ----- and here

        warning[odd]: this is odd
         = help: do without

        warning[odd]: this is odd
         = help: do without

        error: 1 error, 2 warnings in specs/resnet.yaml
        """)


def test_full_of_a_parse_fault() -> None:
    with pytest.raises(SpecError) as caught:
        spec("a: 1\n" * 2 + "b: {c: 1}\nb: 2\n")
    assert render(caught.value.diagnostics) == drawn("""
        error[duplicate-key]: key `a` is given twice
         --> specs/resnet.yaml:2:1
          |
        1 | a: 1
          | - first here
        2 | a: 1
          | ^ again here
          |
          = help: keep one of them

        error[duplicate-key]: key `b` is given twice
         --> specs/resnet.yaml:4:1
          |
        3 | b: {c: 1}
          | - first here
        4 | b: 2
          | ^ again here
          |
          = help: keep one of them

        error: 2 errors in specs/resnet.yaml
        """)


def test_line_numbers_align_and_a_gap_of_one_line_is_shown() -> None:
    document = spec("\n".join(f"k{n}: {n}" for n in range(1, 12)))
    found = Diagnostic(
        "x",
        "m",
        Label(document.span(("k11",))),
        (Label(document.span(("k9",))), Label(document.span(("k1",)), "one")),
    )
    assert render([found]).split("\n")[1:-2] == drawn("""
          --> specs/resnet.yaml:11:6
           |
         1 | k1: 1
           |     - one
        ...
         9 | k9: 9
           |     -
        10 | k10: 10
        11 | k11: 11
           |      ^^
        """).split("\n")


def marks(text: str, span: tuple[int, int, int, int], message: str = "here") -> list[str]:
    label = Label(Span(Source("s", text), *span), message)
    return render([Diagnostic("x", "m", label)]).split("\n")[3:-2]


@pytest.mark.parametrize(
    ("text", "span", "expected"),
    [
        ("a: [1,\n2]  \n", (1, 4, 2, 3), ["1 | a: [1,", "  |    ^^^ here"]),
        ("a: [1,  \n2]", (1, 4, 2, 3), ["1 | a: [1,", "  |    ^^^ here"]),
        ("a:", (1, 3, 1, 3), ["1 | a:", "  |   ^ here"]),
        ("", (1, 1, 1, 1), ["1 |", "  | ^ here"]),
        ("\ta:\tb", (1, 5, 1, 6), ["1 |     a:    b", "  |           ^ here"]),
        ("漢字: b", (1, 5, 1, 6), ["1 | 漢字: b", "  |       ^ here"]),
        ("漢字: b", (1, 1, 1, 3), ["1 | 漢字: b", "  | ^^^^ here"]),
        ("e\u0301: b", (1, 5, 1, 6), ["1 | e\u0301: b", "  |    ^ here"]),
        ("\x1b: b", (1, 4, 1, 5), ["1 | \\x1b: b", "  |       ^ here"]),
        ("a\u2028b: c", (1, 6, 1, 7), ["1 | a\\u2028b: c", "  |           ^ here"]),
        ("x\r\ny: z\rw", (2, 4, 2, 5), ["2 | y: z", "  |    ^ here"]),
        ("x", (7, 4, 7, 5), ["7 |", "  | ^ here"]),
    ],
)
def test_marks(text: str, span: tuple[int, int, int, int], expected: list[str]) -> None:
    assert marks(text, span) == expected


def test_several_labels_on_one_line() -> None:
    document = spec("a: {b: 1, c: 2}")
    found = Diagnostic(
        "x",
        "m",
        Label(document.span(("a", "c")), "two"),
        (Label(document.span(("a", "b")), "one"),),
    )
    assert render([found]).split("\n")[3:6] == [
        "1 | a: {b: 1, c: 2}",
        "  |        - one",
        "  |              ^ two",
    ]


def test_long_lines_are_cut_around_each_label() -> None:
    text = "x" * 1000 + "bad" + "y" * 1000 + "worse" + "z" * 1000
    source = Source("s", text)
    found = Diagnostic(
        "x",
        "m",
        Label(Span(source, 1, 1001, 1, 1004)),
        (Label(Span(source, 1, 2004, 1, 2009)),),
    )
    lines = render([found]).split("\n")[3:-2]
    assert len(lines) == 4
    for line, mark, word in zip(lines[::2], lines[1::2], ("bad", "worse"), strict=True):
        assert line.startswith("1 | ...")
        assert line.endswith("...")
        assert len(line) == MAX_SHOWN + len("1 | ......")
        assert line[len(mark) - len(word) : len(mark)] == word
    assert lines[1].endswith(" ^^^")


def test_a_span_longer_than_the_window_starts_in_it() -> None:
    line, mark = marks("x" * 500 + "[" + "y" * 5000, (1, 501, 1, 5502))
    assert line[mark.index("^")] == "["
    assert len(mark) <= len(line) + len(" here")


def test_escape_sequences_never_reach_the_terminal() -> None:
    evil = "\x1b[31m\x07\x9b\u202e\u200b\ud800\r"
    source = Source("f" + evil, "a" + evil.strip("\r"))
    label = Label(Span(source, 1, 1, 1, 3), "l" + evil + "\n")
    found = Diagnostic("x", "m" + evil + "\n", label, (label,), ("n" + evil,), "h" + evil)
    forms: tuple[Form, ...] = ("full", "concise", "json")
    for form in forms:
        text = render([found], form)
        assert not re.search("[^\n\x20-\x7e]", text)
        text.encode()
    assert render([found], "concise").count("\n") == 0


def test_color_adds_nothing_but_escape_sequences() -> None:
    with pytest.raises(SpecError) as caught:
        spec("a: 1\na: 2\nb: !t")
    found = [*caught.value.diagnostics, Diagnostic("odd", "is odd", severity="warning")]
    forms: tuple[Form, ...] = ("full", "concise", "json")
    for form in forms:
        colored = render(found, form, color=True)
        assert ("\x1b[1;31merror[duplicate-key]\x1b[0m" in colored) == (form != "json")
        assert ("\x1b[1;33mwarning[odd]\x1b[0m" in colored) == (form != "json")
        assert re.sub(r"\x1b\[[0-9;]*m", "", colored) == render(found, form)
    assert "\x1b[1;34m2 |\x1b[0m a: 2" in render(found, color=True)


def test_concise() -> None:
    document = spec()
    found = [
        Diagnostic("x", "one", Label(document.span(("layers", 1)), "r"), help="h"),
        Diagnostic("y", "two", severity="warning"),
    ]
    assert render(found, "concise") == drawn("""
        specs/resnet.yaml:4:5: error[x]: one
        warning[y]: two
        """)


def test_json() -> None:
    document = spec()
    found = [
        Diagnostic(
            "x",
            "one",
            Label(document.span(("layers", 1)), "r"),
            (Label(document.span(("cnnspec",))),),
            ("n",),
            "h",
        ),
        Diagnostic("y", "two", severity="warning"),
    ]
    here = {"file": "specs/resnet.yaml", "line": 4, "column": 5, "end_line": 4, "end_column": 9}
    there = {"file": "specs/resnet.yaml", "line": 1, "column": 10, "end_line": 1, "end_column": 11}
    nowhere = dict.fromkeys(("file", "line", "column", "end_line", "end_column", "label"))
    assert json.loads(render(found, "json")) == {
        "diagnostics": [
            {
                "code": "x",
                "severity": "error",
                "message": "one",
                **here,
                "label": "r",
                "secondary": [{**there, "label": None}],
                "notes": ["n"],
                "help": "h",
            },
            {
                "code": "y",
                "severity": "warning",
                "message": "two",
                **nowhere,
                "secondary": [],
                "notes": [],
                "help": None,
            },
        ]
    }


def test_nothing_to_show() -> None:
    assert render([]) == ""
    assert render([], "concise") == ""
    assert json.loads(render([], "json")) == {"diagnostics": []}


def test_summary_counts_files() -> None:
    one, two = spec(name="a.yaml"), spec(name="b.yaml")
    found = [
        Diagnostic("x", "m", Label(document.span(())), severity="warning")
        for document in (one, two)
    ]
    assert render(found).endswith("\n\nwarning: 2 warnings in 2 files")
    assert render([Diagnostic("x", "m")]) == "error[x]: m\n\nerror: 1 error"


@settings(deadline=None)
@given(
    st.text(max_size=300),
    st.tuples(*[st.integers(1, 400)] * 4),
    st.text(max_size=20),
    st.booleans(),
)
def test_any_span_and_text_can_be_rendered(
    text: str, span: tuple[int, int, int, int], message: str, color: bool
) -> None:
    label = Label(Span(Source(message, text), *span), message)
    found = Diagnostic("x", message, label, (label,), (message,), message)
    forms: tuple[Form, ...] = ("full", "concise", "json")
    for form in forms:
        assert render([found], form, color=color)


def test_nothing_heavy_is_imported() -> None:
    code = (
        "import sys, cnnspec.document, cnnspec.render\n"
        "print([m for m in ('numpy', 'rich', 'typer', 'pydantic', 'click') if m in sys.modules])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"
