from __future__ import annotations

import json
import math
import re
import time
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from cnnspec import document_yaml
from cnnspec.diagnostics import Diagnostic, SetupError, Span, SpecError
from cnnspec.document import LINE_BREAK, MAX_BYTES, Document, Value, parse, read
from cnnspec.document_builder import MAX_DEPTH, MAX_FAULTS


def faults(text: str, *, json: bool = False) -> list[Diagnostic]:
    with pytest.raises(SpecError) as caught:
        parse(text, "spec", json=json)
    return list(caught.value.diagnostics)


def places(found: list[Diagnostic]) -> list[tuple[str, int, int]]:
    return [
        (d.code, d.primary.span.line, d.primary.span.column) for d in found if d.primary is not None
    ]


def extent(span: Span) -> tuple[int, int, int, int]:
    return span.line, span.column, span.end_line, span.end_column


def cut(span: Span) -> str:
    starts = [0, *(found.end() for found in LINE_BREAK.finditer(span.source.text))]
    start = starts[span.line - 1] + span.column - 1
    return span.source.text[start : starts[span.end_line - 1] + span.end_column - 1]


@pytest.fixture(params=["C", "pure"])
def parser(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "pure":
        monkeypatch.setattr(document_yaml, "_LOADER", yaml.SafeLoader)
    return str(request.param)


# Values


@pytest.mark.usefixtures("parser")
@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-3", 0.001),
        ("1e5", 1e5),
        ("1.5E+3", 1500.0),
        (".5", 0.5),
        ("1.", 1.0),
        ("-0.0", -0.0),
        ("010", 10),
        ("-07", -7),
        ("+3", 3),
        ("0o17", 15),
        ("0x1F", 31),
        ("-0x1F", "-0x1F"),
        ("0b1", "0b1"),
        ("1_000", "1_000"),
        ("12:30", "12:30"),
        ("2020-01-01", "2020-01-01"),
        ("9223372036854775807", 2**63 - 1),
        ("-9223372036854775807", -(2**63 - 1)),
        ("0" * 5000 + "1", 1),
        ("no", "no"),
        ("yes", "yes"),
        ("on", "on"),
        ("true", True),
        ("FALSE", False),
        ("tRUE", "tRUE"),
        ("null", None),
        ("~", None),
        ("", None),
        ("'1'", "1"),
        ('"null"', "null"),
        ("'<<'", "<<"),
        ("<<", "<<"),
        (".", "."),
        ("inf", "inf"),
        ("١", "١"),  # a digit, but no ASCII one
        ("$(channels * 4)", "$(channels * 4)"),
        ("[1, [2, {b: 3}]]", (1, (2, {"b": 3}))),
        ("|\n  x\n  y\n", "x\ny\n"),
    ],
)
def test_yaml_core_schema(text: str, value: Value) -> None:
    found = parse(f"a: {text}", "spec").value
    assert isinstance(found, dict)
    assert found == {"a": value}
    assert type(found["a"]) is type(value)


def test_sequences_are_tuples_and_order_is_kept() -> None:
    value = parse("b: [1, 2]\na:\n- x\n- y: z\n", "spec").value
    assert value == {"b": (1, 2), "a": ("x", {"y": "z"})}
    assert isinstance(value, dict)
    assert list(value) == ["b", "a"]


def test_notation_follows_the_name() -> None:
    assert parse('{"a":\t"x"}', "spec.JSON").value == {"a": "x"}
    assert parse("a: x", "spec.yaml").value == {"a": "x"}
    with pytest.raises(SpecError):
        parse("a: x", "spec.json")


def test_anchors_and_aliases() -> None:
    document = parse("a: &x {k: 1}\nb: *x\nc: &x 2\nd: *x\n", "spec")
    assert document.value == {"a": {"k": 1}, "b": {"k": 1}, "c": 2, "d": 2}
    assert extent(document.span(("b",))) == (2, 4, 2, 6)
    # Below an alias the place is that of the value itself, where a fault would be mended.
    assert extent(document.span(("b", "k"))) == (1, 11, 1, 12)
    assert extent(document.key_span(("b", "k"))) == (1, 8, 1, 9)


# Spans


