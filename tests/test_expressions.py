from __future__ import annotations

import ast
import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cnnspec.document import parse
from cnnspec.expression_parser import Parser
from cnnspec.expressions import MOST_INTEGER, ExpressionError
from cnnspec.faults import Faults
from cnnspec.templates import FAULT, Known, Template, evaluate, python_text, resolve
from tests.spec_errors import check_marked

VALUES = {"n": 7, "k": 3, "half": 0.5, "yes": True, "no": False, "mode": "same", "sizes": (1, 2)}


def python(text: str) -> object:
    """What Python makes of a text: emitted files have it."""
    return eval(text, {"true": True, "false": False}, dict(VALUES))  # noqa: S307 - our own text


def value(text: str) -> object:
    """What an expression is for `VALUES`, read as parameters and as constants."""
    found = Parser(f"({text})", 0, tuple(VALUES), {}).parenthesized()
    constant = Parser(f"({text})", 0, (), VALUES).parenthesized()
    assert not constant.names
    result = found.value(VALUES)
    assert repr(constant.value({})) == repr(result)
    assert repr(python(found.text)) == repr(result)
    return result


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("1", 1),
        ("1.0", 1.0),
        ("1.", 1.0),
        (".5", 0.5),
        ("1e-3", 1e-3),
        ("2E2", 200.0),
        ("n + k", 10),
        ("n - k - 1", 3),
        ("n - (k - 1)", 5),
        ("n * k // 2", 10),
        ("n // k * 2", 4),
        ("n / k", 7 / 3),
        ("6 / 3", 2.0),
        ("n % k", 1),
        ("-n // 2", -4),
        ("-n % 4", 1),
        ("- - n", 7),
        ("+n", 7),
        ("n * -k", -21),
        ("n + half", 7.5),
        ("2 + 3 * 4", 14),
        ("(2 + 3) * 4", 20),
        ("n > k", True),
        ("n < k", False),
        ("n >= 7", True),
        ("n <= 6", False),
        ("n == 7.0", True),
        ("n != 7", False),
        ("0 < k < n", True),
        ("0 < n < k", False),
        ("mode == 'same'", True),
        ('mode != "valid"', True),
        ("yes == no", False),
        ("sizes == sizes", True),
        ("yes and not no", True),
        ("no or n > 3", True),
        ("not n > 3", False),
        ("not no and no", False),
        ("no and 1 / 0 > 1", False),
        ("yes or 1 / 0 > 1", True),
        ("n if yes else 1 / 0", 7),
        ("1 if no else 2 if no else 3", 3),
        ("(n if yes else k) + 1", 8),
        ("n if n > k and k > 1 else k", 7),
        ("min(n, k)", 3),
        ("max(n, k, 9)", 9),
        ("max(1, half)", 1),
        ("min(n, max(k, 5))", 5),
        ("true", True),
        ("False", False),
        ("mode", "same"),
        ("sizes", (1, 2)),
        ("9007199254740992", MOST_INTEGER),
        ("-9007199254740992", -MOST_INTEGER),
        ("  n\t+ 1 ", 8),
    ],
)
def test_values(text: str, wanted: object) -> None:
    found = value(text)
    assert (type(found), found) == (type(wanted), wanted)


