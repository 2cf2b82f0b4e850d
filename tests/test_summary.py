from __future__ import annotations

import json
from pathlib import Path

import pytest

from cnnspec.ops import registered
from cnnspec.summary import Summary, render_summary, summarize
from tests.spec_errors import built, spec

SPECS = Path(__file__).parent.parent / "specs"


def summary(name: str) -> Summary:
    return summarize(built((SPECS / f"{name}.yaml").read_text()).graph)


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
    assert (found.parameters, found.trainable, found.running_statistics) == (
        parameters,
        trainable,
        statistics,
    )
    assert found.non_trainable == statistics


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
    assert found.macs == sum(layer.macs for layer in found.layers)


def test_a_shared_parameter_counts_once() -> None:
    found = summary("lenet_modern")
    prelu = [layer for layer in found.layers if layer.op == "prelu"]
    assert [layer.parameters for layer in prelu] == [1, 0, 0]
    assert [layer.shares for layer in prelu] == [None, "act", "act"]
    assert "prelu (shares act)" in render_summary(found)


def test_json() -> None:
    found = json.loads(render_summary(summary("keras_mnist"), "json"))
    assert list(found) == ["name", "totals", "layers"]
    assert found["name"] == "keras_mnist"
    assert found["totals"] == {
        "parameters": 87_290,
        "trainable": 87_162,
        "non_trainable": 128,
        "running_statistics": 128,
        "macs": 40 * 28 * 28 * 25 + 32 * 12 * 12 * 40 * 9 + 1152 * 64 + 64 * 10,
    }
    assert found["layers"][0] == {
        "name": "conv1",
        "op": "conv",
        "shape": [40, 28, 28],
        "parameters": 1_040,
        "macs": 40 * 28 * 28 * 25,
    }
    assert all(type(n) is int for n in found["totals"].values())


def test_table_is_aligned() -> None:
    lines = render_summary(summary("cifar10_deep")).splitlines()
    rows = lines[2:-2]
    start = rows[0].index("op")
    assert all(row.startswith("-") or row[start - 1] == " " for row in rows)
    assert any(row.startswith("block2.4 ") for row in rows)
    assert lines[-1].startswith("1,250,858 parameters: 1,250,858 trainable, 0 not")


def test_markdown() -> None:
    lines = render_summary(summary("two_towers"), "markdown").splitlines()
    table = [line for line in lines if line.startswith("|")]
    assert {line.count("|") for line in table} == {7}
    assert table[2] == "| left | input | 1x16x16 |  |  |  |"


def test_every_op_is_in_some_spec() -> None:
    used = {layer.op for path in SPECS.glob("*.yaml") for layer in summary(path.stem).layers}
    assert used == {cls.key for cls in registered()}
