from __future__ import annotations

import csv
import io
import json
import time
from pathlib import Path
from typing import Any

import pytest

import cnnspec
from cnnspec import costs
from cnnspec.graph import Graph
from cnnspec.liveness import kept_elements, peak_elements
from cnnspec.ops import registered
from cnnspec.summary import Summary, summarize, totals
from cnnspec.summary_text import COLUMNS, DEFAULT_COLUMNS, render_summary
from tests.networks import graph_of
from tests.spec_errors import built, spec

SPECS = Path(__file__).parent.parent / "specs"


def summary(name: str) -> Summary:
    return summarize(graph_of(SPECS / f"{name}.yaml"))


def network(*layers: str, input: str = "[3, 12, 16]", more: str = "") -> Graph:
    return built(spec(*layers, input=input, more=more)).graph


@pytest.mark.parametrize(
    ("name", "parameters", "trainable", "statistics"),
    [
        ("mnist_softmax", 7_850, 7_850, 0),
        ("mnist_mlp", 101_770, 101_770, 0),
        ("conv_pool", 26, 26, 0),
        ("lenet_tanh", 431_080, 431_080, 0),
        ("lenet_modern", 432_791, 431_651, 1_140),
        ("lenet_keras", 1_256_080, 1_256_080, 0),
        ("lenet5", 61_696, 61_696, 0),
        ("mnist_cnn", 3_274_634, 3_274_634, 0),
        ("keras_mnist", 87_290, 87_162, 128),
        ("cifar10_simple", 4_200_842, 4_200_842, 0),
        ("cifar10_deep", 1_250_858, 1_250_858, 0),
    ],
)
def test_published_counts(name: str, parameters: int, trainable: int, statistics: int) -> None:
    found = summary(name)
    counts = found.totals
    assert (counts.parameters, counts.trainable, counts.running_statistics) == (
        parameters,
        trainable,
        statistics,
    )
    assert counts.non_trainable == statistics


def test_counts_layer_by_layer() -> None:
    layers = {layer.name: layer for layer in summary("keras_mnist").layers}
    counts = {name: layer.parameters for name, layer in layers.items() if layer.parameters}
    assert counts == {"conv1": 1_040, "conv2": 11_552, "fc1": 73_792, "bn": 256, "fc2": 650}
    assert layers["max_pool2"].shape == (32, 6, 6)
    assert (layers["bn"].trainable, layers["bn"].non_trainable) == (128, 128)


def test_rows_of_lenet5() -> None:
    shapes = [layer.shape for layer in summary("lenet5").layers if layer.op != "tanh"]
    assert shapes == [
        (6, 28, 28), (6, 14, 14), (16, 10, 10), (16, 5, 5),
        (120, 1, 1), (120,), (84,), (10,), (10,),
    ]  # fmt: skip
    assert (
        next(layer for layer in summary("lenet5").layers if layer.name == "out").parameters == 840
    )


def test_macs() -> None:
    found = summarize(
        built(
            spec(
                "conv: {filters: 4, kernel: 3, padding: 1}",
                "conv: {filters: 8, kernel: [1, 5], groups: 2, stride: 2}",
                "flatten",
                "dense: {units: 7}",
            )
        ).graph
    )
    assert [layer.macs for layer in found.layers] == [
        4 * 12 * 16 * 3 * 9,
        8 * 6 * 6 * 2 * 5,
        0,
        8 * 6 * 6 * 7,
    ]
    assert found.totals.macs == sum(layer.macs for layer in found.layers)


def test_a_shared_parameter_counts_once() -> None:
    found = summary("lenet_modern")
    prelu = [layer for layer in found.layers if layer.op == "prelu"]
    assert [layer.parameters for layer in prelu] == [1, 0, 0]
    assert [layer.shares for layer in prelu] == [None, "act", "act"]
    assert "prelu (shares act)" in render_summary(found)


def test_running_statistics_are_not_trainable() -> None:
    (layer,) = summarize(network("batch_norm")).layers
    assert (layer.trainable, layer.non_trainable, layer.running_statistics) == (6, 6, 6)


# --- work --------------------------------------------------------------------------------------


def test_flops_are_two_for_each_mac_and_the_bias() -> None:
    with_bias, without, dense = (
        summarize(network(*layers)).layers[-1]
        for layers in (
            ["conv: {filters: 4, kernel: 3}"],
            ["conv: {filters: 4, kernel: 3, bias: false}"],
            ["flatten", "dense: {units: 7}"],
        )
    )
    macs = 4 * 10 * 14 * 27
    assert (with_bias.macs, with_bias.flops) == (macs, 2 * macs + 4 * 10 * 14)
    assert (without.macs, without.flops) == (macs, 2 * macs)
    assert (dense.macs, dense.flops) == (576 * 7, 2 * 576 * 7 + 7)
    assert with_bias.other_ops == without.other_ops == dense.other_ops == 0


