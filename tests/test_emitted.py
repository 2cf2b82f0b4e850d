"""What holds for the text of every network and back end."""

from __future__ import annotations

import ast
import builtins
import difflib
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cnnspec import backends
from cnnspec.backends.base import Emitted, Style
from cnnspec.backends.groups import Group, Groups, camel
from cnnspec.backends.program import audit, instrument, remove_taps
from cnnspec.backends.variables import Names, plan
from cnnspec.diagnostics import SpecError
from cnnspec.graph import Graph, Node, Scope
from cnnspec.names import RESERVED
from cnnspec.training import default_training
from tests.networks import BACKENDS, ROOT, SPECS, STYLES, data, distance, graph, graph_of, layers

every_backend = pytest.mark.parametrize("backend", BACKENDS)
every_spec = pytest.mark.parametrize("spec", SPECS)


@cache
def emitted(spec: str, backend: str, style: str = "plain") -> Emitted:
    return backends.get(backend).emit(graph_of(SPECS[spec]), STYLES[style])


def every_text() -> Iterator[tuple[str, str]]:
    for spec in SPECS:
        for backend in BACKENDS:
            for style in STYLES:
                yield f"{spec}.{backend}.{style}", emitted(spec, backend, style).text


# --- the text as such --------------------------------------------------------------------------


@every_backend
@every_spec
def test_same_graph_and_style_same_bytes(spec: str, backend: str) -> None:
    for style, options in STYLES.items():
        again = backends.get(backend).emit(graph_of(SPECS[spec]), options)
        assert again == emitted(spec, backend, style)


def ruff(*arguments: str, place: Path) -> str:
    process = subprocess.run(
        [sys.executable, "-m", "ruff", *arguments, "--config", str(ROOT / "pyproject.toml"), "."],
        cwd=place,
        capture_output=True,
        text=True,
        check=False,
    )
    return process.stdout + process.stderr if process.returncode else ""


def test_texts_pass_the_linter_and_the_formatter(tmp_path: Path) -> None:
    pytest.importorskip("ruff")
    place = tmp_path / "tests"  # where tests are, docstrings are free
    place.mkdir()
    for name, source in every_text():
        (place / f"{name}.py").write_text(source, encoding="utf-8")
    assert not ruff("format", "--diff", place=place)
    per_file = '{"**" = ["D"]}'
    options = ("--output-format", "concise", "--config", f"lint.per-file-ignores = {per_file}")
    assert not ruff("check", *options, place=place)


def test_lines_are_short() -> None:
    long = [
        f"{name}: {line}"
        for name, source in every_text()
        for line in source.splitlines()
        if len(line) > 110
    ]
    assert not long


@every_backend
@every_spec
def test_taps_come_off_again(spec: str, backend: str) -> None:
    for style in STYLES:
        made = emitted(spec, backend, style)
        tree = audit(made.text)
        plain = ast.dump(tree, include_attributes=True)
        tapped = instrument(audit(made.text), made.lines)
        assert ast.dump(tapped) != ast.dump(tree)
        assert ast.dump(remove_taps(tapped), include_attributes=True) == plain


@every_backend
@every_spec
def test_every_node_has_a_place(spec: str, backend: str) -> None:
    made = emitted(spec, backend)
    network = graph_of(SPECS[spec])
    assert list(made.lines) == [node.id for node in network.nodes]
    assert list(made.slots) == list(network.params())


