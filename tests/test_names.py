from __future__ import annotations

import keyword

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cnnspec import names


def test_reserved_names_are_those_of_the_installed_torch() -> None:
    torch = pytest.importorskip("torch")
    public = {name for name in dir(torch.nn.Module()) if not name.startswith("_")}
    assert public <= names.RESERVED
    for name in names.MODULE_ATTRIBUTES:
        assert names.PATTERN.fullmatch(name), name


@pytest.mark.parametrize("name", ["conv1", "C1", "a_b", "x" * 64, "main", "Mixed_5b", "match"])
def test_names_that_can_be_given(name: str) -> None:
    assert names.fault(name) is None


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("", "empty"),
        ("x" * 65, "at most 64"),
        ("1a", "starts with a letter"),
        ("_a", "starts with a letter"),
        ("__init__", "starts with a letter"),
        ("a\n", "only ASCII"),
        ("ä", "only ASCII"),
        ('x"; import os', "only ASCII"),
        ("lambda", "keyword"),
        ("True", "keyword"),
        ("input", "a meaning of its own"),
        ("half", "an attribute of this name"),
        ("self", "an attribute of this name"),
    ],
)
def test_names_that_cannot(name: str, reason: str) -> None:
    assert reason in (names.fault(name) or "")


def test_inputs_outputs_and_networks_are_no_attributes() -> None:
    assert names.fault("half", attribute=False) is None
    assert names.fault("class", attribute=False) is not None


@given(st.text())
def test_a_name_without_fault_is_an_identifier(name: str) -> None:
    if names.fault(name) is None:
        assert name.isidentifier()
        assert name.isascii()
        assert not keyword.iskeyword(name)
