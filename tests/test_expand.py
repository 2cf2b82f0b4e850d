from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cnnspec.document import parse
from cnnspec.expand import _scalar, expand
from cnnspec.graph import Graph, Node, Scope
from cnnspec.ops.base import Op
from cnnspec.schema import read_spec
from cnnspec.starter import STARTER, starter
from tests.spec_errors import built, spec

SPECS = sorted((Path(__file__).parent.parent / "specs").glob("*.yaml"))


def facts(graph: Graph) -> object:
    """All that is in a graph but the places where it was written."""
    return (
        graph.name,
        [(entry.name, entry.shape) for entry in graph.inputs],
        [(output.name, output.value.id) for output in graph.outputs],
        [child(item) for item in graph.root.children],
        graph.training,
        graph.seed,
    )


def child(item: Node[Op] | Scope) -> object:
    if isinstance(item, Scope):
        inputs = [(name, value.id) for name, value in item.inputs]
        return item.path, item.kind, inputs, [child(inner) for inner in item.children]
    owner = None if item.owner is None else item.owner.id
    read = [value.id for value in item.inputs]
    return item.id, item.op, read, item.shape, item.params, owner


@pytest.mark.parametrize("path", SPECS, ids=lambda p: p.stem)
def test_specs_read_back_as_they_were(path: Path) -> None:
    graph = built(path.read_text()).graph
    text = expand(graph)
    again = built(text).graph
    assert facts(again) == facts(graph)
    assert expand(again) == text


def test_a_spec_can_be_given() -> None:
    text = spec("relu")
    assert expand(read_spec(parse(text, "x"))) == expand(built(text).graph)


def test_defaults_and_names_are_written() -> None:
    layers = ["batch_norm", "relu", "tanh: {from: batch_norm1}", "add: {from: [relu1, tanh1]}"]
    text = expand(built(spec(*layers)).graph)
    assert text == (
        "cnnspec: 1\n"
        "name: network\n"
        "input: [3, 12, 16]\n"
        "layers:\n"
        "  - batch_norm:  # 3x12x16\n"
        "      name: batch_norm1\n"
        "      eps: 1e-05\n"
        "      momentum: 0.1\n"
        "      affine: true\n"
        "      running_var: unbiased\n"
        "      weight_init: ones\n"
        "      bias_init: zeros\n"
        "  - relu: {name: relu1}  # 3x12x16\n"
        "  - tanh: {name: tanh1, from: batch_norm1}  # 3x12x16\n"
        "  - add: {name: add1, from: [relu1, tanh1]}  # 3x12x16\n"
        "seed: 0\n"
    )


def test_sequences_stay_and_positions_are_no_names() -> None:
    sequence = "sequence: {layers: [relu, {tanh: {name: t}}, {sequence: {layers: [silu]}}]}"
    graph = built(spec(sequence, "relu: {from: input}", "add: {from: [relu1, sequence1]}")).graph
    text = expand(graph)
    assert "      - relu  # 3x12x16\n" in text
    assert "      - tanh: {name: t}  # 3x12x16\n" in text
    assert facts(built(text).graph) == facts(graph)


@pytest.mark.parametrize(
    ("layers", "more"),
    [
        (["relu"], "outputs: relu1\n"),
        (["relu", "tanh"], "outputs: {a: relu1, b: tanh1}\n"),
        (["relu", "tanh"], "outputs: {only: tanh1}\n"),
        (["relu: {name: r}", "tanh: {name: t, from: r}"], "outputs: {t: t, r: r, again: t}\n"),
        (["relu"], "name: 'true'\n"),
        (["relu"], "seed: 9223372036854775807\n"),
    ],
)
def test_outputs_name_and_seed(layers: list[str], more: str) -> None:
    graph = built(spec(*layers, more=more)).graph
    assert facts(built(expand(graph)).graph) == facts(graph)


@given(
    st.one_of(
        st.booleans(),
        st.integers(-(2**63 - 1), 2**63 - 1),
        st.floats(allow_nan=False, allow_infinity=False),
        st.text(st.characters(codec="utf-8", categories=("L", "N", "P", "Zs"))),
    )
)
def test_scalars_read_back(value: object) -> None:
    read = parse(f"a: {_scalar(value)}\n", "x").value
    assert isinstance(read, dict)
    assert (type(read["a"]), repr(read["a"])) == (type(value), repr(value))


def test_the_starter_is_valid() -> None:
    done = built(STARTER)
    assert not done.warnings
    assert done.graph.training is not None
    assert starter() == STARTER
