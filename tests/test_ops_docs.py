"""docs/ops.md says what the op classes and cells say, and no measurement exceeds its row."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal, get_args, get_origin

import numpy as np
import pytest

from cnnspec.backends import BUILT_IN
from cnnspec.ops import lookup
from cnnspec.ops.activation import LeakyRelu, Relu
from cnnspec.ops.base import Op
from cnnspec.ops.conv import Conv
from cnnspec.testing.docs.__main__ import DRAWS
from cnnspec.testing.docs.cases import OPTIONS, Case, cases, cases_of, documented
from cnnspec.testing.docs.kinks import derivatives
from cnnspec.testing.docs.measure import (
    COLUMNS,
    DIRECTIONS,
    Key,
    Measured,
    measure,
    relative,
    rounded_up,
    rows,
)
from cnnspec.testing.docs.page import page, read_measured, representative, section
from cnnspec.testing.docs.takes import takes

PAGE = Path(__file__).parents[1] / "docs" / "ops.md"
OPS = documented()

each_op = pytest.mark.parametrize("op", OPS, ids=lambda op: op.key)


@pytest.fixture(scope="module")
def text() -> str:
    return PAGE.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def written(text: str) -> Measured:
    return read_measured(text)


# --- the text ----------------------------------------------------------------------------------


def test_the_page_is_not_stale(text: str, written: Measured) -> None:
    assert page(written) == text, "`make docs` writes docs/ops.md anew"


def test_every_cell_has_its_numbers(written: Measured) -> None:
    wanted = {
        Key(case.op.key, case.label, dtype, backend, way)
        for case in cases()
        for dtype, backend in COLUMNS
        for way in DIRECTIONS
    }
    assert set(written) == wanted
    assert all(0 <= value <= 1e-4 for value in written.values())
    assert all(value <= 1e-13 for key, value in written.items() if key.dtype == "float64")


def test_text_alone_imports_no_framework() -> None:
    probe = (
        "import sys\n"
        "from cnnspec.testing.docs.page import page\n"
        "assert page({}).startswith('# Ops')\n"
        "assert not {'torch', 'keras', 'tensorflow'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", probe], check=True, timeout=300)


def test_what_a_section_says() -> None:
    found = section(Conv, {})
    for line in (
        "y[o, p] = bias[o] + sum over c, q of w[o, c, q] * x[c, p * stride + q * dilation].",
        "- **Inputs**: one, with 1 to 3 spatial axes",
        "- **Shape**: (filters, *window positions); weight (filters, channels / groups, *kernel).",
        "- **Gradient**: no kinks and no ties.",
        "| `filters` | integer from 1 | required |",
        "| `padding_mode` | `zeros`, `reflect`, `replicate`, `circular` | `zeros` |",
        "| `weight_init` | an initializer | `he_normal` |",
        "| `weight` | `OIHW` | `he_normal` | trained |",
        "| `bias` | `O` | `zeros` | trained |",
    ):
        assert line in found.split("\n")
    assert "| `nn.Conv2d(8, 4, 3)` | `layers.Conv2D(4, 3, " in found
    assert "`nn.ReLU()` or `F.relu(x)` | `layers.ReLU()` |" in section(Relu, {})


def test_fields_formula_and_spelling_are_of_the_class(monkeypatch: pytest.MonkeyPatch) -> None:
    before = section(LeakyRelu, {})
    monkeypatch.setattr(LeakyRelu, "__doc__", "Something else.")
    assert section(LeakyRelu, {}) == before.replace(
        "x where x > 0, else slope * x; the derivative at 0 is the slope.", "Something else."
    )


@pytest.mark.parametrize(
    ("key", "wanted"),
    [
        ("relu", [(0.0, 0.0)]),
        ("leaky_relu", [(0.0, 0.01)]),
        ("prelu", [(0.0, 0.25)]),
        ("relu6", [(0.0, 0.0), (6.0, 0.0)]),
        ("hard_swish", [(-3.0, 0.0), (3.0, 1.0)]),
        ("lp_pool", [(0.0, 0.0)]),
    ],
)
def test_derivatives_at_kinks(key: str, wanted: Sequence[tuple[float, float]]) -> None:
    op = lookup(key)
    assert op is not None
    assert list(derivatives(op)) == wanted


def test_what_a_field_takes() -> None:
    assert takes({"type": "number", "exclusiveMinimum": 0}) == "number above 0"
    assert takes({"type": ["integer", "null"]}) == "integer or `null`"
    assert takes({"const": -1}) == "`-1`"
    assert (
        takes({"type": "integer", "minimum": 0, "exclusiveMaximum": 4}) == "integer from 0 below 4"
    )
    whole = {"type": "integer", "minimum": 1, "maximum": 1_000_000}
    some = {"type": "array", "items": whole, "minItems": 1, "maxItems": 3}
    assert takes({"anyOf": [whole, some]}) == (
        "integer from 1, or list of 1 to 3 of (integer from 1)"
    )


# --- the rows ----------------------------------------------------------------------------------


def test_options_are_of_registered_ops() -> None:
    assert set(OPTIONS) <= {op.key for op in OPS}


@each_op
def test_every_option_is_taken_for_some_rank(op: type[Op]) -> None:
    found = cases_of(op)
    assert all(case.ranks for case in found), [c.option for c in found if not c.ranks]
    assert len({case.label for case in found}) == len(found)


@each_op
def test_every_field_word_and_flag_has_a_row(op: type[Op]) -> None:
    """All but initializers, which change what a parameter starts as and nothing else."""
    made = [case.made for case in cases_of(op)]
    for name, info in op.model_fields.items():
        if name.endswith("_init"):
            continue
        values = [getattr(each, name) for each in made]
        if info.annotation is bool:
            assert set(values) == {False, True}, name
        elif get_origin(info.annotation) is Literal:
            assert set(values) == set(get_args(info.annotation)), name
        elif info.is_required():
            assert values
        else:
            assert any(value != info.default for value in values), name


# --- the measurements --------------------------------------------------------------------------


def test_relative() -> None:
    a = np.array([1.0, -4.0])
    assert relative(a, a) == 0
    assert relative(a, np.array([1.0, -3.0])) == 0.25
    assert relative(np.zeros(2), np.zeros(2)) == 0
    assert relative(np.zeros(2), a) == np.inf


@pytest.mark.parametrize(
    ("value", "dtype", "wanted"),
    [
        (0.0, "float64", 0.0),
        (1e-17, "float64", 1e-15),
        (4e-16, "float64", 1e-15),
        (6e-16, "float64", 1e-14),
        (3e-15, "float64", 1e-14),
        (1e-9, "float32", 1e-6),
        (2e-6, "float32", 1e-5),
    ],
)
def test_rounded_up(value: float, dtype: Literal["float64", "float32"], wanted: float) -> None:
    assert rounded_up(value, dtype) == wanted


def exceeding(found: Measured, written: Measured) -> list[tuple[Key, float, float]]:
    return [(key, value, written[key]) for key, value in found.items() if value > written[key]]


def test_the_guard_can_fail(written: Measured) -> None:
    key = Key("conv", cases_of(Conv)[0].label, "float64", "torch", "gradients")
    assert exceeding({key: 10 * written[key]}, written) == [(key, 10 * written[key], written[key])]


def at_one_rank(case: Case) -> Case:
    return replace(case, ranks=(representative(case),))


def test_the_plain_rows_hold(written: Measured) -> None:
    plain = [at_one_rank(cases_of(op)[0]) for op in OPS]
    found = measure(plain)
    assert len(found) == len(OPS) * len(COLUMNS) * len(DIRECTIONS)
    assert {key.backend for key in found} == set(BUILT_IN)
    assert not exceeding(found, written)


@pytest.mark.nightly
def test_every_row_holds(written: Measured) -> None:
    found = measure(cases(), draws=DRAWS)
    assert set(found) == set(written)
    assert set(rows(found)) == set(written)
    assert not exceeding(found, written)
