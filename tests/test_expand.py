from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cnnspec.build import build
from cnnspec.document import parse, read
from cnnspec.expand import _scalar, expand
from cnnspec.graph import Graph, Node
from cnnspec.ops.base import Op
from cnnspec.schema import read_spec
from cnnspec.starter import STARTER, starter
from tests.spec_errors import built, spec

SPECS = sorted((Path(__file__).parent.parent / "specs").glob("*.yaml"))


def facts(graph: Graph) -> object:
    """All that is in a graph but its scopes and the places where it was written."""
    return (
        graph.name,
        [(entry.name, entry.shape) for entry in graph.inputs],
        [(output.name, output.value.id, output.training_only) for output in graph.outputs],
        [node_facts(node) for node in graph.nodes],
        graph.training,
        graph.seed,
    )


def node_facts(node: Node[Op]) -> object:
    owner = None if node.owner is None else node.owner.id
    return node.id, node.op, [v.id for v in node.inputs], node.shape, node.params, owner


@pytest.mark.parametrize("path", SPECS, ids=lambda p: p.stem)
def test_specs_read_back_as_they_were(path: Path) -> None:
    graph = build(read_spec(read(path))).graph
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


BLOCKS = {
    "repeats": """
define:
  b: {parameters: {c: 4, p: false}, layers: [{conv: {filters: $c, kernel: 1}}, {relu: {when: $p}}]}
layers:
- b: {name: alike, repeat: 3, first: {p: false}}
- b: {name: unlike, repeat: 3, c: $(index + 1)}
- b: {name: own$(index + 7), repeat: 2, last: {p: true}}
- sequence: {name: s, layers: [{b: {repeat: 2}}, {relu: {repeat: 2, name: r}}, b]}
- sequence: {name: q, repeat: 2, layers: [{conv: {filters: $(index + 2), kernel: 1}}, relu]}
""",
    "wires": """
define:
  two:
    inputs: [x, y]
    outputs: {sum: add1, left: relu1}
    layers: [{relu: {from: x}}, {tanh: {from: y}}, {add: {from: [relu1, tanh1]}}]
  one: {inputs: [x], outputs: {value: relu1}, layers: [relu]}
layers:
- conv: {filters: 4, kernel: 3}
- two: {name: t, from: [conv1, conv1]}
- split: {name: parts, into: 2}
- split: {name: sized, from: t.left, sizes: [1, 3]}
- one: {from: parts.1}
- concat: {from: [parts.0, one1.value, sized.1, sized.0]}
outputs: {a: concat1, b: {from: t.left, training_only: true}}
""",
    "left out": """
define:
  none: {parameters: {p: false}, layers: [{relu: {when: $p}}]}
  both: {inputs: [x, y], outputs: {a: n, b: r}, layers: [
    {none: {name: n, from: y}}, {relu: {name: r, from: x}}]}
layers:
- none: {repeat: 2}
- conv: {name: c, filters: 2, kernel: 1}
- both: {name: b, from: [c, c]}
- add: {from: [b.a, b.b]}
- sequence: {layers: [none, {none: {p: true}}, sequence: {layers: [none]}, tanh]}
""",
    "shared": """
define:
  b: {parameters: {c: 3}, layers: [{conv: {filters: $c, kernel: 1}}, relu, {split: {sizes: [1, 2]}},
    {concat: {from: [split1.1, split1.0]}}, {conv: {name: again, filters: 3, kernel: 1}},
    {conv: {name: shares, share: again, filters: 3, kernel: 1}},
    {batch_norm: {name: n, repeat: 2, last: {eps: 0.1}}}]}
layers:
- b: {name: one}
- b: {name: two, share: one}
- b: {name: three, repeat: 2, share: two}
- b: {name: other}
- conv: {name: c, filters: 3, kernel: 1}
- conv: {name: loop, repeat: 3, share: c, filters: 3, kernel: 1}
""",
}


@pytest.mark.parametrize("text", BLOCKS.values(), ids=list(BLOCKS))
def test_blocks_stay_without_parameters(text: str) -> None:
    graph = built("cnnspec: 1\ninput: [3, 6, 5]\n" + text).graph
    expanded = expand(graph)
    assert "$" not in expanded
    again = built(expanded).graph
    assert facts(again) == facts(graph)
    assert expand(again) == expanded


def test_what_is_alike_stays_repeated() -> None:
    text = expand(built("cnnspec: 1\ninput: [3, 6, 5]\n" + BLOCKS["repeats"]).graph)
    assert "  - b: {name: alike, repeat: 3}  # 4x6x5\n" in text
    assert "  - sequence:\n      name: unlike\n      layers:\n        - b2  # 1x6x5\n" in text
    assert "  - b: {name: own7}  # 4x6x5\n  - b5: {name: own8}  # 4x6x5\n" in text


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
