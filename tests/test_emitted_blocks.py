"""Blocks in emitted source: one class for all instances, with arguments where they differ."""

from __future__ import annotations

import ast
import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given

from cnnspec.api import read
from cnnspec.backends import BUILT_IN, get
from cnnspec.backends.base import Style
from cnnspec.backends.mapping import source_map
from cnnspec.backends.parts import assign
from cnnspec.backends.program import audit, instrument, remove_taps
from cnnspec.backends.writer import Code, Writer
from cnnspec.cli import main
from cnnspec.graph import Graph
from cnnspec.testing.blocks import block_networks

ROOT = Path(__file__).parents[1]
WIDTH = 100
HEAD = "cnnspec: 1\nname: net\n"
every_backend = pytest.mark.parametrize("backend", BUILT_IN)


def graph_of(name: str) -> Graph:
    return read(ROOT / "specs" / f"{name}.yaml").graph


def text_of(graph: Graph, backend: str, style: Style = Style()) -> str:
    return get(backend).emit(graph, style).text


def definition(text: str, name: str) -> str:
    """The source of a class or function."""
    for statement in ast.parse(text).body:
        if isinstance(statement, (ast.ClassDef, ast.FunctionDef)) and statement.name == name:
            return ast.get_source_segment(text, statement) or ""
    raise KeyError(name)


def definitions(text: str) -> list[str]:
    kinds = (ast.ClassDef, ast.FunctionDef)
    return [s.name for s in ast.parse(text).body if isinstance(s, kinds)]


# --- how it reads --------------------------------------------------------------------------------


def test_resnet50_in_torch() -> None:
    text = text_of(graph_of("resnet50"), "torch")
    lines = text.splitlines()
    assert len(lines) <= 120
    assert max(map(len, lines)) <= 110
    assert definitions(text) == ["Bottleneck", "Resnet50"]
    made = definition(text, "Bottleneck")
    assert "def __init__(self, in_channels, channels, stride=1, project=False):" in made
    assert "self.conv2 = nn.Conv2d(channels, channels, 3, stride=stride, padding=1" in made
    assert "self.bn3 = nn.BatchNorm2d(channels * 4)" in made
    assert "if project:\n" in made
    flat = " ".join(definition(text, "Resnet50").split())
    assert (
        "self.layer2 = nn.Sequential( Bottleneck(256, 128, stride=2, project=True), "
        "*(Bottleneck(512, 128) for _ in range(3)) )"
    ) in flat


def test_resnet50_in_keras() -> None:
    text = text_of(graph_of("resnet50"), "keras")
    assert "bottleneck" in definitions(text)
    made = definition(text, "bottleneck")
    assert made.startswith("def bottleneck(inputs, channels, stride=1, project=False, *, name):")
    assert 'name=f"{name}.downsample.0"' in made
    model = definition(text, "build_model")
    assert 'x = bottleneck(x, 128, stride=2, project=True, name="layer2.0")' in model
    assert "for index in range(1, 4):\n" in model
    assert 'x = bottleneck(x, 128, name=f"layer2.{index}")' in model


def test_resnet50_in_numpy() -> None:
    made = definition(text_of(graph_of("resnet50"), "numpy"), "Bottleneck")
    assert "def __init__(self, in_channels, channels, stride=1, project=False):" in made
    assert "g_inputs = g_inputs + conv1_backward(g)" in made  # used twice, in reverse order


def test_named_instances_run_over_a_range() -> None:
    text = text_of(graph_of("densenet121"), "torch")
    made = definition(text, "DenseBlock")
    assert "class DenseBlock(nn.Sequential):" in made
    assert "def __init__(self, in_channels, depth):" in made
    assert "for index in range(depth):" in made
    assert 'f"denselayer{index + 1}", DenseLayer(in_channels + 32 * index)' in made
    assert "forward" not in made


def test_googlenet_is_a_dict_in_training_only() -> None:
    text = text_of(graph_of("googlenet"), "torch")
    made = definition(text, "Inception")
    arguments = "in_channels, ch1x1, ch3x3red, ch3x3, ch5x5red, ch5x5, pool_proj"
    assert f"def __init__(self, {arguments}):" in made
    assert "if self.training:\n            aux1 = " in text
    assert "build_models" in definitions(text_of(graph_of("googlenet"), "keras"))