def test_emitting_imports_no_framework(tmp_path: Path) -> None:
    program = """
import json, sys
from cnnspec import api
from cnnspec.backends.base import Style
for path in sys.argv[1:]:
    for backend in ("numpy", "torch", "keras"):
        for style in ("framework", "counter"):
            api.emit(path, backend, style=Style(random=style))
print(json.dumps([name for name in sys.modules if "." not in name]))
"""
    paths = [SPECS[name] for name in SPECS if "gallery" in name]
    paths += [SPECS[name] for name in ("digits", "two_towers", "googlenet")]
    process = subprocess.run(
        # The galleries have every op, the others blocks and several inputs and outputs.
        [sys.executable, "-W", "ignore", "-c", program, *map(str, paths)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
        env={"PYTHONPATH": str(ROOT)},
    )
    found = set(json.loads(process.stdout))
    assert not found & {"numpy", "scipy", "torch", "tensorflow", "keras", "safetensors", "jax"}


# --- style and training ------------------------------------------------------------------------

RANDOM = {
    # All that may differ for random layers: the helper, its seed, its name, its position.
    "torch": r"Dropout|StochasticDepth|SEED|name_random_layers|set_position",
    "numpy": r"Dropout|StochasticDepth|SEED|random|rng|\((Counter)?Model\)|model\.at|seed=None",
    "keras": r"Dropout|StochasticDepth|SEED|random|set_position",
}


def without_helpers(source: str, written: set[str]) -> list[str]:
    """Everything from the first block on, or the network, and training, a statement a line."""
    body = ast.parse(source).body
    start = next(i for i, statement in enumerate(body) if getattr(statement, "name", "") in written)
    lines = "\n".join(ast.unparse(statement) for statement in body[start:]).splitlines()
    # A sequence is one statement, and its parts are lines.
    return [part for line in lines if line.strip() for part in line.split(", '")]


@every_backend
@every_spec
def test_styles_differ_in_random_layers_only(spec: str, backend: str) -> None:
    plain, counter = (emitted(spec, backend, style) for style in STYLES)
    network = graph_of(SPECS[spec])
    if not any(node.op.random for node in network.nodes):
        assert plain.text == counter.text
        return
    blocks = {scope.block for scope in scopes(network.root) if scope.block is not None}
    written = {plain.entry, "build_models", "train_step", "Schedule", *blocks, *map(camel, blocks)}
    one, other = (without_helpers(made.text, written) for made in (plain, counter))
    changed = [line for line in difflib.ndiff(one, other) if line[0] in "+-"]
    assert any("Dropout" in line for line in changed)
    # A constructor that draws nothing else needs no generator, so only these lines come and go.
    made_of = "|".join(rf"\b{camel(block)}\(" for block in sorted(blocks)) or "$^"
    # A block that draws is handed the generator.
    allowed = rf"{RANDOM[backend]}|{made_of}" + (r"|def __init__\(self" if blocks else "")
    assert [line for line in changed if not re.search(allowed, line)] == []
    definitions = [
        {s.name: ast.unparse(s) for s in ast.parse(made.text).body if hasattr(s, "name")}
        for made in (plain, counter)
    ]
    assert definitions
    for name in set(definitions[0]) & set(definitions[1]):
        if name not in written:
            assert definitions[0][name] == definitions[1][name], name


def scopes(root: Scope) -> Iterator[Scope]:
    yield root
    for child in root.children:
        if isinstance(child, Scope):
            yield from scopes(child)


@every_backend
@every_spec
def test_training_is_appended(spec: str, backend: str) -> None:
    network = graph_of(SPECS[spec])
    bare = replace(network, training=None)
    outputs = tuple(output.name for output in network.outputs)
    trained = replace(network, training=default_training(outputs))
    before, after = (backends.get(backend).emit(g, Style()).text for g in (bare, trained))
    assert not backends.get(backend).emit(bare, Style()).trains
    compared = difflib.ndiff(before.splitlines(), after.splitlines())
    lines = [line for line in compared if line[0] in "+-"]
    lost = [line for line in lines if line[0] == "-" and line.strip("- ")]
    assert all(line.startswith("- from keras import") for line in lost), lost  # it grows
    first, second = (ast.parse(source).body for source in (before, after))
    added = {ast.dump(statement) for statement in second}
    assert all(ast.dump(s) in added or isinstance(s, ast.ImportFrom) for s in first)
    made = [s.name for s in second if isinstance(s, ast.FunctionDef)]
    entry = backends.get(backend).emit(bare, Style()).entry
    model = [i for i, s in enumerate(second) if getattr(s, "name", "") == entry]
    steps = [i for i, s in enumerate(second) if getattr(s, "name", "") == "train_step"]
    assert model < steps
    assert {"loss_sum", "make_optimizer", "learning_rate", "train_step"} <= set(made)


# --- names -------------------------------------------------------------------------------------

HIDDEN = (
    "F torch nn np g len ops keras math hashlib layers_ print x y initializers special philox "
    "relu max_pool conv dense loss_sum clip train_step SEED backward outputs gradients "
    "logits_backward inputs build_model CANONICAL load_state_dict_ Conv Sequential Apply "
    "name variables axes found value path model zip sum dict PACKAGE self_ super object"
).split()


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(
    "kind", ["conv: {name: NAME, filters: 3, kernel: 1}", "tanh: {name: NAME}"]
)
def test_locals_hide_nothing(kind: str, backend: str) -> None:
    names = [name for name in HIDDEN if name not in RESERVED]
    listed = [kind.replace("NAME", name) for name in names]
    # Each value is read twice, so that each needs a name of its own.
    lines = [
        line
        for name, layer in zip(names, listed, strict=True)
        for line in (layer, f"add: {{name: then_{name}, from: [{name}, {name}]}}")
    ]
    joined = ", ".join(f"{name}, then_{name}" for name in names)
    network = layers(*lines, f"concat: {{from: [{joined}]}}", input="[3, 2, 2]")
    made = backends.get(backend).emit(network)
    assert_nothing_hidden(made)
    run_and_compare(network, backend)


def assert_nothing_hidden(made: Emitted) -> None:
    tree = audit(made.text)
    outside = {
        alias.asname or alias.name for s in tree.body for alias in getattr(s, "names", [])
    } | {s.name for s in tree.body if isinstance(s, (ast.FunctionDef, ast.ClassDef))}
    entry = next(s for s in tree.body if getattr(s, "name", "") == made.entry)
    stored = {
        node.id
        for node in ast.walk(entry)
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)
    }
    arguments = {node.arg for node in ast.walk(entry) if isinstance(node, ast.arg)}
    assert not (stored | arguments) & (outside | set(dir(builtins))), made.backend


