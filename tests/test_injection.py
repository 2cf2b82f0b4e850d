"""A spec is untrusted: nothing written in it becomes code."""

from __future__ import annotations

import ast
import copy
import json
import warnings
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from cnnspec.api import SpecWarning, emit, load
from cnnspec.backends.groups import camel
from cnnspec.backends.program import AuditError, audit
from cnnspec.diagnostics import SpecError
from cnnspec.names import fault
from tests.networks import BACKENDS, STYLES

BENIGN: dict[str, Any] = {
    "cnnspec": 1,
    "name": "benign",
    "input": {"left": [2, 6, 6], "right": [2, 6, 6]},
    "layers": [
        {
            "conv": {
                "name": "first",
                "from": "left",
                "filters": 3,
                "kernel": 3,
                "padding": "same",
                "padding_mode": "reflect",
                "weight_init": "glorot_uniform",
            }
        },
        {"conv": {"name": "second", "from": "right", "share": "first", "filters": 3, "kernel": 3}},
        {"add": {"name": "sum_of_both", "from": ["first", "second"]}},
        {"sequence": {"name": "tail", "layers": [{"relu": {"name": "act"}}, "flatten"]}},
        {"dropout": {"name": "drop", "p": 0.5}},
        {"dense": {"name": "scores", "units": 3}},
        {"softmax": {"name": "kinds"}},
    ],
    "outputs": {"kind": "kinds", "raw": "sum_of_both"},
    "train": {
        "loss": {"kind": "cross_entropy", "raw": "mean_squared_error"},
        "optimizer": {"sgd": {"lr": 0.1}},
        "schedule": "constant",
    },
}
for _field in ("padding", "padding_mode", "weight_init"):
    BENIGN["layers"][1]["conv"][_field] = BENIGN["layers"][0]["conv"][_field]

Place = tuple[tuple[str | int, ...], bool]
"""Path of a string, and whether it is the last key itself."""


def strings(value: Any, path: tuple[str | int, ...] = ()) -> Iterator[Place]:
    if isinstance(value, str):
        yield path, False
    elif isinstance(value, dict):
        for key, entry in value.items():
            yield (*path, key), True
            yield from strings(entry, (*path, key))
    elif isinstance(value, list):
        for index, entry in enumerate(value):
            yield from strings(entry, (*path, index))


PLACES = list(strings(BENIGN))


def written(value: Any, path: tuple[str | int, ...]) -> str:
    for part in path:
        value = value[part]
    return str(value)


def changed(place: Place, text: str) -> dict[str, Any]:
    """The spec with this text in one place, in the same order; references follow a new name."""
    path, is_key = place
    spec = copy.deepcopy(BENIGN)
    above: Any = spec
    for part in path[:-1]:
        above = above[part]
    last = path[-1]
    if is_key:
        entries = [(text if key == last else key, value) for key, value in above.items()]
        above.clear()
        above.update(entries)
    else:
        above[last] = text
    return spec


def renamed_everywhere(old: str, new: str) -> dict[str, Any]:
    """The spec with a name replaced wherever it stands."""

    def walk(value: Any) -> Any:
        if isinstance(value, dict):
            return {new if key == old else key: walk(entry) for key, entry in value.items()}
        if isinstance(value, list):
            return [walk(entry) for entry in value]
        return new if value == old else value

    made: dict[str, Any] = walk(BENIGN)
    return made


