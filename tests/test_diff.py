from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import replace
from itertools import combinations, pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

import cnnspec
from cnnspec.diagnostics import SpecError
from cnnspec.diff import Change, Diff, LayerDiff, diff, render_diff
from cnnspec.diff.align import MOST_EDITS, in_order, matches
from cnnspec.graph import Graph
from tests.networks import SPECS, graph_of
from tests.spec_errors import built, spec

LAYERS = (
    "conv: {filters: 4, kernel: 3, padding: 1}",
    "batch_norm",
    "relu",
    "conv: {filters: 4, kernel: 3, padding: 1}",
    "batch_norm",
    "relu",
    "global_avg_pool",
    "flatten",
    "dense: {name: fc, units: 5}",
)


def network(*layers: str, input: str = "[3, 12, 16]", more: str = "") -> Graph:
    return built(spec(*layers, input=input, more=more)).graph


def compared(before: Sequence[str], after: Sequence[str], more: str = "") -> Diff:
    return diff(network(*before, more=more), network(*after, more=more))


def kinds(found: Diff) -> dict[str, list[str]]:
    """The names of all layers that differ, by how."""
    listed = {kind: [layer.node.id for layer in found.of(kind)] for kind in KINDS}
    return {kind: names for kind, names in listed.items() if names}


KINDS = ("added", "removed", "changed", "affected")


def changes(layer: LayerDiff) -> list[tuple[str, str | None, str | None]]:
    return [(change.field, change.before, change.after) for change in layer.changes]


# --- aligning ----------------------------------------------------------------------------------


def is_common(pairs: list[tuple[int, int]], a: str, b: str) -> bool:
    rising = all(x[0] < y[0] and x[1] < y[1] for x, y in pairwise(pairs))
    return rising and all(a[i] == b[j] for i, j in pairs)


@given(st.text("abc", max_size=12), st.text("abc", max_size=12))
def test_as_many_pairs_as_there_can_be(a: str, b: str) -> None:
    pairs = matches(a, b)
    assert is_common(pairs, a, b)
    longest = [[0] * (len(b) + 1) for _ in range(len(a) + 1)]
    for i, x in enumerate(a):
        for j, y in enumerate(b):
            longer = max(longest[i][j + 1], longest[i + 1][j])
            longest[i + 1][j + 1] = longest[i][j] + 1 if x == y else longer
    assert len(pairs) == longest[-1][-1]


@given(st.lists(st.integers(0, 20), max_size=8, unique=True))
def test_longest_part_in_order(numbers: list[int]) -> None:
    found = in_order(list(enumerate(numbers)))
    assert is_common(found, "a" * 8, "a" * 21)
    assert set(found) <= set(enumerate(numbers))
    rising = max(
        (n for n in range(len(numbers) + 1) for part in combinations(numbers, n)
         if list(part) == sorted(part)),
        default=0,
    )  # fmt: skip
    assert len(found) == rising


def test_too_many_edits_end() -> None:
    a = ["x", *range(MOST_EDITS), "y"]
    b = ["x", *range(-1, -MOST_EDITS, -1), "y"]
    assert matches(a, b) == [(0, 0), (len(a) - 1, len(b) - 1)]


# --- equal -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SPECS)
def test_every_spec_is_equal_to_itself(name: str) -> None:
    graph = graph_of(SPECS[name])
    found = diff(graph, graph)
    assert not found
    assert {layer.kind for layer in found.layers} <= {"equal"}
    counts = found.after.counts.parameters
    layers = len(graph.nodes)
    assert render_diff(found) == f"no difference: {layers:,} layers, {counts:,} parameters"


def test_how_a_spec_is_written_is_no_difference() -> None:
    short = network("conv: {filters: 4, kernel: 3, padding: 1}", "max_pool: {kernel: 2}")
    long = network(
        "conv: {name: conv1, from: input, filters: 4, kernel: [3, 3], padding: [[1, 1], [1, 1]], "
        "stride: [1, 1], bias: true, weight_init: he_normal}",
        "max_pool: {name: max_pool1, from: conv1, kernel: [2, 2], padding: 0, expect: [4, 6, 8]}",
    )
    found = diff(short, long)
    # `padding: valid` is another word for 0, and the only thing left.
    assert [changes(layer) for layer in found.of("changed")] == [[("padding", "valid", "0")]]
    again = replace(found, layers=tuple(x for x in found.layers if x.kind != "changed"))
    assert not again


