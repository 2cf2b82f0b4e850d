"""Random networks: all backends agree with each other, and the gradients with finite differences."""

from __future__ import annotations

import ast

import pytest
from hypothesis import given, settings

from cnnspec.api import read
from cnnspec.backends import BUILT_IN, Style, get
from cnnspec.diagnostics import SpecError
from cnnspec.ops.conv import Conv
from cnnspec.ops.norm import BatchNorm
from cnnspec.ops.pool import AvgPool, MaxPool
from cnnspec.testing import check_backend, check_gradients, check_op, nearly_valid, networks
from cnnspec.testing.laws import agree, check_network

ALL = tuple(BUILT_IN)


def share(part: float) -> int:
    """So many of the profile's examples; a network costs far more than most examples."""
    assert settings.default is not None
    return max(1, round(settings.default.max_examples * part))


@settings(max_examples=share(3))
@given(networks())
def test_gradients_are_those_of_finite_differences(text: str) -> None:
    check_gradients(read(text).graph)


@settings(max_examples=share(2))
@given(networks())
def test_numpy_and_torch_agree(text: str) -> None:
    agree(read(text).graph, ("numpy", "torch"))


@settings(max_examples=share(0.2))
@given(networks(train=True))
def test_all_backends_agree(text: str) -> None:
    agree(read(text).graph, ALL)


@settings(max_examples=share(10))
@given(nearly_valid())
def test_nearly_valid_specs_are_built_or_refused_with_a_place(text: str) -> None:
    try:
        graph = read(text).graph
    except SpecError as fault:
        lines = text.split("\n")
        for diagnostic in fault.diagnostics:
            assert diagnostic.primary is not None, diagnostic
            span = diagnostic.primary.span
            assert 1 <= span.line <= span.end_line <= len(lines)
            assert 1 <= span.column <= len(lines[span.line - 1]) + 1
        return
    for name in ALL:
        try:
            ast.parse(get(name).emit(graph, Style()).text)
        except SpecError as fault:
            assert {d.code for d in fault.diagnostics} <= {"unsupported-op", "name-clash"}, fault


# --- the laws that third parties call ----------------------------------------------------------


@pytest.mark.parametrize("op", [Conv, AvgPool, MaxPool, BatchNorm], ids=lambda op: op.key)
def test_laws_of_an_op(op: type[Conv]) -> None:
    check_op(op, backends=("numpy", "torch"), examples=share(0.2))


@pytest.mark.parametrize("backend", ALL)
def test_laws_of_a_backend(backend: str) -> None:
    check_backend(backend, examples=share(0.1 if backend == "keras" else 0.5))


# --- what random networks have found -----------------------------------------------------------

FOUND = {
    # The loop over layers set the bias of a layer that has none.
    "a layer without bias beside others": """\
cnnspec: 1
name: net
input: [2, 6]
layers:
- conv: {filters: 2, kernel: 1}
- conv: {filters: 2, kernel: 1}
- conv: {filters: 2, kernel: 2, bias: false}
""",
    # An optimizer refuses an empty list of parameters.
    "no parameters": """\
cnnspec: 1
name: net
input: [3]
layers: [tanh]
""",
    # Native 3-D average pooling refuses inputs smaller than its kernel, whatever the padding.
    "a kernel larger than a 3-D input": """\
cnnspec: 1
name: net
input: [2, 3, 4, 2]
layers:
- avg_pool: {name: ceil, kernel: [1, 3, 3], stride: [1, 1, 2], ceil_mode: true}
- avg_pool: {name: padded, from: input, kernel: 3, stride: 1, padding: 1}
- sum_pool: {name: summed, from: input, kernel: 3, stride: 1, padding: 1}
outputs: {a: ceil, b: padded, c: summed}
""",
}


@pytest.mark.parametrize("text", FOUND.values(), ids=FOUND)
def test_what_was_found_stays_right(text: str) -> None:
    check_network(text, ALL)