@pytest.mark.usefixtures("parser")
def test_spans_of_every_kind_of_node() -> None:
    document = parse(
        "cnnspec: 1\n"
        "layers:\n"
        "  - conv: {name: c,\n"
        "           kernel: [3, 3]}\n"
        "\n"
        "  # a remark\n"
        "  - relu\n"
        "\n"
        "text: |\n"
        "  one\n"
        "\n"
        "empty:\n"
        "last: 'x'  # and a remark\n"
        "\n",
        "spec",
    )
    spans = {path: extent(span) for path, span in document.spans.items()}
    assert spans == {
        (): (1, 1, 13, 10),
        ("cnnspec",): (1, 10, 1, 11),
        ("layers",): (3, 3, 7, 9),
        ("layers", 0): (3, 5, 4, 27),
        ("layers", 0, "conv"): (3, 11, 4, 27),
        ("layers", 0, "conv", "name"): (3, 18, 3, 19),
        ("layers", 0, "conv", "kernel"): (4, 20, 4, 26),
        ("layers", 0, "conv", "kernel", 0): (4, 21, 4, 22),
        ("layers", 0, "conv", "kernel", 1): (4, 24, 4, 25),
        ("layers", 1): (7, 5, 7, 9),
        ("text",): (9, 7, 10, 6),
        ("empty",): (12, 7, 12, 7),
        ("last",): (13, 7, 13, 10),
    }
    keys = {path: extent(span) for path, span in document.key_spans.items()}
    assert keys[("layers",)] == (2, 1, 2, 7)
    assert keys[("layers", 0, "conv", "kernel")] == (4, 12, 4, 18)
    assert ("layers", 0) not in keys
    assert () not in keys
    assert len(document.spans) == 13


def test_unknown_paths_have_the_span_of_their_longest_prefix() -> None:
    document = parse("layers:\n  - conv: {filters: 8}\n", "spec")
    assert document.span(("layers", 0, "conv", "kernel")) == document.span(("layers", 0, "conv"))
    assert extent(document.key_span(("layers", 0, "conv", "kernel"))) == (2, 5, 2, 9)
    assert extent(document.key_span(("layers", 0))) == (2, 5, 2, 23)
    assert extent(document.span(("layers", 7, "x"))) == (2, 3, 2, 23)
    assert extent(document.span(("layers", -1))) == (2, 3, 2, 23)
    assert extent(document.key_span(())) == extent(document.span(())) == (1, 1, 2, 23)
    assert document.span(("a", "b")) == document.span(())


@pytest.mark.usefixtures("parser")
@pytest.mark.parametrize(
    ("text", "line", "column"),
    [
        ("\ufeffa: 1", 1, 4),
        ("é: 1", 1, 4),
        ("😀: 1", 1, 4),
        ("x: y\r\na: 1", 2, 4),
        ("x: y\ra: 1", 2, 4),
        ("x: 'y\r\n  z'\r\n\r\na: 1", 4, 4),
        ("x: |\r\n  y\r\n  z\r\na: 1", 4, 4),
        ("x: 😀\n\n# 漢字\na: 1", 4, 4),
    ],
)
def test_columns_count_characters(text: str, line: int, column: int) -> None:
    document = parse(text, "spec")
    assert isinstance(document.value, dict)
    span = document.span((list(document.value)[-1],))
    assert (span.line, span.column) == (line, column)
    assert cut(span) == "1"


def test_tabs_count_as_one_character() -> None:
    assert extent(parse('{\t"a":\t"😀",\r\n\t"b": 1}', "s.json").span(("b",))) == (2, 7, 2, 8)
    assert extent(parse("a:\t1", "spec").span(("a",))) == (1, 4, 1, 5)


_words = st.text("abcxyz", min_size=1, max_size=6)
_scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**63) + 1, 2**63 - 1),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=12),
    _words,
)
_values = st.recursive(
    _scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=12,
)


def frozen(value: Any) -> Any:
    if isinstance(value, list):
        return tuple(map(frozen, value))
    if isinstance(value, dict):
        return {key: frozen(item) for key, item in value.items()}
    return value


def at(value: Any, path: tuple[str | int, ...]) -> Any:
    for step in path:
        value = value[step]
    return value


def check_round_trip(document: Document, *, json: bool) -> None:
    for path, span in document.spans.items():
        text = cut(span)
        if not text:
            assert at(document.value, path) is None
            continue
        # A block's first line lacks its indentation, which the others still have.
        again = parse(text if json else " " * (span.column - 1) + text, "again", json=json)
        assert again.value == at(document.value, path)
    for path, span in document.key_spans.items():
        assert parse(cut(span), "again", json=json).value == path[-1]


@settings(deadline=None)
@given(_values, st.sampled_from([None, 1, "\t"]), st.booleans())
def test_json_spans_hold_their_values(value: Any, indent: int | str | None, ascii: bool) -> None:
    text = json.dumps(value, indent=indent, ensure_ascii=ascii)
    assume(not re.search("[\ud800-\udfff]", text) and r"\ud" not in text.lower())
    document = parse(text, "s.json")
    assert document.value == frozen(value)
    check_round_trip(document, json=True)