def test_blocks_are_no_difference() -> None:
    block = """
cnnspec: 1
input: [3, 12, 16]
define:
  unit:
    parameters: {filters: 4}
    layers:
      - conv: {name: c, filters: $filters, kernel: 3}
      - relu: {name: r}
layers:
  - unit: {name: body}
"""
    plain = network(
        "sequence: {name: head, layers: [conv: {filters: 4, kernel: 3}, relu]}",
    )
    assert not diff(
        built(block).graph, built(block.replace("filters: 4", "filters: $(2 * 2)")).graph
    )
    found = diff(built(block).graph, plain)
    assert [changes(layer) for layer in found.of("changed")] == [
        [("name", "body.c", "head.0")],
        [("name", "body.r", "head.1")],
    ]


# --- layers ------------------------------------------------------------------------------------


def test_an_inserted_layer_does_not_change_those_below() -> None:
    for position in range(len(LAYERS) - 3):
        found = compared(LAYERS, [*LAYERS[:position], "dropout", *LAYERS[position:]])
        assert kinds(found) == {"added": ["dropout1"]}
        assert not found.moved


def test_a_removed_layer_does_not_change_those_below() -> None:
    for position in (1, 2, 4, 5):
        found = compared(LAYERS, [*LAYERS[:position], *LAYERS[position + 1 :]])
        assert [layer.node.op.key for layer in found.of("removed")] == [LAYERS[position]]
        assert set(kinds(found)) == {"removed"}


def test_the_ordinals_of_those_below_are_told_apart() -> None:
    found = compared(LAYERS, ["relu", *LAYERS])
    assert kinds(found) == {"added": ["relu1"]}
    moved = [(layer.before.id, layer.node.id) for layer in found.moved if layer.before is not None]
    assert moved == [("relu1", "relu2"), ("relu2", "relu3")]


def test_positions_in_a_sequence() -> None:
    layers = [f"{{{layer}}}" if ":" in layer else layer for layer in LAYERS[:6]]
    after = [*layers[:3], "dropout", *layers[3:]]
    found = compared(
        [f"sequence: {{name: s, layers: [{', '.join(layers)}]}}"],
        [f"sequence: {{name: s, layers: [{', '.join(after)}]}}"],
    )
    assert kinds(found) == {"added": ["s.3"]}
    assert [layer.node.id for layer in found.moved] == ["s.4", "s.5", "s.6"]


def test_a_changed_field_and_what_follows() -> None:
    after = list(LAYERS)
    after[3] = "conv: {filters: 6, kernel: 5, padding: 2}"
    found = compared(LAYERS, after)
    assert kinds(found) == {
        "changed": ["conv2"],
        "affected": ["batch_norm2", "relu2", "global_avg_pool1", "flatten1", "fc"],
    }
    (conv,) = found.of("changed")
    assert changes(conv) == [("filters", "4", "6"), ("kernel", "3", "5"), ("padding", "1", "2")]
    text = render_diff(found)
    assert "~ conv2  conv: filters: 4 -> 6, kernel: 3 -> 5, padding: 1 -> 2; " in text
    assert "output 4x12x16 -> 6x12x16; 148 -> 606 parameters" in text
    assert "5 layers in other shapes because of that, 2 of them with other parameters" in text
    assert "fc: 25 -> 35 parameters" in text


def test_a_shape_of_a_weight_can_change_without_its_number() -> None:
    """Turning a map on its side changes nothing but shapes."""
    before = network("flatten", "dense: {units: 3}", input="[3, 4, 5]")
    found = diff(before, network("flatten", "dense: {units: 3}", input="[3, 5, 4]"))
    assert [change.field for change in found.settings] == ["input.input"]
    assert kinds(found) == {}
    assert found