SIZE = 4 * 12 * 16


@pytest.mark.parametrize(
    ("layer", "count"),
    [
        ("relu", SIZE),
        ("softmax", 3 * SIZE),
        ("prelu", SIZE),
        ("dropout", 0),
        ("batch_norm", 2 * SIZE),
        ("layer_norm", 7 * SIZE),
        ("instance_norm", 5 * SIZE),
        ("group_norm: {groups: 2, affine: false}", 5 * SIZE),
        ("local_response_norm: {size: 3}", 6 * SIZE),
        ("max_pool: {kernel: 2}", SIZE),
        ("max_pool: {kernel: 3, stride: 1}", 4 * 10 * 14 * 9),
        ("global_avg_pool", SIZE),
        ("adaptive_avg_pool: {size: [5, 8]}", 4 * (3 + 3 + 4 + 3 + 3) * 16),
        ("mean: {axes: width}", SIZE),
        ("upsample: {scale: 2}", 0),
        ("upsample: {scale: 2, mode: bilinear}", 4 * 4 * SIZE),
        ("upsample: {scale: 2, mode: bicubic}", 16 * 4 * SIZE),
        ("rescale: {scale: 2.0}", 2 * SIZE),
        ("flatten", 0),
        ("pad: {padding: 1}", 0),
        ("slice: {height: [0, 6]}", 0),
        ("add: {from: [input, input]}", SIZE),
        ("average: {from: [input, input, input]}", 3 * SIZE),
        ("concat: {from: [input, input]}", 0),
        ("split: {name: parts, into: 2}", 0),
    ],
)
def test_other_operations(layer: str, count: int) -> None:
    more = "outputs: {a: parts.0, b: parts.1}\n" if "split" in layer else ""
    found = summarize(network(layer, input="[4, 12, 16]", more=more))
    assert found.totals.other_ops == count
    assert found.totals.flops == found.totals.macs == 0


def test_rbf_is_no_dense_layer() -> None:
    found = summarize(network("flatten", "rbf: {units: 5}")).totals
    assert (found.macs, found.flops, found.other_ops) == (0, 0, 3 * 576 * 5)


def test_the_rules_name_ops_that_exist() -> None:
    ruled = {*costs._MOVES, *costs._EACH, *costs.VIEWS, *costs._FROM_OUTPUT, *costs._FROM_INPUTS}
    assert ruled | costs._FROM_NEITHER <= {cls.key for cls in registered()}


# --- auxiliary heads ---------------------------------------------------------------------------

HEADS = (
    "conv: {name: stem, filters: 4, kernel: 3}",
    "conv: {name: head, filters: 2, kernel: 1}",
    "batch_norm: {name: norm}",
    "conv: {name: body, from: stem, filters: 5, kernel: 1, bias: false}",
)
OUTPUTS = "outputs: {main: body, aux: {from: norm, training_only: true}}\n"


def test_auxiliary_heads() -> None:
    found = summarize(network(*HEADS, more=OUTPUTS))
    stem, body, head = 4 * 27 + 4, 5 * 4, 2 * 4 + 2
    work = 140 * (4 * 27 + 5 * 4)
    assert found.training.trainable == stem + body + head + 4
    assert found.training.running_statistics == 4
    assert found.training.macs == work + 140 * 8
    assert found.inference.trainable == stem + body
    assert found.inference.running_statistics == found.inference.other_ops == 0
    assert found.totals.parameters == stem + body + head + 8
    assert found.totals.macs == work
    assert found.totals == totals(network(*HEADS, more=OUTPUTS))
    layers = {layer.name: layer for layer in found.layers}
    assert (layers["head"].macs, layers["head"].inference, layers["head"].fields) == (0, False, {})
    assert layers["body"].inference
    text = render_summary(found)
    assert f"without auxiliary heads: {stem + body} parameters: {stem + body} trainable" in text
    assert f"with auxiliary heads: {work + 140 * 8:,} MACs" in text
    assert "auxiliary" not in render_summary(summary("digits"))