def run_and_compare(network: Graph, backend: str) -> None:
    """Outputs of this back end against NumPy's, where it is installed."""
    pytest.importorskip({"keras": "tensorflow"}.get(backend, backend))
    weights, inputs, _ = data(network)
    found = []
    for name in {"numpy", backend}:
        chosen = backends.get(name)
        session = chosen.open(chosen.emit(network), dtype="float64")
        try:
            session.assign(weights)
            found.append(session.forward(inputs))
        finally:
            session.close()
    for output in found[0]:
        assert distance(found[0][output], found[-1][output]) < 1e-12


@every_backend
def test_input_names_hide_nothing(backend: str) -> None:
    names = ["F", "len", "x", "g", "np", "torch", "keras", "outputs", "training", "inputs", "left"]
    listed = ", ".join(f"{name}: [2, 3, 3]" for name in names)
    network = layers(f"concat: {{from: [{', '.join(names)}]}}", input=f"{{{listed}}}")
    assert_nothing_hidden(backends.get(backend).emit(network))
    run_and_compare(network, backend)


def test_names_of_attributes_are_reserved() -> None:
    torch = pytest.importorskip("torch")
    taken = {*dir(torch.nn.Module()), *dir(torch.nn.Sequential())}
    for spec in SPECS:
        for backend in ("numpy", "torch"):
            for style in STYLES:
                for statement in ast.parse(emitted(spec, backend, style).text).body:
                    if isinstance(statement, ast.ClassDef) and statement.name in (
                        "Model",
                        "CounterModel",
                        "Sequential",
                        emitted(spec, backend, style).entry,
                    ):
                        taken |= {s.name for s in statement.body if isinstance(s, ast.FunctionDef)}
    assert {name for name in taken if not name.startswith("_")} <= RESERVED


