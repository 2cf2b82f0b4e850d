from __future__ import annotations

from pathlib import Path

import pytest

from cnnspec.diagnostics import SetupError
from cnnspec.explain import explain
from cnnspec.receptive_field import Reach, describe, receptive_fields
from tests.networks import graph_of
from tests.spec_errors import built, spec

SPECS = sorted((Path(__file__).parent.parent / "specs").glob("*.yaml"))


def explained(layer: str, input: str) -> list[str]:
    graph = built(spec(layer, input=input)).graph
    return [line.strip() for line in explain(graph, graph.nodes[0].id).splitlines()]


# The figures that lecture notes get wrong


def test_five_by_five_on_28() -> None:
    lines = explained("conv: {filters: 1, kernel: 5}", "[1, 28, 28]")
    assert "floor((28 + 0 + 0 - 5) / 1) + 1 = 24" in lines
    assert "0      24  fits exactly  <- this layer" in lines
    assert "2      28  fits exactly, same" in lines
    assert "parameters: 5 * 5 * 1 * 1 + 1 = 26" in lines


def test_first_layer_of_alexnet() -> None:
    same = explained("conv: {filters: 96, kernel: 11, stride: 4, padding: same}", "[3, 224, 224]")
    assert "floor((224 + 3 + 4 - 11) / 4) + 1 = 56" in same
    assert (
        "`same` wants ceil(n / s) = ceil(224 / 4) = 56 and so pads 7: 3 before and 4 after" in same
    )
    assert "0      54  1 left over" in same
    assert "2      55  1 left over" in same
    assert "[1, 2]      55  fits exactly" in same
    assert "[3, 4]      56  fits exactly, same  <- this layer" in same
    assert "input sizes that fit exactly without padding: 223 -> 54 and 227 -> 55" in same
    assert "parameters: 11 * 11 * 3 * 96 + 96 = 34,944" in same

    unpadded = explained("conv: {filters: 96, kernel: 11, stride: 4}", "[3, 227, 227]")
    assert "floor((227 + 0 + 0 - 11) / 4) + 1 = 55" in unpadded
    assert "the window fits exactly: nothing is left over at the end" in unpadded


# Windows


def test_what_floor_drops() -> None:
    lines = explained("conv: {filters: 1, kernel: 3, stride: 4, padding: 1}", "[1, 8]")
    assert "floor((8 + 1 + 1 - 3) / 4) + 1 = 2" in lines
    assert (
        "floor drops a rest of 3 at the end, never read: 2 of the input and 1 of the padding"
    ) in lines


def test_axes_of_different_numbers_are_explained_each() -> None:
    text = "\n".join(explained("conv: {filters: 1, kernel: [3, 5]}", "[1, 9, 9]"))
    assert "height: n = 9, k = 3" in text
    assert "width: n = 9, k = 5" in text


def test_dilation_widens_the_kernel() -> None:
    text = "\n".join(explained("conv: {filters: 1, kernel: 3, dilation: 4}", "[1, 20]"))
    assert "length: n = 20, k = 3, s = 1, d = 4, e = 9" in text
    assert "floor((20 + 0 + 0 - 9) / 1) + 1 = 12" in text


@pytest.mark.parametrize(
    ("layer", "input", "line"),
    [
        (
            "max_pool: {kernel: 2, ceil_mode: true}",
            "[1, 7]",
            "ceil((7 + 0 + 0 - 2) / 2) + 1 = 4",
        ),
        (
            "max_pool: {kernel: 2, ceil_mode: true}",
            "[1, 7]",
            "ceil mode adds a window, which reaches 1 beyond the end",
        ),
        (
            "max_pool: {kernel: 2, stride: 3, ceil_mode: true, padding: [[0, 1]]}",
            "[1, 6]",
            "ceil((6 + 0 + 1 - 2) / 3) + 1 - 1 = 2",
        ),
        ("avg_pool: {kernel: 2}", "[1, 8]", "floor((8 + 0 + 0 - 2) / 2) + 1 = 4"),
    ],
)
def test_pools(layer: str, input: str, line: str) -> None:
    assert line in explained(layer, input)


GROUPED = "conv: {filters: 4, kernel: 1, groups: 2}"


@pytest.mark.parametrize(
    ("layer", "input", "line"),
    [
        ("flatten", "[50, 4, 4]", "50 * 4 * 4 = 800 features, channel by channel, each row by row"),
        ("flatten", "[50, 4, 5]", "element (c, y, x) becomes feature (c * 4 + y) * 5 + x"),
        ("dense: {units: 10}", "[784]", "parameters: 784 * 10 + 10 = 7,850"),
        ("rbf: {units: 10}", "[84]", "parameters: 84 * 10 = 840"),
        ("batch_norm", "[64]", "parameters: 64 + 64 + 64 + 64 = 256"),
        ("batch_norm", "[64]", "running_mean  64  (running statistic, starts as zeros)"),
        ("global_avg_pool", "[3, 7, 7]", "each channel's 7 * 7 = 49 elements become one"),
        ("dropout: {p: 0.25}", "[3]", "in inference nothing happens"),
        ("add: {from: [input, input]}", "[3]", "`input` + `input`, element by element"),
        ("concat: {from: [input, input]}", "[3]", "channels: 3 + 3 = 6"),
        ("concat: {from: [input, input]}", "[3]", "3 to 5 from `input`"),
        ("prelu", "[3, 4]", "a slope for each of 3 channels"),
        ("softmax", "[3, 4]", "the 3 channels are positive and sum to 1"),
        ("relu", "[3]", "parameters: none"),
        (GROUPED, "[6, 5]", "2 groups: each of 4 filters reads 3 of 6 channels"),
        (GROUPED, "[6, 5]", "multiply-accumulates for each sample: 60 = 4 * 5 outputs, 1 * 3 each"),
    ],
)  # fmt: skip
def test_other_ops(layer: str, input: str, line: str) -> None:
    assert line in explained(layer, input)