@pytest.mark.parametrize(
    ("text", "at", "code", "message"),
    [
        ("$(1 +)", (5, 6), "expression-syntax", "`\\)` is not expected"),
        ("$()", (1, 3), "expression-syntax", "empty"),
        ("$(", (1, 2), "expression-syntax", "ends too early"),
        ("$(n", (0, 3), "expression-syntax", "closing bracket is missing"),
        ("$(n k)", (4, 5), "expression-syntax", "`k` is not expected"),
        ("$(n ** k)", (4, 6), "expression-syntax", "`\\*\\*` is no operator"),
        ("$(n # k)", (4, 5), "expression-syntax", "no meaning"),
        ("$(n.real)", (3, 4), "expression-syntax", "no meaning"),
        ("$(n[0])", (3, 4), "expression-syntax", "no meaning"),
        ("$(lambda: n)", (2, 8), "unknown-parameter", "no parameter `lambda`"),
        ("$(__import__('os'))", (2, 12), "unknown-parameter", "no parameter"),
        ("$(n(1))", (2, 3), "expression-syntax", "no function `n`"),
        ("$(min)", (2, 5), "expression-syntax", "`min` is a function"),
        ("$(min(n))", (2, 8), "expression-syntax", "two or more"),
        ("$(min(n,))", (8, 9), "expression-syntax", "not expected"),
        ("$(min(n, k)", (0, 11), "expression-syntax", "closing bracket is missing"),
        ("$(((n))", (0, 7), "expression-syntax", "closing bracket is missing"),
        ("$(2n)", (2, 4), "expression-syntax", "followed by a letter"),
        ("$(0777)", (2, 6), "expression-syntax", "start with 0"),
        ("$('a)", (2, 3), "expression-syntax", "no meaning"),
        ("$('a\\n')", (2, 3), "expression-syntax", "no meaning"),
        ("$(n if yes)", (10, 11), "expression-syntax", "`else` is missing"),
        ("$(if)", (2, 4), "expression-syntax", "not expected"),
        ("$(n = 1)", (4, 5), "expression-syntax", "no meaning"),
        ("$(n + ä)", (6, 7), "expression-syntax", "no meaning"),
        ("a $", (2, 3), "expression-syntax", "followed by the name"),
        ("$ n", (0, 1), "expression-syntax", "followed by the name"),
        ("${n}", (0, 1), "expression-syntax", "followed by the name"),
        ("$nn", (1, 3), "unknown-parameter", "no parameter `nn`"),
        ("$(k + index)", (6, 11), "unknown-parameter", "no parameter `index`"),
        ("a$n-$x", (5, 6), "unknown-parameter", "no parameter `x`"),
        ("$(" + "(" * 60 + "n" + ")" * 60 + ")", (42, 43), "expression-too-large", "deep"),
        ("$(" + "-" * 60 + "n)", (42, 43), "expression-too-large", "deep"),
        ("$(" + "not " * 60 + "yes)", (162, 165), "expression-too-large", "deep"),
        ("$(" + "n+" * 60 + "n)", (83, 84), "expression-too-large", "deep"),
        ("$n" + "x" * 500, (0, 502), "expression-too-large", "characters"),
        ("$(9007199254740993)", (2, 18), "expression-value", "beyond 2\\^53"),
        ("$(" + "9" * 400 + ")", (2, 402), "expression-value", "beyond 2\\^53"),
        ("$(1e999)", (2, 7), "expression-value", "not finite"),
        # these depend on parameters
        ("$(n / (k - 3))", (2, 13), "expression-value", "divides by zero"),
        ("$(n // 0)", (2, 8), "expression-value", "divides by zero"),
        ("$(n % 0.0)", (6, 9), "expression-type", "`%` takes whole numbers"),
        ("$(n // half)", (7, 11), "expression-type", "`//` takes whole numbers"),
        ("$(9007199254740992 * n)", (2, 22), "expression-value", "beyond 2\\^53"),
        ("$(9007199254740992 + n)", (2, 22), "expression-value", "beyond 2\\^53"),
        ("$(1e308 * 10 * n)", (2, 12), "expression-value", "not finite"),
        ("$(half / 5e-324)", (2, 15), "expression-value", "not finite"),
        ("$(n + yes)", (6, 9), "expression-type", "a number is needed, and this is true"),
        ("$(n + mode)", (6, 10), "expression-type", "a number is needed, and this is the text"),
        ("$(sizes * 2)", (2, 7), "expression-type", "a number is needed, and this is a list"),
        ("$(-mode)", (3, 7), "expression-type", "a number is needed"),
        ("$(min(n, mode))", (9, 13), "expression-type", "a number is needed"),
        ("$(not n)", (6, 7), "expression-type", "true or false is needed, and this is a number"),
        ("$(yes and n)", (10, 11), "expression-type", "true or false is needed"),
        ("$(1 if n else 2)", (7, 8), "expression-type", "true or false is needed"),
        ("$(n == mode)", (2, 11), "expression-type", "cannot be compared"),
        ("$(n == yes)", (2, 10), "expression-type", "cannot be compared"),
        ("$(mode < mode)", (2, 13), "expression-type", "`<` compares numbers"),
        ("a $sizes", (3, 8), "expression-type", "a list cannot stand inside a text"),
    ],
)
def test_faults(text: str, at: tuple[int, int], code: str, message: str) -> None:
    document = parse(f"key: '{text}'" if "'" not in text else f'key: "{text}"', "spec.yaml")
    if "\\" in text:
        document = parse('key: "$(' + "'a\\\\n')" + '"', "spec.yaml")
    assert isinstance(document.value, dict)
    faults = Faults(document)
    found = resolve(faults, document.value["key"], ("key",), Known({}, tuple(VALUES)))
    if found is not FAULT:
        assert evaluate(faults, found, VALUES) is FAULT
    (diagnostic,) = faults.found
    assert diagnostic.code == code
    assert re.search(message, diagnostic.message), diagnostic.message
    assert diagnostic.primary is not None
    span = diagnostic.primary.span
    if "\\" not in text:  # an escape: the whole text is shown
        assert (span.column - 7, span.end_column - 7) == at, diagnostic