def test_weights_that_inference_shares_with_a_head_are_its_own() -> None:
    found = summarize(
        network(
            "conv: {name: head, filters: 3, kernel: 1}",
            "conv: {name: body, from: input, filters: 3, kernel: 1, share: head}",
            more="outputs: {main: body, aux: {from: head, training_only: true}}\n",
        )
    )
    assert found.inference.parameters == found.training.parameters == 12
    assert found.training.macs == 2 * found.inference.macs


# --- memory ------------------------------------------------------------------------------------


def test_live_values_of_a_residual_network() -> None:
    """By hand: 2x4x4 in, a and b of 32 elements, c of 64."""
    graph = network(
        "conv: {name: a, filters: 2, kernel: 1}",
        "conv: {name: c, filters: 4, kernel: 1}",
        "relu: {name: r}",
        "conv: {name: b, filters: 2, kernel: 1}",
        "add: {name: s, from: [a, b]}",
        "flatten: {name: f}",
        "dense: {name: d, units: 3}",
        input="[2, 4, 4]",
    )
    # While r is made: a, which s reads later, c and r.
    assert peak_elements(graph) == 32 + 64 + 64
    # Inputs of a, c, b and d, the output of r (b reads it), and d itself; f is s in another shape.
    assert kept_elements(graph) == 32 + 32 + 64 + 32 + 3


def test_an_output_lives_to_the_end() -> None:
    text = ("relu: {name: a}", "conv: {name: b, filters: 1, kernel: [12, 16]}", "relu: {name: c}")
    assert peak_elements(network(*text)) == 2 * 576
    assert peak_elements(network(*text, "add: {name: d, from: [c, c]}")) == 2 * 576
    early = network(*text, "upsample: {name: d, size: [24, 32]}", more="outputs: {x: a, y: d}\n")
    assert peak_elements(early) == 576 + 1 + 768


def test_heads_take_no_memory_in_inference() -> None:
    wide = "conv: {name: head, from: stem, filters: 500, kernel: 1}"
    layers = ("conv: {name: stem, filters: 4, kernel: 3}", wide, "relu: {name: body, from: stem}")
    graph = network(*layers, more=OUTPUTS.replace("norm", "head"))
    assert peak_elements(graph) == 576 + 4 * 140
    assert kept_elements(graph) == 576 + 4 * 140 + 500 * 140 + 4 * 140


def test_bytes_of_each_dtype_and_batch() -> None:
    graph = graph_of(SPECS / "lenet_modern.yaml")
    found = summarize(graph, batch=16).memory
    assert found.bytes("float32") == {
        "parameters": 4 * 432_791,
        "training": 4 * 16 * kept_elements(graph),
        "inference": 4 * 16 * peak_elements(graph),
    }
    for what, count in found.bytes("bfloat16").items():
        assert found.bytes("float64")[what] == 4 * count


RESIDUAL = spec(
    "conv: {name: a, filters: 6, kernel: 3, padding: 1, bias: false}",
    "batch_norm",
    "relu: {name: r}",
    "conv: {filters: 6, kernel: 3, padding: 1}",
    "gelu",
    "add: {name: s, from: [gelu1, r]}",
    "sigmoid: {name: t}",
    "concat: {from: [s, t]}",
    "dropout",
    "max_pool: {kernel: 2, from: t}",
    "flatten",
    "dense: {units: 4}",
    "softmax",
    more="outputs: {x: softmax1, y: dropout1}\n",
)


