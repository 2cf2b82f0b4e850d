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
from cnnspec.backends.program import audit, instrument, remove_taps
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