def test_another_op_under_the_same_name() -> None:
    found = compared(
        ["max_pool: {name: pool, kernel: 3}"], ["avg_pool: {name: pool, kernel: 2, stride: 3}"]
    )
    assert kinds(found) == {"changed": ["pool"]}
    assert changes(found.layers[0]) == [
        ("op", "max_pool", "avg_pool"),
        ("kernel", "3", "2"),
        ("stride", None, "3"),
    ]


def test_replaced_layers_are_told_in_place() -> None:
    found = compared(["relu", "tanh", "sigmoid"], ["relu", "silu", "sigmoid"])
    assert [(layer.kind, layer.node.id) for layer in found.layers] == [
        ("equal", "relu1"),
        ("removed", "tanh1"),
        ("added", "silu1"),
        ("equal", "sigmoid1"),
    ]


def test_a_renamed_layer() -> None:
    found = compared(
        ["conv: {name: stem, filters: 4, kernel: 3}", "relu"],
        ["conv: {name: first, filters: 4, kernel: 3}", "relu"],
    )
    assert kinds(found) == {"changed": ["first"]}
    assert changes(found.layers[0]) == [("name", "stem", "first")]


def test_a_layer_of_another_name_and_other_fields_is_another_layer() -> None:
    found = compared(
        ["conv: {name: stem, filters: 4, kernel: 3, padding: 1}"],
        ["conv: {name: first, filters: 4, kernel: 5, padding: 2}"],
    )
    assert kinds(found) == {"added": ["first"], "removed": ["stem"]}


def test_layers_that_changed_places() -> None:
    a, b = ("conv: {name: a, filters: 3, kernel: 1}", "conv: {name: b, filters: 3, kernel: 3}")
    found = compared([a, b], [b, a])
    assert {layer.node.id for layer in found.layers} == {"a", "b"}
    assert not found.of("added")
    assert found


# --- wires -------------------------------------------------------------------------------------

BRANCHES = (
    "conv: {name: a, filters: 3, kernel: 1}",
    "conv: {name: b, filters: 3, kernel: 1}",
    "add: {name: s, from: [a, b]}",
)


def test_a_wire() -> None:
    found = compared(BRANCHES, [*BRANCHES[:2], "add: {name: s, from: [input, b]}"])
    assert kinds(found) == {"changed": ["s"]}
    assert changes(found.layers[-1]) == [("from", "[a, b]", "[input, b]")]


def test_the_order_of_wires() -> None:
    found = compared(BRANCHES, [*BRANCHES[:2], "add: {name: s, from: [b, a]}"])
    assert changes(found.layers[-1]) == [("from", "[a, b]", "[b, a]")]


def test_a_default_wire_that_is_written() -> None:
    after = list(BRANCHES)
    after[1] = "conv: {name: b, from: a, filters: 3, kernel: 1}"
    assert not compared(BRANCHES, after)


def test_from_the_input_and_not_the_layer_above() -> None:
    after = list(BRANCHES)
    after[1] = "conv: {name: b, from: input, filters: 3, kernel: 1}"
    found = compared(BRANCHES, after)
    assert changes(found.of("changed")[0]) == [("from", "a", "input")]


def test_the_wire_of_a_sequence() -> None:
    stem = "conv: {name: stem, filters: 3, kernel: 1}"
    end = "add: {from: [body, stem]}"
    layers = "layers: [{conv: {filters: 3, kernel: 1}}, relu]"
    plain, written, other = (
        [stem, f"sequence: {{name: body, {wire}{layers}}}", end]
        for wire in ("", "from: stem, ", "from: input, ")
    )
    assert not compared(plain, written)
    found = compared(plain, other)
    assert [changes(layer) for layer in found.of("changed")] == [[("from", "stem", "input")]]


def test_what_is_put_in_front_of_a_sequence() -> None:
    """Its first layer reads the layer above, whichever that is, and so does what comes later."""
    block = RESIDUAL.replace("width: 8}", "width: 8}\n  - dropout")
    found = diff(
        built(block).graph,
        built(block.replace("  - unit: {name: one", "  - relu\n  - unit: {name: one")).graph,
    )
    assert kinds(found) == {"added": ["relu1"]}


