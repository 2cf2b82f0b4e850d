"""Specs that are nearly valid: one place of a valid one is changed, and may be wrong now."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from cnnspec.testing.networks import specs, text_of
from cnnspec.testing.strategies import Draw

Path = tuple[str | int, ...]

WORDS = (
    "same", "causal", "valid", "reflect", "relu", "relu1", "conv", "input", "node1", "half", "self",
    "None", "class", "__init__", "", "no", "1", "x\"; import os", "é", "a b", "$n", "cross_entropy",
)  # fmt: skip
NUMBERS = (
    0, 1, 2, -1, 3, 7, 10**6 + 1, 10**7, 2**31 - 1, 2**31, 2**63, 10**30, 0.5, -0.5, 1.0,
    1e-320, 1e308, float("inf"), float("-inf"), float("nan"),
)  # fmt: skip
FIELDS = (
    "name", "from", "share", "expect", "kernel", "stride", "padding", "dilation", "groups", "units",
    "filters", "bias", "ceil_mode", "when", "repeat", "layers", "p", "weight_init", "no_such_field",
)  # fmt: skip


@st.composite
def nearly_valid(draw: Draw, *, layers: int = 4) -> str:
    """The text of a spec in which one value is replaced, added, taken out, doubled or moved.

    Args:
        draw: hypothesis's.
        layers: most steps that the valid spec grows by.
    """
    spec = draw(specs(layers=layers))
    places = _places(spec)
    if draw(st.sampled_from((True, True, True, False))):  # the top level is soon tried out
        places = [place for place in places if len(place) > 2] or places
    where = draw(st.sampled_from(places))
    kind = draw(st.sampled_from(("replace", "remove", "add", "double", "move")))
    parent: Any = spec
    for part in where[:-1]:
        parent = parent[part]
    last = where[-1]
    if kind == "remove":
        del parent[last]
    elif kind == "add" and isinstance(parent[last], dict):
        parent[last][draw(st.sampled_from(FIELDS))] = draw(values())
    elif kind == "double" and isinstance(parent, list):
        parent.insert(int(last), parent[last])
    elif kind == "move" and isinstance(parent, list):
        parent.insert(draw(st.integers(0, len(parent))), parent.pop(int(last)))
    elif kind == "move" and isinstance(last, str):
        key = draw(st.sampled_from((*FIELDS, *WORDS)))
        entries = {key if name == last else name: value for name, value in parent.items()}
        parent.clear()
        parent.update(entries)
    else:
        parent[last] = draw(values())
    return text_of(spec)


def values() -> st.SearchStrategy[Any]:
    """Anything that may stand in a spec, mostly what may stand in many places of it."""
    plain = (
        st.sampled_from(NUMBERS) | st.sampled_from(WORDS) | st.none() | st.booleans()
        | st.integers(-3, 9)
    )  # fmt: skip
    several = st.lists(plain | st.lists(plain, max_size=3), max_size=4)
    return plain | several | st.dictionaries(st.sampled_from((*FIELDS, *WORDS)), plain, max_size=2)


def _places(value: Any, path: Path = ()) -> list[Path]:
    found = [path] if path else []
    if isinstance(value, dict):
        for key, entry in value.items():
            found += _places(entry, (*path, key))
    elif isinstance(value, list):
        for index, entry in enumerate(value):
            found += _places(entry, (*path, index))
    return found