def test_an_unknown_parameter_is_guessed() -> None:
    found = check_marked(
        "cnnspec: 1\ninput: [3]\ndefine: {b: {parameters: {channels: 3}, layers: "
        "[{dense: {units: $@@chanels}}, {dense: {units: $channels}}]}}\nlayers: [b]\n",
        "unknown-parameter",
    )
    assert found.help == "did you mean `channels`?"


def test_a_comma_inside_flow_is_explained() -> None:
    found = check_marked(
        "cnnspec: 1\ninput: [3]\nparameters: {n: 3}\nlayers:\n- dense: {units: [@@$(min(n, 4))]}\n",
        "expression-syntax",
    )
    assert "in quotes" in found.help


@pytest.mark.parametrize(
    ("text", "mark"),
    [
        ("units: @@$(n / 0)", "n / 0"),
        ("units: '@@$(n / 0)'", "n / 0"),
        ('units: "@@$(n / 0)"', "n / 0"),
        ('units: "@@$(n\\x20/ 0)"', None),
        ("units: @@$(n /\n      0)", None),
    ],
)
def test_faults_stand_at_their_characters(text: str, mark: str | None) -> None:
    head = "cnnspec: 1\ninput: [3]\nparameters: {n: 3}\nlayers:\n- dense:\n    "
    at = text if mark is None else text.replace("@@$(", "$(@@")
    found = check_marked(
        head + at.replace('"@@', '@@"') + "\n" if mark is None else head + at + "\n",
        "expression-value",
    )
    assert found.primary is not None
    span = found.primary.span
    if mark is not None:
        assert span.end_column - span.column == len(mark)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("plain", "plain"),
        ("$n", 7),
        ("$(n)", 7),
        ("$half", 0.5),
        ("$yes", True),
        ("$sizes", (1, 2)),
        (" $n", " 7"),
        ("$n$k", "73"),
        ("a$n.b", "a7.b"),
        ("layer$(n + 1)_x", "layer8_x"),
        ("$yes!", "true!"),
        ("x$half", "x0.5"),
        ("$$n", "$n"),
        ("$$$n", "$7"),
        ("5$$", "5$"),
        ("$(mode)s", "sames"),
        (("$n", (1, "$k")), (7, (1, 3))),
        ({"normal": {"std": "$half"}}, {"normal": {"std": 0.5}}),
        (None, None),
    ],
)
def test_strings(text: object, wanted: object) -> None:
    faults = Faults(parse("{}", "x"))
    known = Known({}, tuple(VALUES))
    found = evaluate(faults, resolve(faults, text, (), known), VALUES)
    constant = resolve(faults, text, (), Known(VALUES))
    assert not faults.found
    assert repr(found) == repr(constant) == repr(wanted)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("$n", "n"),
        ("$(2 *(n+width))", "2 * (n + 64)"),
        ("$( n  if yes else -low )", "n if yes else --3"),
        (("$n", 3), "(n, 3)"),
        (("$n",), "(n,)"),
        (("$n", ("$k", "x")), "(n, (k, 'x'))"),
        ("a$(n + 1)", "f'a{n + 1}'"),
        ("$$", None),
        ("$width", None),
        (3, None),
        ({"a": "$n"}, None),
    ],
)
def test_text_in_python(value: object, text: str | None) -> None:
    faults = Faults(parse("{}", "x"))
    known = Known({"width": 64, "low": -3}, tuple(VALUES))
    assert python_text(resolve(faults, value, (), known)) == text
    assert not faults.found