def test_positions_shift_where_a_condition_takes_layers_out() -> None:
    graph = graph_of("mobilenet_v2")
    text = text_of(graph, "keras")
    names = {node.id for node in graph.nodes}
    assert "features.1.conv.0.0" in names
    assert "features.2.conv.1.0" in names
    assert 'name=f"{name}.conv.' in text


@every_backend
def test_lines_are_short_and_files_compile(backend: str) -> None:
    for path in sorted((ROOT / "specs").glob("*.yaml")):
        for style in (Style(), Style(random="counter")):
            text = text_of(read(path).graph, backend, style)
            assert max(map(len, text.splitlines())) <= WIDTH, path
            audit(text)


MERGES = """\
input: [3, 6, 5]
define:
  mix:
    inputs: [one, other]
    layers: [{conv: {name: conv, from: other, filters: 3, kernel: 1}}, {add: {from: [conv, one]}}]
  unit:
    parameters: {PARAMETER: false, mixed: false}
    layers:
      - conv: {name: CONV, filters: 3, kernel: 1}
      - add: {from: [CONV, input], when: $PARAMETER}
      - multiply: {from: [add1, CONV], when: $(mixed or not PARAMETER)}
      - mix: {name: mix, from: [multiply1, input], when: $mixed}
layers:
  - unit: {name: a}
  - unit: {name: b, PARAMETER: true, mixed: true}
  - unit: {name: c, PARAMETER: true}
"""


def merging(parameter: str, conv: str) -> Graph:
    return read(HEAD + MERGES.replace("PARAMETER", parameter).replace("CONV", conv)).graph


@pytest.mark.parametrize(
    ("parameter", "conv", "flag"),
    [
        ("residual", "conv", "residual"),
        ("residual", "residual", "has_add1"),
        ("residual", "has_add1", "residual"),
        ("buffers_", "conv", "buffers_"),
    ],
)
def test_a_merge_under_a_condition_in_torch(parameter: str, conv: str, flag: str) -> None:
    made = definition(text_of(merging(parameter, conv), "torch"), "Unit")
    assert f"        self.{flag} = {parameter}\n" in made
    assert f"        self.has_multiply1 = mixed or not {parameter}\n" in made
    assert "        self.mix = Mix() if mixed else None\n" in made
    assert "Identity" not in made
    assert made.endswith(
        f"""\
        {conv} = self.{conv}(inputs)
        x = {conv}
        if self.{flag}:
            x = {conv} + inputs
        if self.has_multiply1:
            x = x * {conv}
        if self.mix is not None:
            x = self.mix(x, inputs)
        return x"""
    )


def test_a_merge_under_a_condition_in_keras() -> None:
    made = definition(text_of(merging("residual", "conv"), "keras"), "unit")
    assert made.endswith(
        """\
    x = conv
    if residual:
        x = layers.Add(name=f"{name}.add1")([conv, inputs])
    if mixed or not residual:
        x = layers.Multiply(name=f"{name}.multiply1")([x, conv])
    if mixed:
        x = mix(x, inputs, name=f"{name}.mix")
    return x"""
    )


def test_a_merge_under_a_condition_in_numpy() -> None:
    made = definition(text_of(merging("residual", "conv"), "numpy"), "Unit")
    assert "        if self.residual:\n            x, add1_backward = add(conv, inputs)\n" in made
    assert made.endswith(
        """\
        def backward(g):
            if self.mix is not None:
                g, g_inputs = mix_backward(g)
            else:
                g_inputs = 0.0
            if self.has_multiply1:
                g, g_conv = multiply1_backward(g)
            else:
                g_conv = 0.0
            if self.residual:
                g_conv_part, g_inputs_part = add1_backward(g)
                g_conv = g_conv + g_conv_part
                g_inputs = g_inputs + g_inputs_part
            else:
                g_conv = g_conv + g
            g_inputs = g_inputs + conv_backward(g_conv)
            return g_inputs

        return x, backward"""
    )


