"""Names in emitted source: of channels, of parallel branches, of padding in Keras."""

from __future__ import annotations

import numpy as np
import pytest

from cnnspec.api import read
from cnnspec.backends import BUILT_IN, get
from cnnspec.check import check
from tests.night import at_night
from tests.test_emitted_blocks import HEAD, definition, definitions, graph_of, text_of


def block(layers: str, parameters: str = "", uses: str = "  - b\n") -> str:
    """A network whose block `b` has these layers, one a line."""
    return (
        f"{HEAD}input: [3, 8, 8]\ndefine:\n  b:\n    parameters: {{{parameters}}}\n    layers:\n"
        + "".join(f"      - {line}\n" for line in layers.splitlines())
        + f"layers:\n{uses}"
    )


# --- channels ------------------------------------------------------------------------------------


def test_a_norm_is_spelled_like_the_convolution_before_it() -> None:
    made = definition(text_of(graph_of("mobilenet_v2"), "torch"), "InvertedResidual")
    assert "nn.BatchNorm2d(channels)" in made
    assert "nn.BatchNorm2d(in_channels)" not in made


CHANNELS = {
    "behind a depthwise convolution": (
        "conv: {filters: $wide, kernel: 1}\ndepthwise_conv: {kernel: 3, padding: 1}\nbatch_norm\n"
        "conv: {filters: $channels, kernel: 1}\nprelu\n"
        "add: {from: [prelu1, input]}",
        ["nn.BatchNorm2d(wide)", "nn.PReLU(channels)"],
    ),
    "behind another block's": (
        "c: {width: $channels}\nbatch_norm\nadd: {from: [batch_norm1, input]}",
        ["nn.BatchNorm2d(channels)"],
    ),
    "in front of everything": (
        "batch_norm\nconv: {filters: $channels, kernel: 1}\nrelu\nadd: {from: [relu1, input]}",
        ["nn.BatchNorm2d(in_channels)"],
    ),
}


@pytest.mark.parametrize("name", CHANNELS)
def test_channels_go_by_the_nearest_name(name: str) -> None:
    layers, wanted = CHANNELS[name]
    inner = (
        "  c:\n    parameters: {width: required}\n"
        "    layers: [{conv: {filters: $width, kernel: 3, padding: 1}}]\n"
    )
    uses = (
        "  - b: {channels: 3, wide: 3}\n"
        "  - conv: {filters: 5, kernel: 1}\n  - b: {channels: 5, wide: 5}\n"
    )
    text = block(layers, "channels: required, wide: required", uses).replace(
        "define:\n", f"define:\n{inner}"
    )
    made = definition(get("torch").emit(read(text).graph).text, "B")
    for line in wanted:
        assert line in made, made


# --- branches ------------------------------------------------------------------------------------


def forward(text: str, name: str = "Inception") -> list[str]:
    """The lines of a class's forward pass."""
    lines = definition(text, name).partition("def forward(")[2].splitlines()
    return [line.strip() for line in lines[2:]]


def test_parallel_branches_go_by_their_names() -> None:
    assert forward(text_of(graph_of("googlenet"), "torch")) == [
        "branch1 = self.branch1(x)",
        "branch2 = self.branch2(x)",
        "branch3 = self.branch3(x)",
        "branch4 = self.branch4(x)",
        "x = torch.cat([branch1, branch2, branch3, branch4], dim=1)",
        "return x",
    ]
    made = definition(text_of(graph_of("googlenet"), "keras"), "inception")
    assert made.startswith("def inception(x, ")
    assert "branch2 = basic_conv(x, ch3x3red" in made
    assert "branch2 = basic_conv(branch2, ch3x3" in made
    numpy = definition(text_of(graph_of("googlenet"), "numpy"), "Inception")
    assert "x, concat1_backward = concat(branch1, branch2, branch3, branch4)" in numpy
    assert "g_branch1, g_branch2, g_branch3, g_branch4 = concat1_backward(g)" in numpy


def test_a_branch_goes_by_what_its_layers_begin_with() -> None:
    text = text_of(graph_of("inception_v3"), "torch")
    assert forward(text, "InceptionA")[1:3] == [
        "branch5x5 = self.branch5x5_1(x)",
        "branch5x5 = self.branch5x5_2(branch5x5)",
    ]
    assert "branch_pool = F.avg_pool2d(x, 3, stride=1, padding=1)" in forward(text, "InceptionA")
    assert "branch3x3_2a = self.branch3x3_2a(branch3x3_1)" in forward(text, "InceptionE")


def test_outputs_go_by_their_names() -> None:
    text = text_of(graph_of("googlenet"), "torch")
    assert (
        "        if self.training:\n"
        "            aux1 = self.aux1(inception4a)\n"
        "            aux2 = self.aux2(inception4d)\n"
        '            return {"main": fc, "aux1": aux1, "aux2": aux2}\n'
        "        return fc\n"
    ) in text
    assert "policy = self.policy(x)\n        value = self.value(x)\n" in text_of(
        graph_of("alphago_zero"), "torch"
    )