def test_what_is_read_is_known() -> None:
    known = Known({"width": 64}, ("n", "k", "unused"))
    found = resolve(Faults(parse("{}", "x")), "$(n * width)-$n", (), known)
    assert isinstance(found, Template)
    assert found.names == {"n"}
    assert (known.used, known.used_constants) == ({"n"}, {"width"})


SMALL = st.integers(-4, 4).map(str) | st.sampled_from(["n", "k", "half", "yes", "no", "mode"])


def joined(parts: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    signs = "+ - * / // % < <= > >= == != and or".split()
    return (
        st.builds(lambda a, s, b: f"{a} {s} {b}", parts, st.sampled_from(signs), parts)
        | st.builds(lambda a: f"({a})", parts)
        | st.builds(lambda a: f"-({a})", parts)
        | st.builds(lambda a: f"not {a}", parts)
        | st.builds(lambda a, b, c: f"{a} if {b} else {c}", parts, parts, parts)
        | st.builds(lambda f, a, b: f"{f}({a}, {b})", st.sampled_from(["min", "max"]), parts, parts)
    )


@given(st.recursive(SMALL, joined, max_leaves=8))
def test_python_agrees(text: str) -> None:
    """Whatever has a value has the same in Python, read from the same text and from ours."""
    try:
        expression = Parser(f"({text})", 0, tuple(VALUES), {}).parenthesized()
        found = expression.value(VALUES)
    except ExpressionError:
        return
    for source in (text, expression.text):
        assert repr(python(source)) == repr(found)
    assert ast.dump(ast.parse(expression.text)) == ast.dump(ast.parse(f"({text})"))


@given(st.text(st.sampled_from("nk12.+-*/%<>=!()'\", $aif else not"), max_size=60))
def test_any_text_is_read_or_refused(text: str) -> None:
    faults = Faults(parse("{}", "x"))
    found = resolve(faults, text, (), Known({}, tuple(VALUES)))
    if found is not FAULT:
        evaluate(faults, found, VALUES)
    for diagnostic in faults.found:
        assert diagnostic.code.startswith(("expression-", "unknown-parameter"))


@pytest.mark.parametrize(
    "text",
    ["$(" + "1+" * 249, "$(" + "(" * 498, "$(" + "9" * 490 + ")", "$(n" + "<n" * 248 + ")"],
)
def test_bounds_in_time(text: str) -> None:
    start = time.perf_counter()
    faults = Faults(parse("{}", "x"))
    assert resolve(faults, text, (), Known({}, ("n",))) is FAULT or len(text) == 500
    assert time.perf_counter() - start < 0.5


def test_numbers_stay_finite() -> None:
    found = Parser("(a * a)", 0, ("a",), {}).parenthesized()
    assert found.value({"a": 2.0**500}) == 2.0**1000
    with pytest.raises(ExpressionError, match="not finite"):
        found.value({"a": 2.0**600})