def test_flags_do_not_clash() -> None:
    text = """\
input: [3, 6, 5]
define:
  unit:
    parameters: {add1: false}
    layers:
      - conv: {name: has_add1, filters: 3, kernel: 1}
      - relu
      - add: {from: [relu1, input], when: $add1}
layers: [{unit: {name: a}}, {unit: {name: b, add1: true}}]
"""
    made = definition(text_of(read(HEAD + text).graph, "torch"), "Unit")
    assert "self.has_add1_ = add1\n" in made
    assert "self.has_add1 = nn.Conv2d(3, 3, 1)\n" in made
    assert "        if self.has_add1_:\n            x = x + inputs\n" in made


def test_mobilenet_v2_reads_like_torchvision() -> None:
    made = definition(text_of(graph_of("mobilenet_v2"), "torch"), "InvertedResidual")
    assert "self.residual = residual\n" in made
    assert made.endswith(
        """\
        x = self.conv(inputs)
        if self.residual:
            x = x + inputs
        return x"""
    )


def test_a_merge_that_reads_the_variable_it_makes() -> None:
    def written(target: str, *reads: str) -> list[str]:
        writer = Writer()
        assign(writer, target, reads, f"{target} = f()", Code("p"))
        return writer.lines

    chosen = ["if p:", "    x = f()"]
    assert written("x", "x", "y") == chosen
    assert written("x", "y", "z") == ["x = y", *chosen]
    assert written("x", "y", "x") == [*chosen, "else:", "    x = y"]


def test_a_loop_between_two_ends_counts_what_is_between() -> None:
    graph = read(HEAD + BLOCKS["both ends of repeats of different lengths"]).graph
    text = " ".join(text_of(graph, "torch").split())
    assert "*(Unit(4) for _ in range((n if p else n + 1) - 2))" in text
    assert "*(Unit(4) for _ in range(n + 1 - 2))" in text
    text = text_of(graph, "keras")
    assert "for index in range(1, n + 1 - 1):\n" in text


# --- any blocks ----------------------------------------------------------------------------------


@given(block_networks())
def test_random_blocks_are_written_and_tapped(text: str) -> None:
    graph = read(text).graph
    for backend in BUILT_IN:
        emitted = get(backend).emit(graph, Style(random="counter"))
        assert set(emitted.lines) == {node.id for node in graph.nodes}
        tree = audit(emitted.text)
        tapped = instrument(audit(emitted.text), emitted.lines)
        assert ast.dump(remove_taps(tapped)) == ast.dump(tree)
        assert max(map(len, emitted.text.splitlines())) <= WIDTH