def test_shared_parameters() -> None:
    first = "conv: {name: a, filters: 3, kernel: 1}"
    own, shared = (f"conv: {{name: b, filters: 3, kernel: 1{more}}}" for more in ("", ", share: a"))
    found = compared([first, own], [first, shared])
    assert changes(found.layers[1]) == [("share", None, "a")]
    assert (found.before.counts.parameters, found.after.counts.parameters) == (24, 12)


# --- blocks ------------------------------------------------------------------------------------

RESIDUAL = """\
cnnspec: 1
name: residual
input: [3, 16, 16]
define:
  unit:
    parameters: {channels: required, stride: 1, project: false}
    layers:
      - conv: {name: c1, filters: $channels, kernel: 3, stride: $stride, padding: 1}
      - relu
      - conv: {name: c2, filters: $channels, kernel: 3, padding: 1}
      - sequence:
          name: down
          from: input
          when: $project
          layers: [{conv: {filters: $channels, kernel: 1, stride: $stride}}]
      - add: {from: [c2, down]}
  stage:
    parameters: {width: required}
    layers:
      - unit: {name: first, channels: $width, project: true}
      - unit: {name: second, channels: $width}
layers:
  - conv: {name: stem, filters: 4, kernel: 3, padding: 1}
  - unit: {name: one, repeat: 2, channels: 4}
  - stage: {name: two, width: 8}
  - flatten
"""


def against(old: str, new: str) -> Diff:
    assert old in RESIDUAL
    return diff(built(RESIDUAL).graph, built(RESIDUAL.replace(old, new)).graph)


def test_one_more_instance() -> None:
    found = against("repeat: 2", "repeat: 3")
    assert [(scope.path, scope.changes) for scope in found.scopes] == [
        ("one", (Change("repeat", "2", "3"),))
    ]
    assert kinds(found) == {"added": ["one.2.c1", "one.2.relu1", "one.2.c2", "one.2.add1"]}
    assert {layer.within for layer in found.of("added")} == {"one.2"}
    assert "+ one.2  4 layers, 296 parameters" in render_diff(found)


def test_many_more_instances_are_one_row() -> None:
    text = render_diff(against("repeat: 2", "repeat: 40"))
    assert "+ one.2 to one.39  38 times 4 layers, 296 parameters" in text


def test_an_argument_explains_what_it_changes() -> None:
    found = against("width: 8", "width: 6")
    # What the inner block is given follows from the outer one's argument.
    assert [(scope.path, scope.block, scope.changes) for scope in found.scopes] == [
        ("two", "stage", (Change("width", "8", "6"),))
    ]
    assert {layer.because for layer in found.of("changed")} == {"two"}
    text = render_diff(found)
    assert "~ two  stage: width: 8 -> 6; 5 layers in it changed" in text
    assert "~ two.first.c1" not in text
    assert "two.first.c1: output 8x16x16 -> 6x16x16; 296 -> 222 parameters" in text


def test_a_layer_that_a_condition_takes_out() -> None:
    found = against("repeat: 2, channels: 4", "repeat: 2, channels: 4, first: {project: true}")
    assert kinds(found)["added"] == ["one.0.down.0"]
    assert [scope.path for scope in found.scopes] == ["one.0"]
    (add,) = found.of("changed")
    assert changes(add) == [("from", "[one.0.c2, stem]", "[one.0.c2, one.0.down.0]")]


def test_a_text_argument_cannot_disturb_the_terminal() -> None:
    written = RESIDUAL.replace("project: false}", "project: false, note: plain}")
    wild = RESIDUAL.replace("project: false}", 'project: false, note: "\\x1b[2J\\u202e"}')
    text = render_diff(diff(built(written).graph, built(wild).graph))
    assert 'note: plain -> "\\u001b[2J\\u202e"' in text
    assert text.isascii()
    assert "\x1b" not in text