MAIN_PATH = {
    "a residual and its shortcut": (
        "conv: {filters: 4, kernel: 1}\nconv: {name: short, from: input, filters: 4, kernel: 1}\n"
        "add: {from: [conv1, short]}",
        ["x = self.conv1(inputs)", "short = self.short(inputs)", "x = x + short", "return x"],
    ),
    "a skip connection": (
        "conv: {filters: 4, kernel: 1}\nconcat: {from: [conv1, input]}",
        ["x = self.conv1(inputs)", "x = torch.cat([x, inputs], dim=1)", "return x"],
    ),
    "a value that goes on as well": (
        "relu: {name: first}\nconv: {filters: 4, kernel: 1}\nconcat: {from: [first, conv1]}",
        ["first = F.relu(x)", "x = self.conv1(first)", "x = torch.cat([first, x], dim=1)"],
    ),
}


@pytest.mark.parametrize("name", MAIN_PATH)
def test_the_main_path_stays_x(name: str) -> None:
    layers, wanted = MAIN_PATH[name]
    text = get("torch").emit(read(block(layers)).graph).text
    assert forward(text, "B")[: len(wanted)] == wanted


WIRED = {
    "branches that fork": """\
conv: {name: a_1, filters: 2, kernel: 1}
conv: {name: b_1, from: input, filters: 2, kernel: 1}
conv: {name: b_2, filters: 2, kernel: 1}
conv: {name: b_2a, filters: 2, kernel: 1}
conv: {name: b_2b, from: b_2, filters: 2, kernel: 1}
concat: {from: [a_1, b_2a, b_2b]}
tanh""",
    "branches in branches": """\
relu: {name: left}
tanh: {name: right, from: input}
concat: {name: inner, from: [left, right]}
conv: {name: inner_1, filters: 2, kernel: 1}
sigmoid: {name: outer, from: input}
concat: {from: [inner_1, outer, left]}""",
    "one name for two branches": """\
conv: {name: a_1, filters: 2, kernel: 1}
conv: {name: a_2, filters: 2, kernel: 1}
conv: {name: a_3, from: input, filters: 2, kernel: 1}
conv: {name: a_4, filters: 2, kernel: 1}
concat: {from: [a_2, a_4]}""",
    "a branch twice": """\
conv: {name: a, filters: 2, kernel: 1}
relu: {name: b, from: input}
concat: {from: [a, b, a]}""",
    "parts of a split": """\
split: {name: s, sizes: [1, 2]}
conv: {name: c_1, from: s.0, filters: 2, kernel: 1}
conv: {name: c_2, filters: 2, kernel: 1}
concat: {from: [c_2, s.1]}""",
    "a sum of three": """\
conv: {name: a, filters: 2, kernel: 1}
conv: {name: b, from: input, filters: 2, kernel: 1}
conv: {name: c, from: input, filters: 2, kernel: 1}
add: {from: [a, b, c]}""",
}


@pytest.mark.parametrize("name", at_night(WIRED, {"branches that fork"}.__contains__))
def test_branches_compute_the_same(name: str) -> None:
    for text in (block(WIRED[name]), HEAD + "input: [3, 8, 8]\nlayers:\n" + _flat(WIRED[name])):
        report = check(read(text).graph, in_process=True, dtype="float64", steps=1)
        assert report, report.specs[0].first_difference


def _flat(layers: str) -> str:
    return "".join(f"  - {line}\n" for line in layers.splitlines())


# --- padding in Keras ----------------------------------------------------------------------------


def padded(uses: str) -> str:
    layers = "conv: {filters: 2, kernel: $kernel, stride: $stride, padding: $padding}"
    return block(layers, "kernel: 1, stride: 1, padding: 0", uses)


def test_one_function_pads_or_does_not() -> None:
    text = text_of(graph_of("googlenet"), "keras")
    assert [name for name in definitions(text) if name.startswith("basic")] == ["basic_conv"]
    assert "zero_padding(x, padding, name=" in definition(text, "basic_conv")


PADDED = {
    "the same for all": ("  - b\n  - b: {kernel: 3, padding: 1}\n", 'padding="same"'),
    "zeros for some": ("  - b\n  - b: {kernel: 3, stride: 2, padding: 1}\n", "zero_padding("),
    "zeros for one of two axes": (
        "  - b: {kernel: 3}\n  - b: {kernel: [3, 1], padding: [1, 0]}\n",
        "zero_padding(",
    ),
}


@pytest.mark.parametrize("name", at_night(PADDED, {"zeros for some"}.__contains__))
def test_padding_that_differs_is_one_text(name: str) -> None:
    uses, wanted = PADDED[name]
    graph = read(padded(uses)).graph
    text = get("keras").emit(graph).text
    assert [d for d in definitions(text) if d.startswith("b")][:1] == ["b"]
    assert "b2" not in definitions(text)
    assert wanted in definition(text, "b")
    report = check(graph, in_process=True, dtype="float64", steps=1)
    assert report, report.specs[0].first_difference
    values = {}
    x = np.random.default_rng(0).normal(size=(2, 3, 8, 8))
    weights = {n: np.full(p.shape, 0.5) for n, p in graph.params().items()}
    for backend in BUILT_IN:
        session = get(backend).open(get(backend).emit(graph))
        session.assign(weights)
        values[backend] = session.forward({"input": x})["output"]
        session.close()
    for found in values.values():
        np.testing.assert_allclose(found, values["numpy"], rtol=1e-13, atol=1e-13)