BLOCKS: Mapping[str, str] = {
    "a layer under a condition": """\
input: [3, 6, 5]
define:
  unit:
    parameters: {channels: required, active: true}
    layers:
      - conv: {name: conv, filters: $channels, kernel: 3, padding: 1}
      - relu: {when: $active}
layers:
  - unit: {name: a, channels: 4}
  - unit: {name: b, channels: 5, active: false}
""",
    "several inputs and outputs": """\
input: [3, 8, 12]
define:
  down:
    parameters: {channels: required}
    outputs: {main: pool, skip: act}
    layers:
      - conv: {name: conv, filters: $channels, kernel: 3, padding: 1}
      - relu: {name: act}
      - max_pool: {name: pool, kernel: 2}
  up:
    inputs: [low, skip]
    parameters: {channels: required}
    layers:
      - upsample: {name: up, from: low, scale: 2}
      - concat: {from: [up, skip]}
      - conv: {name: conv, filters: $channels, kernel: 3, padding: 1}
layers:
  - down: {name: d1, channels: 4}
  - down: {name: d2, channels: 6}
  - up: {name: u2, from: [d2, d2.skip], channels: 5}
  - up: {name: u1, from: [u2, d1.skip], channels: 3}
""",
    "a merge under a condition": """\
input: [3, 6, 5]
define:
  unit:
    parameters: {residual: false, stride: 1}
    layers:
      - conv: {name: conv, filters: 3, kernel: 3, padding: 1}
      - add: {from: [conv, input], when: $residual}
      - average: {from: [add1, conv], when: $(residual and stride == 1)}
      - relu
layers:
  - unit: {name: a}
  - unit: {name: b, residual: true}
  - unit: {name: c, residual: true, stride: 2}
  - unit: {name: d, repeat: 4, first: {residual: true}, last: {stride: 2, residual: true}}
""",
    "merges whose first input is not the one above": """\
input: [3, 6, 5]
define:
  unit:
    parameters: {p: false, q: false}
    layers:
      - conv: {name: conv, filters: 3, kernel: 3, padding: 1}
      - subtract: {name: less, from: [input, conv], when: $p}
      - add: {name: twice, from: [less, less], when: $q}
      - concat: {name: both, from: [less, conv, less, input], when: $(not p)}
      - maximum: {name: most, from: [conv, twice, input], when: $p}
      - average: {from: [most, conv, most], when: $q}
      - concat: {from: [average1, less, twice, both, most]}
      - conv: {filters: 3, kernel: 1}
layers:
  - unit: {name: a}
  - unit: {name: b, p: true}
  - unit: {name: c, q: true}
  - unit: {name: d, p: true, q: true}
""",
    "blocks of several inputs under a condition": """\
input: {left: [3, 6, 5], right: [3, 6, 5]}
define:
  mix:
    inputs: [one, other]
    parameters: {bias: true, summed: true}
    layers:
      - conv: {name: conv, from: other, filters: 3, kernel: 1, bias: $bias}
      - add: {name: sum, from: [conv, one], when: $summed}
  unit:
    inputs: [left, right]
    parameters: {mixed: true, again: false}
    layers:
      - tanh: {name: act, from: right}
      - mix: {name: mix, from: [left, act], when: $mixed}
      - mix: {name: other, from: [act, mix], bias: false, when: $(not mixed)}
      - mix: {name: mix2, share: mix, from: [other, left], when: $again}
      - add: {from: [mix2, mix, other, act]}
layers:
  - unit: {name: a, from: [left, right]}
  - unit: {name: b, from: [a, left], mixed: false}
  - unit: {name: c, from: [b, a], again: true}
  - mix: {name: d, from: [c, c], summed: false, when: false}
  - mix: {name: e, from: [c, right]}
""",
    "a shared block with a merge under a condition": """\
input: [3, 6, 5]
define:
  unit:
    parameters: {residual: true}
    layers:
      - conv: {name: conv, filters: 3, kernel: 3, padding: 1}
      - add: {from: [conv, input], when: $residual}
      - relu
  pair:
    parameters: {residual: true}
    layers:
      - unit: {name: first, residual: $residual}
      - unit: {name: second, share: first, residual: $residual}
layers:
  - unit: {name: a}
  - unit: {name: b, residual: false}
  - unit: {name: a2, share: a}
  - unit: {name: b2, share: b, residual: false}
  - pair: {name: p}
  - pair: {name: q, residual: false}
""",
    "a shared block": """\
input: [3, 6, 5]
define:
  unit:
    layers:
      - conv: {name: conv, filters: 3, kernel: 3, padding: 1, bias: false}
      - batch_norm: {name: bn}
      - relu
layers:
  - unit: {name: first}
  - tanh
  - unit: {name: second, share: first}
  - unit: {name: third}
""",
    "repeats of different lengths": """\
input: [3, 6, 5]
define:
  stage:
    parameters: {channels: required, depth: 1}
    layers:
      - unit: {name: units, repeat: $depth, channels: $channels}
  unit:
    parameters: {channels: required}
    layers:
      - conv: {name: conv, filters: $channels, kernel: 3, padding: 1}
      - relu
layers:
  - stage: {name: s1, channels: 4, depth: 3}
  - stage: {name: s2, channels: 6, depth: 2}
  - stage: {name: s3, channels: 2}
""",
    "both ends of repeats of different lengths": """\
input: [3, 6, 5]
define:
  unit:
    parameters: {wide: false, bias: true}
    layers:
      - conv: {filters: $(3 if wide else 4), kernel: 1, bias: $bias}
  stage:
    parameters: {n: 3, p: false}
    layers:
      - unit: {name: units, repeat: $(n if p else n + 1), first: {bias: false}, last: {wide: true}}
  plain:
    parameters: {n: 3}
    layers:
      - unit: {name: units, repeat: $(n + 1), first: {bias: false}, last: {wide: true}}
layers:
  - stage: {name: a, n: 3}
  - stage: {name: b, n: 5, p: true}
  - plain: {name: c}
  - plain: {name: d, n: 4}
""",
    "a repeat behind a layer under a condition": """\
input: [3, 6, 5]
define:
  unit:
    parameters: {p: false, q: true}
    layers:
      - sequence:
          layers:
            - sequence: {when: $p, layers: [{conv: {filters: 3, kernel: 1}}, tanh]}
            - conv: {filters: 3, kernel: 1, repeat: 3}
            - sequence: {when: $q, layers: [{conv: {filters: 3, kernel: 1}}, tanh]}
layers: [{unit: {name: a}}, {unit: {name: b, p: true}}, {unit: {name: c, p: true, q: false}}]
""",
    "padding that no one class has": """\
input: [2, 9, 8]
define:
  unit:
    parameters: {kernel: 3, stride: 1}
    layers:
      - conv: {name: conv, filters: 3, kernel: $kernel, stride: $stride, padding: same}
      - max_pool: {kernel: 2, stride: $stride}
layers:
  - unit: {name: a, kernel: 3}
  - unit: {name: b, kernel: 5, stride: 2}
  - unit: {name: c, kernel: 2}
""",
    "an auxiliary head": """\
input: [3, 6, 5]
define:
  head:
    layers: [global_avg_pool, flatten, {dense: {name: fc, units: 4}}]
layers:
  - conv: {name: conv1, filters: 4, kernel: 3}
  - head: {name: aux}
  - conv: {name: conv2, from: conv1, filters: 5, kernel: 3}
  - head: {name: top}
outputs: {main: top, aux: {from: aux, training_only: true}}
""",
    "what only an auxiliary output reads": """\
input: {first: [4], second: [2]}
define:
  both:
    outputs: {main: a, side: b}
    layers: [{dense: {name: a, units: 3}}, {dense: {name: b, from: input, units: 2}}]
layers:
  - split: {name: halves, from: first, into: 2}
  - both: {name: twice, from: halves.0}
  - dense: {name: top, units: 2}
  - add: {name: aside, from: [second, halves.1, twice.side]}
outputs: {main: top, aux: {from: aside, training_only: true}}
""",
    "a split": """\
input: [6, 5, 4]
define:
  unit:
    layers:
      - split: {name: halves, into: 2}
      - conv: {name: conv, from: halves.1, filters: 3, kernel: 3, padding: 1}
      - concat: {from: [halves.0, conv]}
layers:
  - unit: {name: units, repeat: 3}
""",
}