def test_what_is_inside_a_block_changes_in_every_instance() -> None:
    found = against(
        "c2, filters: $channels, kernel: 3, padding: 1", "c2, filters: $channels, kernel: 1"
    )
    assert [layer.node.id for layer in found.of("changed")] == [
        "one.0.c2", "one.1.c2", "two.first.c2", "two.second.c2"
    ]  # fmt: skip
    assert not found.scopes
    assert all(layer.because is None for layer in found.layers)


# --- everything but layers ---------------------------------------------------------------------

TRAIN = """\
train:
  loss: cross_entropy
  optimizer: {adam: {lr: 0.001}}
  batch: 32
  epochs: 3
seed: 1
name: net
"""


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("lr: 0.001", "lr: 0.01", "optimizer.lr: 0.001 -> 0.01"),
        (
            "{adam: {lr: 0.001}}",
            "{sgd: {lr: 1.0}}",
            "optimizer: {adam: {lr: 0.001}} -> {sgd: {lr: 1.0}}",
        ),
        ("batch: 32", "batch: 64", "batch: 32 -> 64"),
        ("epochs: 3", "epochs: 4", "epochs: 3 -> 4"),
        (
            "cross_entropy",
            "mean_squared_error",
            "loss.output: cross_entropy -> mean_squared_error",
        ),
        (
            "epochs: 3",
            "epochs: 3\n  schedule: {exponential: {gamma: 0.5}}",
            "schedule: constant -> {exponential: {gamma: 0.5}}",
        ),
    ],
)
def test_training(old: str, new: str, expected: str) -> None:
    assert old in TRAIN
    found = diff(network(*LAYERS, more=TRAIN), network(*LAYERS, more=TRAIN.replace(old, new)))
    assert len(found.settings) == 1
    assert kinds(found) == {}
    assert f"~ train.{expected}\n" in render_diff(found)


def test_name_and_seed() -> None:
    after = TRAIN.replace("seed: 1", "seed: 2").replace("name: net", "name: web")
    found = diff(network(*LAYERS, more=TRAIN), network(*LAYERS, more=after))
    assert found.settings == (Change("name", "net", "web"), Change("seed", "1", "2"))
    assert render_diff(found, "markdown").startswith("## net -> web\n")


def test_no_training() -> None:
    found = diff(network(*LAYERS, more=TRAIN), network(*LAYERS, more="seed: 1\nname: net\n"))
    (change,) = found.settings
    assert (change.field, change.after) == ("train", None)
    assert change.before is not None
    assert "optimizer: {adam: {lr: 0.001}}" in change.before


def test_inputs() -> None:
    found = diff(network("relu", input="{a: [3, 4]}"), network("relu", input="{b: [3, 5]}"))
    assert found.settings == (Change("input.a", "3x4", None), Change("input.b", None, "3x5"))
    assert kinds(found) == {"affected": ["relu1"]}


def test_outputs() -> None:
    layers = ("relu: {name: a}", "tanh: {name: b}")
    outputs = [
        f"outputs: {written}\n"
        for written in ("{x: a, y: b}", "{x: b, y: a}", "{x: a, y: {from: b, training_only: true}}")
    ]
    one, swapped, head = (network(*layers, more=more) for more in outputs)
    assert diff(one, swapped).settings == (
        Change("output.x", "a", "b"),
        Change("output.y", "b", "a"),
    )
    assert diff(one, head).settings == (Change("output.y.training_only", "false", "true"),)
    assert diff(one, network(*layers)).settings == (
        Change("output.x", "a", None),
        Change("output.y", "b", None),
        Change("output.output", None, "b"),
    )


def test_a_layer_at_the_end_is_the_new_output() -> None:
    found = compared(LAYERS, [*LAYERS, "softmax"])
    assert found.settings == ()
    assert kinds(found) == {"added": ["softmax1"]}


# --- forms -------------------------------------------------------------------------------------