@pytest.mark.parametrize(
    ("backend", "name"),
    [
        ("torch", "nn"),
        ("torch", "f"),
        ("torch", "paddedConv2d"),
        ("numpy", "model"),
        ("numpy", "conv"),
        ("numpy", "sequential"),
    ],
)
def test_a_network_called_like_a_helper(backend: str, name: str) -> None:
    network = graph(f"cnnspec: 1\nname: {name}\ninput: [3]\nlayers: [relu]\n")
    taken = camel(name)
    if name == "nn":  # the class is `Nn`, which is free
        backends.get(backend).emit(network)
        return
    with pytest.raises(SpecError) as caught:
        backends.get(backend).emit(network)
    (diagnostic,) = caught.value.diagnostics
    assert diagnostic.code == "name-clash"
    assert f"`{taken}`" in diagnostic.message


# --- which variable holds which value ----------------------------------------------------------


@st.composite
def wirings(draw: st.DrawFn) -> Graph:
    """Random graphs of tanh and add over one or two inputs, with one to three outputs."""
    inputs = draw(st.sampled_from([("input",), ("a", "b")]))
    values = list(inputs)
    lines = []
    for index in range(draw(st.integers(1, 9))):
        count = draw(st.integers(1, 3))
        # Mostly the last value, as people write networks.
        reads = [
            draw(st.sampled_from(values)) if draw(st.booleans()) else values[-1]
            for _ in range(count)
        ]
        op = "tanh" if count == 1 else "add"
        source = reads[0] if count == 1 else f"[{', '.join(reads)}]"
        lines.append(f"{op}: {{name: n{index}, from: {source}}}")
        values.append(f"n{index}")
    nodes = [value for value in values if value not in inputs]

    read = {r for line in lines for r in re.findall(r"\w+", line.partition("from: ")[2])}
    loose = [name for name in nodes if name not in read]
    more = draw(st.lists(st.sampled_from(nodes), max_size=2, unique=True))
    outputs = list(dict.fromkeys([*loose, *more]))
    shapes = "[2]" if len(inputs) == 1 else f"{{{', '.join(f'{name}: [2]' for name in inputs)}}}"
    if len(inputs) > 1:
        lines.append("add: {name: both, from: [a, b]}")
        outputs.append("both")
    rest = f"outputs: {{{', '.join(f'o_{name}: {name}' for name in outputs)}}}\n"
    return layers(*lines, input=shapes, rest=rest)


def root_of(network: Graph) -> Group:
    column = import_module("cnnspec.backends.torch.emit").COLUMN
    return Groups(network, lambda node: column.spell(node, Style())).root


@given(wirings())
def test_every_reader_reads_the_right_value(network: Graph) -> None:
    root = root_of(network)
    returned = [key for _, key in root.outputs]
    local = plan(root.inputs, root.parts, returned, Names({"self"}))
    held = {name: key for name, (_, key) in zip(local.arguments, root.inputs, strict=True)}
    assert len(held) == len(network.inputs)
    for part in root.parts:
        assert all(held[local[key]] == key for key in part.reads)
        held[local[part.key]] = part.key
    assert all(held[local[key]] == key for key in returned)


def test_a_value_gets_a_name_only_if_it_is_used_again() -> None:
    root = root_of(graph_of(SPECS["mini_resnet"]))
    local = plan(root.inputs, root.parts, [root.outputs[0][1]], Names({"self"}))
    named = {name for name in local.local.values() if name != "x"}
    assert named == {"stem", "main"}


# --- a last activation that the loss contains --------------------------------------------------