_yaml_scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(10**9), 10**9),
    _words,
    st.text(" ab:#-'\"é漢😀", max_size=8),
)
_yaml_values = st.recursive(
    _yaml_scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_words, inner, max_size=4),
    max_leaves=12,
)


@settings(deadline=None)
@given(_yaml_values, st.sampled_from([True, False, None]), st.sampled_from(["\n", "\r\n"]))
def test_yaml_spans_hold_their_values(value: Any, flow: bool | None, line_break: str) -> None:
    text = yaml.safe_dump(
        value, default_flow_style=flow, allow_unicode=True, sort_keys=False, width=30
    )
    text = text.removesuffix("...\n").replace("\n", line_break)
    document = parse(text, "spec", json=False)
    assert document.value == frozen(value)
    check_round_trip(document, json=False)


# Faults


@pytest.mark.usefixtures("parser")
@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a: [1\n", [("yaml-syntax", 2, 1)]),
        ("a: @x", [("yaml-syntax", 1, 4)]),
        ("a: b: c", [("yaml-syntax", 1, 5)]),
        ("a: 1\n\tb: 2", [("yaml-syntax", 2, 1)]),
        ("a: 1\nb: 2\na: 3\nb: 4\na: 5", [("duplicate-key", n, 1) for n in (3, 4, 5)]),
        ("{a: {b: 1, b: 2}, 'a': 1}", [("duplicate-key", 1, 12), ("duplicate-key", 1, 19)]),
        ("a: !!str 1", [("yaml-tag", 1, 4)]),
        ("a: ! x", [("yaml-tag", 1, 4)]),
        ("a: &b !c [1]", [("yaml-tag", 1, 7)]),
        ("a: !<tag:x> {b: 1}", [("yaml-tag", 1, 4)]),
        ("a: !!python/object/apply:os.system ['id']", [("yaml-tag", 1, 4)]),
        ("!!map {!!str a: 1}", [("yaml-tag", 1, 1), ("yaml-tag", 1, 8)]),
        ("%TAG ! tag:x,2000:\n---\na: !b 1", [("yaml-tag", 3, 4)]),
        ("a: *b", [("alias-unknown", 1, 4)]),
        ("a: &x [1, *x]", [("alias-recursive", 1, 11)]),
        ("a: &x {b: {c: *x}}", [("alias-recursive", 1, 15)]),
        ("a: &x {b: 1}\nc:\n  <<: *x", [("merge-key", 3, 3)]),
        ("a: 1\n---\nb: 2", [("several-documents", 2, 1)]),
        ("a: 1\n...\n---\nb: [", [("several-documents", 3, 1)]),
        ("%YAML 1.1\n---\na: 1", [("yaml-version", 1, 1)]),
        ("1: x\nnull: y\ntrue: z\n1.5: z", [("key-not-string", n, 1) for n in (1, 2, 3, 4)]),
        ("a: {[b]: 1, {c: d}: 2}", [("key-not-string", 1, 5), ("key-not-string", 1, 13)]),
        ("? - a\n: b", [("key-not-string", 1, 3)]),
        ("? \n: b", [("key-not-string", 1, 2)]),
        ("a: 9223372036854775808", [("number-too-large", 1, 4)]),
        ("a: -" + "9" * 5000, [("number-too-large", 1, 4)]),
        ("a: 0x" + "f" * 5000, [("number-too-large", 1, 4)]),
        ("a: [.inf, -.INF, .nan, 1e999]", [("number-not-finite", 1, n) for n in (5, 11, 18, 24)]),
        ("", [("empty-document", 1, 1)]),
        ("\ufeff \n# only a remark\n", [("empty-document", 1, 1)]),
        ("---\n", [("empty-document", 1, 1)]),
        ("a: b\n\0", [("not-text", 2, 1)]),
        ("a: b\nc: \x1b[31m", [("control-character", 2, 4)]),
        ("# x\u2028a: 1", [("control-character", 1, 4)]),
        ("a: 1\n\ufeffb: 1", [("control-character", 2, 1)]),
        ("a: \ud800", [("control-character", 1, 4)]),
    ],
)
def test_yaml_faults(text: str, expected: list[tuple[str, int, int]], parser: str) -> None:
    found = places(faults(text))
    if expected[0][0] == "yaml-syntax" and parser == "pure":
        expected = [(expected[0][0], *found[0][1:])]  # the two stop a character or so apart
    assert found == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{", [("json-syntax", 1, 2)]),
        ('{"a": 1,}', [("json-syntax", 1, 9)]),
        ("[1,\n ]", [("json-syntax", 2, 2)]),
        ("[1 2]", [("json-syntax", 1, 4)]),
        ('{"a" 1}', [("json-syntax", 1, 6)]),
        ("{'a': 1}", [("json-syntax", 1, 2)]),
        ("{a: 1}", [("json-syntax", 1, 2)]),
        ("[True]", [("json-syntax", 1, 2)]),
        ("[01]", [("json-syntax", 1, 2)]),
        ("[1.]", [("json-syntax", 1, 2)]),
        ("[+1]", [("json-syntax", 1, 2)]),
        ("1 // one", [("json-syntax", 1, 3)]),
        ('"a\tb"', [("json-syntax", 1, 3)]),
        ('"a\x1bb"', [("json-syntax", 1, 3)]),
        ('["a\n"]', [("json-syntax", 1, 2)]),
        (r'"a\x41"', [("json-syntax", 1, 3)]),
        (r'"\u12"', [("json-syntax", 1, 2)]),
        (r'["\ud800"]', [("lone-surrogate", 1, 2)]),
        ('{"a": 1,\n "a": 2, "\\u0061": 3}', [("duplicate-key", 2, 2), ("duplicate-key", 2, 10)]),
        (
            "[NaN, Infinity, -Infinity, 1e999]",
            [("number-not-finite", 1, n) for n in (2, 7, 17, 28)],
        ),
        ("[" + "9" * 5000 + "]", [("number-too-large", 1, 2)]),
        (" \n", [("empty-document", 1, 1)]),
        ("[\0]", [("not-text", 1, 2)]),
        ('"\ud800"', [("control-character", 1, 2)]),
    ],
)
def test_json_faults(text: str, expected: list[tuple[str, int, int]]) -> None:
    assert places(faults(text, json=True)) == expected