def test_json() -> None:
    after = [*LAYERS[:2], "tanh", "conv: {filters: 6, kernel: 3, padding: 1}", *LAYERS[4:]]
    found = json.loads(render_diff(compared(LAYERS, after, more="seed: 4\n"), "json"))
    assert list(found) == ["differ", "before", "after", "settings", "blocks", "layers", "moved"]
    assert found["differ"] is True
    assert found["before"]["layers"] == found["after"]["layers"] == 9
    assert found["before"]["parameters"] == 112 + 16 + 148 + 16 + 25
    assert found["settings"] == found["blocks"] == []
    assert list(found["layers"]) == list(KINDS)
    assert found["layers"]["changed"] == [
        {
            "name": "conv2",
            "op": "conv",
            "changes": [{"field": "filters", "before": "4", "after": "6"}],
            "because": None,
            "within": None,
            "shape": [[4, 12, 16], [6, 12, 16]],
            "parameters": [148, 222],
        }
    ]
    (tanh,) = found["layers"]["added"]
    assert (tanh["name"], tanh["shape"], tanh["parameters"]) == (
        "tanh1",
        [None, [4, 12, 16]],
        [None, 0],
    )
    (relu,) = found["layers"]["removed"]
    assert (relu["name"], relu["shape"][1]) == ("relu1", None)
    assert found["moved"] == [{"before": "relu2", "after": "relu1"}]
    equal = json.loads(render_diff(compared(LAYERS, LAYERS), "json"))
    assert equal["differ"] is False
    assert all(not layers for layers in equal["layers"].values())


def test_markdown_is_tables() -> None:
    found = diff(
        network(*LAYERS, more=TRAIN),
        network(*LAYERS, "softmax", more=TRAIN.replace("lr: 0.001", "lr: 0.1")),
    )
    lines = render_diff(found, "markdown").splitlines()
    assert lines[0] == "## net"
    assert "| `train.optimizer.lr` | `0.001` | `0.1` |" in lines
    assert "| added | `softmax1` | softmax, 5 |" in lines
    assert "| layers | 9 | 10 | +1 |" in lines
    for before, line in pairwise(lines):
        # A table starts after an empty line, and has as many cells in each row.
        if line.startswith("|"):
            assert before == "" or before.count("|") == line.count("|")


def test_totals() -> None:
    text = render_diff(compared(LAYERS, [*LAYERS[:-1], "dense: {name: fc, units: 7}"]))
    rows = {line.split()[0]: line.split()[1:] for line in text.splitlines() if line}
    assert rows["parameters"] == ["317", "327", "+10"]
    assert rows["layers"] == ["9", "9"]
    assert rows["macs"] == ["48,404", "48,412", "+8"]


def test_a_long_list_is_cut_in_text_alone() -> None:
    layers = ["conv: {name: c, filters: 3, kernel: 1}", *["relu"] * 30]
    found = compared(layers, ["conv: {name: c, filters: 4, kernel: 1}", *["relu"] * 30])
    assert "and 22 more (--format json has all)" in render_diff(found)
    assert len(json.loads(render_diff(found, "json"))["layers"]["affected"]) == 30


def test_from_python() -> None:
    text = spec("relu", "tanh")
    assert not cnnspec.diff(text, text)
    assert cnnspec.diff(network("relu", "tanh"), spec("relu"))
    with pytest.raises(SpecError):
        cnnspec.diff(text, spec("rellu"))


def test_published_networks() -> None:
    text = render_diff(diff(graph_of(SPECS["resnet50"]), graph_of(SPECS["resnet152"])))
    assert "~ layer3                 repeat: 6 -> 36" in text
    assert "+ layer3.6 to layer3.35  30 times 10 layers, 1,120,256 parameters" in text
    assert "because of that" not in text
    assert "trainable" in text
    assert "25,557,032" in text


def test_ten_thousand_layers() -> None:
    layers = ["conv: {filters: 3, kernel: 3, padding: 1}", "relu"] * 5_000
    after = list(layers)
    for place in (10, 4_001, 8_004):
        after.insert(place, "tanh")
    graphs = network(*layers), network(*after)
    start = time.perf_counter()
    found = diff(*graphs)
    assert len(render_diff(found)) < 3_000
    assert time.perf_counter() - start < 10
    assert kinds(found) == {"added": ["tanh1", "tanh2", "tanh3"]}