@pytest.mark.parametrize("path", SPECS, ids=lambda p: p.stem)
def test_every_layer_of_every_spec(path: Path) -> None:
    graph = graph_of(path)
    short = explain(graph)
    long = {name: explain(graph, name) for name in {n.id.partition(".")[0] for n in graph.nodes}}
    for node in graph.nodes:
        heading = f"{node.id}: {node.op.key}, "
        assert heading in short
        assert heading in long[node.id.partition(".")[0]]
    assert not any("None" in text for text in long.values())


def test_a_sequence_stands_for_its_layers() -> None:
    graph = built(spec("sequence: {name: s, layers: [relu, tanh]}")).graph
    text = explain(graph, "s")
    assert "s.0: relu" in text
    assert "s.1: tanh" in text


def test_unknown_layer() -> None:
    graph = built(spec("relu: {name: first}")).graph
    with pytest.raises(SetupError) as caught:
        explain(graph, "fist")
    (fault,) = caught.value.diagnostics
    assert (fault.code, fault.help) == ("unknown-layer", "did you mean `first`?")


# Receptive fields


def reach(*layers: str, input: str = "[1, 64]") -> Reach | None:
    graph = built(spec(*layers, input=input)).graph
    return receptive_fields(graph)[graph.outputs[0].value.id]["input"][0]


def test_a_chain() -> None:
    conv = "conv: {filters: 1, kernel: 3}"
    assert reach(conv) == Reach(3, 1, 0)
    assert reach(conv, conv) == Reach(5, 1, 0)
    assert reach(conv, "max_pool: {kernel: 2}", conv) == Reach(8, 2, 0)
    assert reach("conv: {filters: 1, kernel: 3, dilation: 4, padding: 2, stride: 2}", conv) == (
        Reach(13, 2, -2)
    )
    assert reach("relu", "batch_norm") == Reach(1, 1, 0)


def test_resnet_stem() -> None:
    stem = "conv: {filters: 1, kernel: 7, stride: 2, padding: 3}"
    assert reach(stem, "max_pool: {kernel: 3, stride: 2, padding: 1}") == Reach(11, 4, -5)


def test_what_sees_everything() -> None:
    conv = "conv: {filters: 1, kernel: 3, padding: 1}"
    assert reach(conv, "global_avg_pool", "conv: {filters: 2, kernel: 1}") == Reach(66, 0, -1)
    assert reach(conv, "flatten", "dense: {units: 2}") == Reach(66, 0, -1)


def test_branches_are_united() -> None:
    found = reach(
        "conv: {name: a, filters: 1, kernel: 5, padding: 2}",
        "conv: {name: b, from: input, filters: 1, kernel: 3, padding: [[2, 0]]}",
        "add: {from: [a, b]}",
    )
    assert found == Reach(5, 1, -2)


def test_branches_of_unequal_strides_differ() -> None:
    layers = (
        "conv: {name: a, filters: 1, kernel: 5, stride: 2, padding: 2}",
        "conv: {name: b, from: input, filters: 1, kernel: 33}",
        "add: {from: [a, b]}",
        "conv: {filters: 1, kernel: 3}",
    )
    # Element 0 of the sum sees -2 to 2 and 0 to 32, element 31 sees 60 to 64 and 31 to 63.
    assert reach(*layers[:3]) == Reach(35, None, -2)
    assert reach(*layers) == Reach(37, None, -2)
    graph = built(spec(*layers, input="[1, 64]")).graph
    assert "up to 35 of `input`; it differs from place to place" in explain(graph, "add1")


def test_a_branch_within_another_of_unequal_stride() -> None:
    found = reach(
        "conv: {name: a, filters: 1, kernel: 1, stride: 2}",
        "conv: {name: b, from: input, filters: 1, kernel: 33}",
        "add: {from: [a, b]}",
        "conv: {filters: 1, kernel: 3}",
    )
    assert found == Reach(35, 1, 0)


def test_several_inputs() -> None:
    text = (SPECS[0].parent / "two_towers.yaml").read_text()
    graph = built(text).graph
    fields = receptive_fields(graph)
    assert set(fields["concat1"]) == {"left", "right"}
    assert fields["concat1"]["left"] == (Reach(4, 2, -1), Reach(4, 2, -1))
    assert fields["felt"] == {}


def test_how_a_receptive_field_is_told() -> None:
    fields = {"x": (Reach(7, 2, -3), Reach(5, 2, -3))}
    assert list(describe(fields, {"x": (1, 10, 10)})) == [
        "7x5 of `x`, moving by 2, the first from -3 (4x2 of it without the padding)"
    ]