TRAIN = "train: {loss: cross_entropy, optimizer: {sgd: {lr: 0.1}}}\n"
FOLDED = {
    "at the end": layers("flatten", "dense: {units: 4}", "softmax", rest=TRAIN),
    "of a flat input": layers("dense: {units: 4}", "softmax", input="[5]", rest=TRAIN),
    "at the end of a sequence": layers(
        "flatten", "sequence: {name: top, layers: [dense: {units: 4}, softmax]}", rest=TRAIN
    ),
    "alone in a sequence": layers(
        "flatten", "dense: {units: 4}", "sequence: {name: top, layers: [softmax]}", rest=TRAIN
    ),
    "nested twice": layers(
        "flatten",
        "sequence: {name: top, layers: [tanh, sequence: {name: inner, layers: [dense: {units: 4},"
        " sequence: {layers: [relu, softmax]}]}]}",
        rest=TRAIN,
    ),
    "read inside": layers(
        "flatten",
        "dense: {name: scores, units: 4}",
        "softmax: {name: kind}",
        "dense: {name: more, units: 2}",
        rest="outputs: {first: kind, second: more}\n"
        "train: {loss: {first: cross_entropy, second: mean_squared_error},"
        " optimizer: {sgd: {lr: 0.1}}}\n",
    ),
    "read inside a sequence": layers(
        "flatten",
        "sequence: {name: kind, layers: [dense: {units: 4}, softmax]}",
        "dense: {name: more, units: 2}",
        rest="outputs: {first: kind, second: more}\n"
        "train: {loss: {first: cross_entropy, second: mean_squared_error},"
        " optimizer: {sgd: {lr: 0.1}}}\n",
    ),
    "two outputs": layers(
        "flatten: {name: flat}",
        "dense: {units: 4}",
        "softmax: {name: kind}",
        "dense: {from: flat, units: 3}",
        "softmax: {name: other}",
        rest="outputs: {first: kind, second: other}\n"
        "train: {loss: {first: cross_entropy, second: {cross_entropy: {weight: 0.5}}},"
        " optimizer: {sgd: {lr: 0.1}}}\n",
    ),
    "two outputs of one value": layers(
        "flatten",
        "dense: {name: scores, units: 4}",
        "softmax: {name: kind}",
        rest="outputs: {first: kind, raw: scores}\n"
        "train: {loss: {first: cross_entropy, raw: mean_squared_error},"
        " optimizer: {sgd: {lr: 0.1}}}\n",
    ),
}


@every_backend
@pytest.mark.parametrize("case", FOLDED)
def test_folded(case: str, backend: str) -> None:
    pytest.importorskip({"keras": "tensorflow"}.get(backend, backend))
    network = FOLDED[case]
    weights, inputs, targets = data(network)
    # The same without `train:` has no logits to fold: values of every node to compare with.
    bare = replace(network, training=None)
    numpy = backends.get("numpy")
    reference = numpy.open(numpy.emit(bare), dtype="float64")
    reference.assign(weights)
    trace = reference.trace(inputs)
    reference.close()
    chosen = backends.get(backend)
    made = chosen.emit(network)
    assert made.logits
    session = chosen.open(made, dtype="float64")
    try:
        session.assign(weights)
        for name, value in session.forward(inputs).items():
            assert distance(trace.outputs[name], value) < 1e-12
        read = session.evaluate(inputs, targets).outputs
        for name, source in network.logits().items():
            wanted = trace.values[source.id] if isinstance(source, Node) else inputs[source.name]
            assert distance(wanted, read[name]) < 1e-12
        before = session.weights()
        for step in range(2):
            assert np.isfinite(session.step(inputs, targets))
            assert step or set(before) == set(session.weights())
        if before:
            assert any(not np.array_equal(before[n], w) for n, w in session.weights().items())
        traced = session.trace(inputs)
        assert list(traced.values) or not network.nodes
    finally:
        session.close()