def test_duplicate_key_shows_both_places() -> None:
    (found,) = faults("a: 1\nb: {c: 1,\n  c: 2}")
    assert found.primary is not None
    assert extent(found.primary.span) == (3, 3, 3, 4)
    assert [extent(label.span) for label in found.secondary] == [(2, 5, 2, 6)]


def test_faults_before_a_syntax_error_are_reported_with_it() -> None:
    assert places(faults("a: 1\na: 2\nb: [")) == [("duplicate-key", 2, 1), ("yaml-syntax", 3, 5)]


def test_faults_are_bounded() -> None:
    assert len(faults("[" + "!t x, " * 10_000 + "]")) == MAX_FAULTS


def test_misspelt_alias_is_guessed() -> None:
    assert faults("a: &kernel 3\nb: *kernal")[0].help == "did you mean `*kernel`?"


# Bombs


@pytest.mark.usefixtures("parser")
@pytest.mark.parametrize("text", ["[" * 3000, "{a: " * 3000, "- " * 3000, "? " * 3000])
def test_deep_yaml_is_one_diagnostic(text: str) -> None:
    (found,) = faults(text)
    unit = len(text) // 3000
    assert places([found]) == [("nesting-too-deep", 1, 1 + unit * MAX_DEPTH)]


@pytest.mark.parametrize("text", ["[" * 3000, '{"a":' * 3000, "[" * 3000 + "]" * 3000])
def test_deep_json_is_one_diagnostic(text: str) -> None:
    assert [d.code for d in faults(text, json=True)] == ["nesting-too-deep"]


def test_nesting_up_to_the_limit_is_fine() -> None:
    text = "[" * MAX_DEPTH + "]" * MAX_DEPTH
    assert parse(text, "spec").value == parse(text, "s.json").value


def test_aliases_do_not_hide_depth() -> None:
    lines = ["a0: &a0 [1]"] + [f"a{n}: &a{n} [*a{n - 1}]" for n in range(1, 200)]
    assert places(faults("\n".join(lines))) == [("nesting-too-deep", MAX_DEPTH, 12)]


def test_alias_bomb() -> None:
    lines = ["a: &a [x, x, x, x, x, x, x, x, x]"]
    for above, name in zip("abcdefgh", "bcdefghi", strict=True):
        lines.append(f"{name}: &{name} [{', '.join([f'*{above}'] * 9)}]")
    (found,) = faults("\n".join(lines))
    assert found.code == "alias-bomb"
    assert found.primary is not None
    assert found.primary.span.line == 6