@pytest.mark.parametrize("name", ["lenet_tanh", "keras_mnist", "cifar10_deep", "residual"])
def test_torch_keeps_as_much_for_backward(name: str) -> None:
    """Every tensor with the batch's size that torch saves, once for each storage."""
    torch = pytest.importorskip("torch")
    graph = built(RESIDUAL).graph if name == "residual" else graph_of(SPECS / f"{name}.yaml")
    model = cnnspec.build(graph, "torch", dtype="float64").train()
    batch = 13
    kept = {}

    def pack(tensor: Any) -> Any:
        if tensor.dim() and tensor.shape[0] == batch:
            kept[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        found = model(torch.randn(batch, *graph.inputs[0].shape, dtype=torch.float64))
    for output in found.values() if isinstance(found, dict) else [found]:
        pack(output)
    assert sum(tensor.numel() for tensor in kept.values()) == batch * kept_elements(graph)


# --- folding -----------------------------------------------------------------------------------


def test_depth_folds_sequences() -> None:
    graph = graph_of(SPECS / "cifar10_deep.yaml")
    every = summarize(graph)
    for depth, rows in ((0, 1), (1, 8), (2, 18), (9, 18)):
        found = summarize(graph, depth=depth)
        assert len(found.layers) == rows
        assert found.totals == every.totals
        assert found.memory == every.memory
        for count in ("trainable", "macs", "flops", "other_ops", "layers"):
            parts = [sum(getattr(layer, count) for layer in s.layers) for s in (found, every)]
            assert parts[0] == parts[1]
    block = summarize(graph, depth=1).layers[0]
    inside = [layer for layer in every.layers if layer.name.startswith("block1.")]
    assert (block.name, block.op, block.layers, block.shape) == (
        "block1",
        "sequence",
        6,
        (32, 15, 15),
    )
    assert block.macs == sum(layer.macs for layer in inside)
    assert block.fields == inside[-1].fields
    (whole,) = summarize(graph, depth=0).layers
    assert (whole.name, whole.op, whole.shape) == ("cifar10_deep", "network", (10,))


BLOCKS = """\
cnnspec: 1
name: blocks
input: [4, 8, 8]
define:
  unit:
    parameters: {channels: required}
    layers:
      - conv: {name: c, filters: $channels, kernel: 3, padding: 1}
      - relu: {name: r}
layers:
  - unit: {name: one, repeat: 3, channels: 4}
  - unit: {name: two, channels: 6}
  - unit: {name: three, channels: 6}
  - unit: {name: four, channels: 6, share: three}
  - flatten
"""


def test_depth_folds_blocks() -> None:
    graph = built(BLOCKS).graph
    rows = {
        depth: [(layer.name, layer.op) for layer in summarize(graph, depth=depth).layers]
        for depth in (1, 2)
    }
    assert rows[1][:2] == [("one", "3 x unit"), ("two", "unit")]
    assert rows[2][:4] == [
        ("one.0", "unit"),
        ("one.1", "unit"),
        ("one.2", "unit"),
        ("two.c", "conv"),
    ]
    found = {layer.name: layer for layer in summarize(graph, depth=1).layers}
    assert found["one"].parameters == 3 * (4 * 4 * 9 + 4)
    assert (found["four"].parameters, found["four"].shares) == (0, "three")
    assert found["four"].macs == found["three"].macs == 6 * 64 * 6 * 9


def test_ten_thousand_layers_take_linear_time() -> None:
    took = {}
    for count in (1_000, 10_000):
        layers = ["conv: {filters: 3, kernel: 3, padding: 1}", "relu"] * (count // 2)
        graph = network(*layers)
        start = time.perf_counter()
        text = render_summary(summarize(graph))
        took[count] = time.perf_counter() - start
        assert text.count("\n") > count
    assert took[10_000] < 40 * took[1_000]


# --- forms -------------------------------------------------------------------------------------


def test_json() -> None:
    found = json.loads(render_summary(summary("keras_mnist"), "json"))
    counts = {
        "parameters": 87_290,
        "trainable": 87_162,
        "non_trainable": 128,
        "running_statistics": 128,
        "macs": 40 * 28 * 28 * 25 + 32 * 12 * 12 * 40 * 9 + 1152 * 64 + 64 * 10,
    }
    assert found["name"] == "keras_mnist"
    for part in (found, found["totals"], found["training"], found["inference"]):
        assert {name: part[name] for name in counts} == counts
        assert type(part["flops"]) is type(part["other_ops"]) is int
    assert list(found["memory"]) == ["batch", "float64", "float32", "bfloat16"]
    assert found["memory"]["float64"]["parameters"] == 8 * 87_290
    assert found["inputs"] == [{"name": "input", "shape": [1, 28, 28]}]
    assert found["outputs"] == [{"name": "output", "shape": [10]}]
    assert found["layers"][0] == {
        "name": "conv1",
        "op": "conv",
        "shape": [40, 28, 28],
        "parameters": 1_040,
        "trainable": 1_040,
        "non_trainable": 0,
        "running_statistics": 0,
        "macs": 40 * 28 * 28 * 25,
        "flops": 40 * 28 * 28 * 51,
        "other_ops": 0,
        "layers": 1,
        "inference": True,
        "shares": None,
        "receptive_field": {"input": [{"size": 5, "stride": 1, "offset": -2}] * 2},
    }


def test_strides_in_json() -> None:
    graph = network(
        "conv_transpose: {name: up, filters: 1, kernel: 2, stride: 2}",
        "conv: {name: a, from: input, filters: 1, kernel: 5, stride: 2, padding: 2}",
        "conv: {name: b, from: input, filters: 1, kernel: 33}",
        "add: {name: sum, from: [a, b]}",
        "permute: {name: turned, axes: [1, 0]}",
        input="[1, 64]",
        more="outputs: {x: up, y: turned}\n",
    )
    rows = {layer.name: layer.as_json()["receptive_field"] for layer in summarize(graph).layers}
    assert rows["up"] == {"input": [{"size": 1, "stride": 0.5, "offset": 0}]}
    assert rows["sum"] == {"input": [{"size": 35, "stride": None, "offset": -2}]}
    assert rows["turned"] == {"input": [None]}
    table = render_summary(summarize(graph), columns=["layer", "field", "stride"])
    lines = {line.split()[0]: line.split()[1:] for line in table.splitlines() if line}
    assert lines["up"] == ["1", "1/2"]
    assert lines["sum"] == ["<=35", "differs"]
    assert lines["turned"] == ["?", "?"]
    assert "<= the largest field" in table


def test_table_is_aligned() -> None:
    lines = render_summary(summary("cifar10_deep")).splitlines()
    end = max(i for i, line in enumerate(lines) if line.startswith("total"))
    rows = lines[2 : end + 1]
    start = rows[0].index("op")
    assert all(row.startswith("-") or row[start - 1] == " " for row in rows)
    assert any(row.startswith("block2.4 ") for row in rows)
    assert lines[end + 2].startswith("1,250,858 parameters: 1,250,858 trainable, 0 not")
    assert [line.split()[0] for line in lines[-4:]] == ["memory", "parameters", "kept", "alive"]


@pytest.mark.parametrize("name", [path.stem for path in SPECS.glob("*.yaml")])
def test_table_fits_a_terminal(name: str) -> None:
    found = summary(name)
    text = render_summary(found).splitlines()
    table = text[2 : next(i for i, line in enumerate(text) if line.startswith("total")) + 1]
    assert max(map(len, table)) <= 100


def test_a_table_that_is_too_wide_leaves_its_last_column_out() -> None:
    name = "a" * 50
    found = summarize(network(f"conv: {{name: {name}, filters: 200, kernel: 3}}"))
    text = render_summary(found)
    assert text.splitlines()[2].split() == ["layer", "op", "output", "parameters", "MACs", "field"]
    wide = summarize(
        network(f"sequence: {{name: {name}, layers: [sequence: {{name: {name}, layers: [relu]}}]}}")
    )
    text = render_summary(wide)
    assert text.splitlines()[2].split() == ["layer", "op", "output", "parameters", "MACs"]
    assert "--columns layer,field" in text
    assert "field" in render_summary(wide, columns=DEFAULT_COLUMNS).splitlines()[2]


def test_columns() -> None:
    found = summary("digits")
    lines = render_summary(found, columns=["layer", "flops", "stride"]).splitlines()
    assert lines[2].split() == ["layer", "FLOPs", "stride"]
    assert len(render_summary(found, "csv", list(COLUMNS)).splitlines()) == len(found.layers) + 1
    assert set(DEFAULT_COLUMNS) < set(COLUMNS)


def test_csv() -> None:
    found = summary("two_towers")
    rows = list(csv.DictReader(io.StringIO(render_summary(found, "csv"))))
    assert list(rows[0]) == list(COLUMNS)
    assert [row["layer"] for row in rows] == [layer.name for layer in found.layers]
    assert sum(int(row["macs"]) for row in rows) == found.totals.macs
    assert sum(int(row["parameters"]) for row in rows) == found.totals.parameters
    assert rows[0]["output"] == "12x16x16"


def test_several_inputs_and_the_field_of_each() -> None:
    layers = {layer.name: layer.fields for layer in summary("two_towers").layers}
    assert set(layers["concat1"]) == {"left", "right"}
    rows = csv.DictReader(io.StringIO(render_summary(summary("two_towers"), "csv")))
    fields = {row["layer"]: row["field"] for row in rows}
    assert fields["concat1"] == "4x4"  # of both
    assert fields["felt"] == ""  # of an input without space


def test_markdown() -> None:
    lines = render_summary(summary("two_towers"), "markdown").splitlines()
    rows = [line for line in lines if line.startswith("|")]
    layers, memory = rows[:-5], rows[-5:]
    assert {line.count("|") for line in layers} == {7}
    assert layers[2] == "| left | input | 1x16x16 |  |  |  |"
    assert layers[-1].startswith("| total |  |  | 4,670 |")
    assert memory[0] == "| memory | float64 | float32 | bfloat16 |"


def test_every_op_is_in_some_spec() -> None:
    used = {layer.op for path in SPECS.glob("*.yaml") for layer in summary(path.stem).layers}
    assert used == {cls.key for cls in registered()}