@pytest.mark.parametrize("name", BLOCKS)
def test_all_backends_compute_the_same(name: str) -> None:
    graph = read(HEAD + BLOCKS[name]).graph
    rng = np.random.default_rng(0)
    weights = {
        key: np.abs(rng.normal(size=param.shape)) + 0.1 for key, param in graph.params().items()
    }
    inputs = {entry.name: rng.normal(size=(3, *entry.shape)) for entry in graph.inputs}
    found = {}
    for backend in BUILT_IN:
        session = get(backend).open(get(backend).emit(graph, Style()))
        session.assign(weights)
        both = [session.forward(inputs), session.forward(inputs, training=True)]
        session.assign(weights)
        cotangents = {n: np.ones_like(v) for n, v in both[1].items()}
        trace = session.trace(inputs, cotangents=cotangents, training=True)
        found[backend] = [*both, trace.values, trace.gradients, trace.parameters, trace.inputs]
        session.close()
    names = [o.name for o in graph.outputs if not o.training_only]
    assert list(found["numpy"][0]) == names
    for backend in BUILT_IN:
        for ours, theirs in zip(found["numpy"], found[backend], strict=True):
            assert ours.keys() == theirs.keys()
            for key, value in ours.items():
                scale = max(np.abs(value).max(), 1e-3)
                assert np.abs(value - theirs[key]).max() <= 1e-12 * scale, (backend, key)