def test_ten_thousand_layers_are_fast() -> None:
    layers = "".join(
        f"  - conv: {{name: c{n}, filters: 64, kernel: 3, padding: 1}}\n  - relu\n"
        for n in range(10_000)
    )
    start = time.perf_counter()
    document = parse("cnnspec: 1\nlayers:\n" + layers, "spec")
    assert time.perf_counter() - start < 10  # 0.3 s where libyaml is there
    assert extent(document.span(("layers", 19_998, "conv", "kernel"))) == (20_001, 46, 20_001, 47)


# Any text


@settings(deadline=None, max_examples=300)
@given(st.text() | st.text("[]{},:#&*!|>'\"%@`-? \n\t\r\\~<aé01.\u2028\ufeff\0", max_size=40))
def test_any_text_is_a_document_or_a_spec_error(text: str) -> None:
    for notation in (False, True):
        found: list[Diagnostic] = []
        try:
            document = parse(text, "spec", json=notation)
        except SpecError as error:
            found.extend(error.diagnostics)
        else:
            assert len(document.spans) >= 1
        assert all(d.primary is not None for d in found)


@settings(deadline=None, max_examples=300)
@given(st.text(' []{},:"0123-.eE+truefalsn\\u/\t\n', max_size=30) | _values.map(json.dumps))
def test_json_is_what_the_json_module_takes(text: str) -> None:
    def finite(word: str) -> float:
        assume(math.isfinite(float(word)))
        return float(word)

    def bounded(word: str) -> int:
        assume(abs(int(word)) < 2**63)
        return int(word)

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        assume(len(dict(pairs)) == len(pairs))
        return dict(pairs)

    try:
        value = json.loads(
            text,
            parse_constant=finite,
            parse_float=finite,
            parse_int=bounded,
            object_pairs_hook=unique,
        )
    except json.JSONDecodeError:
        faults(text, json=True)
        return
    assume(not re.search("[\ud800-\udfff]", json.dumps(value, ensure_ascii=False)))
    assert parse(text, "s.json").value == frozen(value)


# Files


def test_read_names_the_file_as_it_was_given(tmp_path: Path) -> None:
    file = tmp_path / "spec.yaml"
    file.write_bytes(b"\xef\xbb\xbfa: \xc3\xa9\r\n")
    document = read(file)
    assert document.name == str(file)
    assert document.value == {"a": "é"}
    assert document.text == "a: é\r\n"


def test_read_json_by_ending(tmp_path: Path) -> None:
    file = tmp_path / "spec.json"
    file.write_text('{"a": [1]}')
    assert read(str(file)).value == {"a": (1,)}


def test_unreadable_files(tmp_path: Path) -> None:
    cases: list[tuple[Path | str, str]] = [
        (tmp_path / "none.yaml", "file-not-found"),
        (tmp_path, "is-a-directory"),
        ("a\0b", "file-unreadable"),
        (str(tmp_path / ("x" * 5000)), "file-unreadable"),
    ]
    for path, code in cases:
        with pytest.raises(SetupError) as caught:
            read(path)
        assert [d.code for d in caught.value.diagnostics] == [code]
        assert caught.value.exit_status == 2


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"a: b\nc: \xe9\n", ("not-utf8", 2, 4)),
        (b"\xef\xbb\xbf\xc3\xa9: \xff", ("not-utf8", 1, 4)),
        ("a: b".encode("utf-16"), ("not-utf8", 1, 1)),
        ("a: b".encode("utf-16-le"), ("not-text", 1, 2)),
        (b"", ("empty-document", 1, 1)),
    ],
)
def test_files_that_hold_no_text(
    data: bytes, expected: tuple[str, int, int], tmp_path: Path
) -> None:
    file = tmp_path / "spec.yaml"
    file.write_bytes(data)
    with pytest.raises(SpecError) as caught:
        read(file)
    assert places(list(caught.value.diagnostics)) == [expected]


def test_not_utf8_names_the_byte(tmp_path: Path) -> None:
    file = tmp_path / "spec.yaml"
    file.write_bytes("é: ".encode() + b"\xff")
    with pytest.raises(SpecError, match="byte 0xff at offset 4 is not UTF-8"):
        read(file)


def test_file_too_large(tmp_path: Path) -> None:
    file = tmp_path / "spec.yaml"
    file.write_bytes(b" " * (MAX_BYTES + 1))
    with pytest.raises(SpecError) as caught:
        read(file)
    assert places(list(caught.value.diagnostics)) == [("file-too-large", 1, 1)]
    assert places(faults(" " * (MAX_BYTES + 1))) == [("file-too-large", 1, 1)]


def test_a_directive_for_yaml_1_2_is_fine() -> None:
    assert parse("%YAML 1.2\n---\na: 1\n", "spec").value == {"a": 1}
