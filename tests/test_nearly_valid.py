"""Specs that are nearly right: whatever is wrong with them is a SpecError with a place."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from cnnspec.build import build
from cnnspec.diagnostics import Diagnostic, SpecError
from cnnspec.document import parse
from cnnspec.expand import expand
from cnnspec.explain import explain
from cnnspec.ops import registered
from cnnspec.render import render
from cnnspec.schema import read_spec
from cnnspec.summary import summarize
from cnnspec.summary_text import render_summary
from cnnspec.testing.blocks import block_specs

EXAMPLES = settings().max_examples  # of the profile: these examples are cheap
SPECS = Path(__file__).parent.parent / "specs"
TEXTS = {path.stem: path.read_text() for path in sorted(SPECS.glob("*.yaml"))}


def value_of(text: str) -> Any:
    """A spec as plain values; what it includes stands in it, as a text has no directory."""
    value = json.loads(json.dumps(parse(text, "spec").value))
    for name in value.pop("include", []):
        library = value_of((SPECS / name).read_text())
        for key in ("parameters", "define"):
            if key in library:
                value[key] = {**library[key], **value.get(key, {})}
    return value


VALUES = {name: value_of(text) for name, text in TEXTS.items()}

WORDS = [
    *(cls.key for cls in registered()),
    *"sequence name from share expect layers input output same valid full causal".split(),
    *"relu1 conv1".split(),
    *"when repeat first last define parameters inputs outputs training_only required".split(),
    *"$channels $stride $width $index $n $$ $( $(index+1) $(channels*4) $(1//0) $(2>1)".split(),
    *"cross_entropy adam sgd zeros he_normal half class __init__ features".split(),
]
JUNK = st.one_of(
    st.sampled_from([None, True, False, 0, -1, 1, 2, 3, 1.5, 1e308, 10**7, 2**31 - 1, 2**31]),
    st.sampled_from([2**63 - 1, "", "x", 'x"; import os', "größe", "x" * 100, "{key}", "a\nb"]),
    st.sampled_from(WORDS),
    st.builds(list),
    st.builds(dict),
    st.lists(st.integers(-1, 9), max_size=5),
    st.lists(st.lists(st.integers(-1, 3), min_size=2, max_size=2), max_size=3),
    st.sampled_from([[None], {"": {}}, {"normal": {"std": 0}}, ["conv1", "relu1"], {"x": None}]),
)


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The path of every value but the root."""
    entries = value.items() if isinstance(value, dict) else enumerate(value)
    for key, entry in entries:
        yield (*path, key)
        if isinstance(entry, dict | list):
            yield from places(entry, (*path, key))


def _mutate(draw: st.DrawFn, value: Any) -> None:
    """Change one thing in place."""
    found = list(places(value))
    if not found:
        return
    path = draw(st.sampled_from(found))
    holder = value
    for step in path[:-1]:
        holder = holder[step]
    key = path[-1]
    change = draw(st.sampled_from(["replace", "near", "remove", "again", "rename", "move"]))
    match change:
        case "near" if isinstance(holder[key], int):
            holder[key] += draw(st.integers(-3, 3))
        case "remove":
            del holder[key]
        case "again" if isinstance(holder, list):
            holder.insert(draw(st.integers(0, len(holder))), copy.deepcopy(holder[key]))
        case "move" if isinstance(holder, list):
            holder.insert(draw(st.integers(0, len(holder) - 1)), holder.pop(key))
        case "rename" if isinstance(holder, dict):
            holder[draw(st.sampled_from([*WORDS, key[:-1], f"{key}s"]))] = holder.pop(key)
        case _:
            holder[key] = copy.deepcopy(draw(JUNK))


@st.composite
def nearly_valid(draw: st.DrawFn) -> str:
    """A spec of this project with one to three changes, as JSON."""
    value = copy.deepcopy(VALUES[draw(st.sampled_from(sorted(VALUES)))])
    for _ in range(draw(st.integers(1, 3))):
        _mutate(draw, value)
    return json.dumps(value)


@st.composite
def cut(draw: st.DrawFn) -> str:
    """The text of a spec with a piece taken out, or taken out and put in elsewhere."""
    text = TEXTS[draw(st.sampled_from(sorted(TEXTS)))]
    start = draw(st.integers(0, len(text) - 1))
    end = min(len(text), start + draw(st.integers(1, 20)))
    rest = text[:start] + text[end:]
    to = draw(st.integers(0, len(rest)))
    return rest[:to] + text[start:end] + rest[to:] if draw(st.booleans()) else rest


def check(text: str, name: str) -> None:
    """Whatever the text is, it is a network or a SpecError whose diagnostics have places."""
    found: tuple[Diagnostic, ...] = ()
    try:
        done = build(read_spec(parse(text, name)))
    except SpecError as error:
        found = error.diagnostics
    for diagnostic in found:
        assert diagnostic.primary is not None
        assert diagnostic.primary.span.source.name == name
        assert diagnostic.message.isprintable()
    if found:
        assert render(found, "full")
        assert render(found, "json")
        return
    render_summary(summarize(done.graph))
    explain(done.graph)
    again = expand(done.graph)
    assert expand(build(read_spec(parse(again, "again"))).graph) == again


@settings(max_examples=10 * EXAMPLES)
@given(nearly_valid())
def test_changed_values(text: str) -> None:
    check(text, "spec.json")


@st.composite
def changed_blocks(draw: st.DrawFn) -> str:
    """A random spec with blocks, with one to three changes, as JSON."""
    value = draw(block_specs(layers=3))
    for _ in range(draw(st.integers(1, 3))):
        _mutate(draw, value)
    return json.dumps(value)


@settings(max_examples=5 * EXAMPLES)
@given(changed_blocks())
def test_changed_blocks(text: str) -> None:
    check(text, "spec.json")


@settings(max_examples=5 * EXAMPLES)
@given(cut())
def test_changed_text(text: str) -> None:
    check(text, "spec.yaml")