def programs(spec: dict[str, Any]) -> list[ast.Module] | None:
    """The trees of all texts, audited; None where the spec is refused."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", SpecWarning)
            network = load(spec)
        texts = [emit(network, b, style=style).text for b in BACKENDS for style in STYLES.values()]
    except SpecError as error:
        for diagnostic in error.diagnostics:
            assert diagnostic.primary is not None or diagnostic.code == "name-clash"
        return None
    return [audit(text) for text in texts]


class _Blank(ast.NodeTransformer):
    """Blanks strings, and the names that the spec gives."""

    def __init__(self, *names: str) -> None:
        self.names = sorted(names, key=len, reverse=True)

    def _name(self, name: str) -> str:
        for known in self.names:
            name = name.replace(known, "_")
        return name

    def visit(self, node: ast.AST) -> ast.AST:
        self.generic_visit(node)
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            node.value = ""
        for attribute in ("id", "attr", "arg", "name"):
            value = getattr(node, attribute, None)
            if isinstance(value, str):
                setattr(node, attribute, self._name(value))
        return node


def shape_of(trees: list[ast.Module], *names: str) -> list[str]:
    blank = _Blank(*(n for n in names if n), *(camel(n) for n in names if n))
    return [ast.dump(blank.visit(tree)) for tree in trees]


HOSTILE = [
    'x"; import os',
    "x'; import os #",
    "x\nimport os",
    "x\r\nimport os",
    'a"""\nimport os\n"""',
    "{__import__('os').system('id')}",
    "__init__",
    "__class__",
    "_private",
    "class",
    "None",
    "lambda",
    "match ",
    "half",
    "forward",
    "state_dict",
    "conv1\n",
    "conv1\x00",
    "größe",
    "\ufb01rst",  # folds to `first` in identifiers
    "Ａ",
    "a.b",
    "a-b",
    "1st",
    "",
    " ",
    "a b",
    "x" * 65,
    "\ue000a\ue001",
    "\u2028",
    "\ud800",
    "$name",
    "$(__import__('os'))",
    "%s",
    "\\",
    "0",
    "self",
    "input",
]

TEXTS = (
    st.sampled_from(HOSTILE)
    | st.text(max_size=20)
    | st.sampled_from(HOSTILE).flatmap(lambda h: st.text(max_size=3).map(lambda t: t + h))
    | st.from_regex(r"zz[A-Za-z0-9_]{0,12}", fullmatch=True)
)


@given(st.sampled_from(PLACES), TEXTS)
@example((("name",), False), "zz_fine")
@example((("layers", 0, "conv", "name"), False), "zz_fine")
def test_text_in_any_place_is_refused_or_a_name(place: Place, text: str) -> None:
    found = programs(changed(place, text))
    if found is None:
        return
    old = str(place[0][-1]) if place[1] else written(BENIGN, place[0])
    benign = programs(BENIGN)
    assert benign is not None
    assert text == old or fault(text, attribute=False) is None
    assert shape_of(found, old, text) == shape_of(benign, old, text)


GIVEN = ("benign", "left", "first", "second", "sum_of_both", "tail", "act", "drop", "scores")


@given(st.sampled_from([*GIVEN, "kinds", "kind", "raw"]), TEXTS)
@example("first", "zz_first")
@example("kind", "zz_kind")
def test_a_consistent_renaming_changes_names_only(old: str, text: str) -> None:
    found = programs(renamed_everywhere(old, text))
    if found is None:
        assert not text.startswith("zz") or fault(text) is not None
        return
    assert fault(text, attribute=False) is None
    benign = programs(BENIGN)
    assert benign is not None
    assert shape_of(found, old, text) == shape_of(benign, old, text)


@pytest.mark.parametrize("text", HOSTILE)
@pytest.mark.parametrize("old", ["benign", "first", "tail", "kind", "left"])
def test_hostile_names_are_refused(old: str, text: str) -> None:
    # Names of networks, inputs and outputs are no attributes, so these may be called like one.
    attribute = old in ("first", "tail")
    found = programs(renamed_everywhere(old, text))
    if attribute or text not in ("half", "forward", "state_dict", "self"):
        assert found is None
        return
    benign = programs(BENIGN)
    assert found is not None
    assert benign is not None
    if text != "self":  # which stands everywhere
        assert shape_of(found, old, text) == shape_of(benign, old, text)


def test_the_comparison_can_fail() -> None:
    benign, planted = programs(BENIGN), programs(BENIGN)
    assert benign is not None
    assert planted is not None
    planted[0].body.append(ast.parse("import math").body[0])
    assert shape_of(benign, "first") != shape_of(planted, "first")


def test_the_audit_catches_a_planted_import(monkeypatch: pytest.MonkeyPatch) -> None:
    """A hole in the writer would be caught by the audit before anything runs."""
    from cnnspec import backends
    from cnnspec.backends import text as shared

    monkeypatch.setattr(shared, "summary_line", lambda graph: '"""; import os; """')
    for backend in ("numpy", "torch"):
        made = emit(json.dumps(BENIGN) + "\n", backend)
        with pytest.raises(AuditError, match="import of os"):
            backends.get(backend).open(made)