# --- deep networks -------------------------------------------------------------------------------

DEEP = """\
cnnspec: 1
name: deep
input: [2, 4, 3]
define:
  basic:
    layers:
      - conv: {name: conv, filters: 2, kernel: 3, padding: 1, bias: false}
      - batch_norm: {name: bn, weight_init: {constant: {value: 0.1}}}
      - relu
      - add: {from: [relu1, input]}
layers:
  - basic: {name: blocks, repeat: COUNT}
  - global_avg_pool
  - flatten
  - dense: {name: fc, units: 3}
"""


@every_backend
def test_a_deep_network_is_a_short_file(backend: str) -> None:
    sizes = {
        count: len(text_of(read(DEEP.replace("COUNT", str(count))).graph, backend).splitlines())
        for count in (60, 1000)
    }
    assert sizes[60] == sizes[1000]
    assert "recursion" not in text_of(read(DEEP.replace("COUNT", "60")).graph, backend).lower()


@pytest.mark.filterwarnings(
    # Keras asks NumPy for a copy of its variables in the way of before NumPy 2.
    "ignore:__array__ implementation doesn't accept a copy keyword:DeprecationWarning"
)
def test_a_block_that_is_repeated_often_is_one_layer_in_keras(tmp_path: Path) -> None:
    graph = read(DEEP.replace("COUNT", "51")).graph
    emitted = get("keras").emit(graph, Style())
    assert "Repeated(" in emitted.text
    assert "Repeated(" not in text_of(read(DEEP.replace("COUNT", "50")).graph, "keras")
    session = get("keras").open(emitted)
    inputs = {"input": np.random.default_rng(0).normal(size=(3, 2, 4, 3))}
    before = session.forward(inputs)["output"]
    path = str(tmp_path / "deep.safetensors")
    session.module.save_weights(session.model, path)  # type: ignore[attr-defined]  # the text's
    weights = session.weights()
    assert set(weights) == set(graph.params())
    session.assign({name: np.zeros_like(value) for name, value in weights.items()})
    session.module.load_weights(session.model, path)  # type: ignore[attr-defined]  # the text's
    assert np.array_equal(session.forward(inputs)["output"], before)
    saved = str(tmp_path / "deep.keras")
    session.model.save(saved)
    import keras

    again = keras.models.load_model(saved)
    turned = np.moveaxis(inputs["input"], 1, -1)
    assert np.abs(np.asarray(again(turned)) - before).max() <= 1e-12
    session.close()


# --- the map from generated lines to those of the spec -------------------------------------------


def test_the_map_names_the_line_of_the_spec(tmp_path: Path) -> None:
    source, file = tmp_path / "net.py", tmp_path / "net.map.json"
    spec = str(ROOT / "specs" / "resnet50.yaml")
    arguments = ["compile", spec, "-b", "torch", "-o", str(source), "--map", str(file)]
    assert main(arguments) == 0
    found = json.loads(file.read_text())
    lines = source.read_text().splitlines()
    by_id = {entry["node"]: entry for entry in found["nodes"]}
    graph = read(spec).graph
    assert list(by_id) == [node.id for node in graph.nodes]
    entry = by_id["layer3.4.bn2"]
    assert entry["instance"] == "layer3.4"
    assert lines[entry["generated"]["line"] - 1].strip() == "x = self.bn2(x)"
    library = Path(entry["spec"]["file"]).read_text().splitlines()
    assert "name: bn2" in library[entry["spec"]["line"] - 1]
    (use,) = entry["used"]
    assert "name: layer3" in Path(use["file"]).read_text().splitlines()[use["line"] - 1]
    assert main(arguments) != 0  # nothing is overwritten
    assert main([*arguments[:-1], str(source), "--force"]) == 2


@every_backend
def test_every_node_is_in_the_map(backend: str) -> None:
    graph = graph_of("googlenet")
    emitted = get(backend).emit(graph, Style())
    lines = emitted.text.splitlines()
    for entry in source_map(emitted, graph)["nodes"]:
        at = entry["generated"]
        assert 1 <= at["line"] <= at["end_line"] <= len(lines)
        assert entry["spec"]["line"] >= 1
