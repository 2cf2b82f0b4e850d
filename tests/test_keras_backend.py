"""The Keras back end against the torch one: the same spec, the same numbers."""

from __future__ import annotations

import ast
import copy
import dataclasses
import gc
import os
import pickle
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cnnspec.backends import At, Session, Style, get
from cnnspec.backends.program import audit, instrument, remove_taps
from cnnspec.build import build
from cnnspec.check import samples
from cnnspec.diagnostics import DataError
from cnnspec.document import parse
from cnnspec.graph import Graph
from cnnspec.schema import read_spec
from cnnspec.training import default_training
from tests.night import at_night, words

torch = pytest.importorskip("torch")  # before TensorFlow, which does not bear the other order
keras = pytest.importorskip("keras")

# Keras' own way to a NumPy array, when a model is saved.
pytestmark = pytest.mark.filterwarnings(
    "ignore:__array__ implementation doesn't accept a copy keyword:DeprecationWarning"
)

COUNTER = Style(random="counter")
BOUND = 1e-12

SGD = "{sgd: {lr: 0.05, momentum: 0.9}}"


def made(text: str) -> Graph:
    return build(read_spec(parse(text, "spec.yaml"))).graph


def chain(shape: str, *layers: str, train: str = "") -> str:
    lines = [f"cnnspec: 1\nname: net\ninput: {shape}\nlayers:", *(f"  - {x}" for x in layers)]
    return "\n".join(lines) + f"\n{train}\n"


def train(loss: str = "mean_squared_error", optimizer: str = SGD, more: str = "") -> str:
    return f"train:\n  loss: {loss}\n  optimizer: {optimizer}\n  {more}\n"


CONVS = {
    "valid": "[3, 7, 6] | filters: 4, kernel: 3",
    "same": "[3, 7, 6] | filters: 4, kernel: [3, 2], padding: same",
    "same_strided": "[3, 7, 6] | filters: 4, kernel: 3, stride: 2, padding: same",
    "same_lower": "[3, 7, 6] | filters: 4, kernel: [2, 4], padding: same_lower",
    "full": "[3, 7, 6] | filters: 4, kernel: 3, padding: full",
    "one": "[3, 7, 6] | filters: 4, kernel: 3, stride: 2, padding: 1",
    "axes": "[3, 7, 6] | filters: 4, kernel: 3, padding: [0, 3]",
    "pairs": "[3, 7, 6] | filters: 4, kernel: 3, padding: [[0, 1], [2, 1]]",
    "dilated": "[3, 7, 6] | filters: 4, kernel: 3, dilation: 2, padding: same",
    "both": "[3, 9, 8] | filters: 4, kernel: 3, dilation: [2, 1], stride: [2, 3], padding: 2",
    "groups": "[4, 7, 6] | filters: 6, kernel: 3, groups: 2, padding: 1",
    "depthwise": "[4, 7, 6] | filters: 4, kernel: [3, 2], groups: 4, padding: same",
    "depthwise_strided": "[4, 7, 6] | filters: 4, kernel: 3, groups: 4, stride: 2, padding: 1",
    "depthwise_multiple": "[2, 5, 6] | filters: 4, kernel: 3, groups: 2, stride: [1, 2]",
    "no_bias": "[3, 7, 6] | filters: 4, kernel: 1, bias: false",
    "reflect": "[3, 7, 6] | filters: 2, kernel: 3, padding: [[3, 2], [1, 4]], "
    "padding_mode: reflect",
    "replicate": "[3, 4, 6] | filters: 4, kernel: 3, padding: 5, padding_mode: replicate",
    "circular": "[3, 4, 6] | filters: 4, kernel: 3, padding: 4, padding_mode: circular",
    "flip": "[3, 7, 6] | filters: 4, kernel: [3, 2], stride: 2, padding: same, flip: true",
    "flip_groups": "[4, 7, 6] | filters: 4, kernel: 3, dilation: 2, stride: 2, groups: 2, "
    "flip: true",
    "line": "[3, 9] | filters: 4, kernel: 3, stride: 2, padding: 2",
    "causal": "[3, 9] | filters: 4, kernel: 3, dilation: 2, padding: causal",
    "causal_strided": "[3, 9] | filters: 4, kernel: 3, stride: 2, dilation: 2, padding: causal",
    "line_pair": "[3, 9] | filters: 4, kernel: 2, padding: [[2, 0]], padding_mode: reflect",
    "line_flip": "[3, 9] | filters: 4, kernel: 4, padding: same, flip: true",
    "line_depthwise": "[3, 9] | filters: 3, kernel: 3, groups: 3, dilation: 2",
    "line_groups": "[4, 9] | filters: 6, kernel: 3, groups: 2, stride: 2",
    "solid": "[2, 4, 5, 6] | filters: 3, kernel: [2, 3, 1], stride: [1, 2, 1], padding: same",
    "solid_pads": "[2, 4, 5, 6] | filters: 3, kernel: 3, padding: [[1, 0], [2, 1], [0, 1]]",
    "solid_groups": "[4, 4, 5, 3] | filters: 4, kernel: 2, groups: 2, dilation: [2, 1, 1]",
    "solid_circular": "[2, 4, 5, 6] | filters: 3, kernel: 3, padding: 2, padding_mode: circular",
    "solid_flip": "[2, 4, 5, 6] | filters: 3, kernel: [2, 3, 2], stride: 2, dilation: 2, "
    "flip: true",
}

POOLS = {
    "max": "[3, 7, 6] | max_pool: {kernel: 2}",
    "max_overlap": "[3, 7, 6] | max_pool: {kernel: 3, stride: 2, padding: 1}",
    "max_same": "[3, 7, 6] | max_pool: {kernel: 3, stride: 2, padding: same}",
    "max_lower": "[3, 7, 6] | max_pool: {kernel: 2, stride: 1, padding: same_lower}",
    "max_ceil": "[3, 7, 6] | max_pool: {kernel: [3, 2], stride: [2, 3], padding: 1, "
    "ceil_mode: true}",
    "max_dilated": "[3, 8, 7] | max_pool: {kernel: [2, 3], stride: 2, dilation: [3, 2], "
    "padding: 1}",
    "max_line": "[3, 9] | max_pool: {kernel: 3, stride: 2, padding: [[1, 0]]}",
    "max_line_dilated": "[3, 9] | max_pool: {kernel: 3, dilation: 2, ceil_mode: true}",
    "max_solid": "[2, 4, 5, 6] | max_pool: {kernel: [2, 3, 2], stride: 2, padding: 1}",
    "max_solid_dilated": "[2, 4, 5, 6] | max_pool: {kernel: 2, stride: 1, dilation: 2}",
    "avg": "[3, 7, 6] | avg_pool: {kernel: [3, 2], stride: 2}",
    "avg_pads": "[3, 7, 6] | avg_pool: {kernel: 3, stride: 2, padding: 1}",
    "avg_counted": "[3, 7, 6] | avg_pool: {kernel: 3, stride: 2, padding: 1, "
    "count_include_pad: true}",
    "avg_same": "[3, 7, 6] | avg_pool: {kernel: 3, stride: 2, padding: same}",
    "avg_ceil": "[3, 8, 6] | avg_pool: {kernel: 3, stride: 2, ceil_mode: true}",
    "avg_all": "[3, 8, 6] | avg_pool: {kernel: 3, stride: 2, padding: [[1, 0], [1, 1]], "
    "ceil_mode: true, count_include_pad: true}",
    "avg_line": "[3, 9] | avg_pool: {kernel: 4, stride: 3, padding: [[2, 1]]}",
    "avg_solid": "[2, 4, 5, 6] | avg_pool: {kernel: [2, 3, 2], stride: 1}",
    "avg_solid_all": "[2, 4, 5, 6] | avg_pool: {kernel: 3, stride: 2, padding: 1, ceil_mode: true, "
    "count_include_pad: true}",
    "sum": "[3, 7, 6] | sum_pool: {kernel: [3, 2], stride: 2, padding: 1}",
    "sum_line": "[3, 9] | sum_pool: {kernel: 3}",
    "sum_solid": "[2, 4, 5, 6] | sum_pool: {kernel: 2, stride: 1, "
    "padding: [[1, 0], [0, 1], [0, 0]]}",
    "global_avg": "[3, 7, 6] | global_avg_pool",
    "global_avg_line": "[3, 9] | global_avg_pool",
    "global_avg_solid": "[2, 4, 5, 6] | global_avg_pool",
    "global_max": "[3, 7, 6] | global_max_pool",
    "global_max_line": "[3, 9] | global_max_pool",
    "global_max_solid": "[2, 4, 5, 6] | global_max_pool",
}

POINTWISE = {
    "relu": "relu",
    "tanh": "tanh",
    "sigmoid": "sigmoid",
    "softmax": "softmax",
    "leaky_relu": "leaky_relu: {slope: 0.3}",
    "prelu": "prelu",
    "prelu_one": "prelu: {parameters: one}",
    "elu": "elu",
    "elu_alpha": "elu: {alpha: 0.3}",
    "selu": "selu",
    "gelu": "gelu",
    "silu": "silu",
    "rescale": "rescale: {scale: 0.1, offset: -0.3}",
    "rescale_native": "rescale: {scale: 2.5}",
    "batch_norm": "batch_norm",
    "batch_norm_options": "batch_norm: {eps: 0.001, momentum: 0.3, affine: false}",
    "batch_norm_biased": "batch_norm: {running_var: biased}",
    "dropout": "dropout: {p: 0.3}",
    "dropout_never": "dropout: {p: 0}",
    "flatten": "flatten",
}

SHAPES = {"flat": "[5]", "line": "[3, 7]", "plane": "[3, 5, 4]", "solid": "[2, 3, 4, 2]"}

FLAT = chain("[5]", "dense: {units: 4}", "dense: {units: 3, bias: false}", "rbf: {units: 6}")

LENET = """
cnnspec: 1
name: lenet
input: [2, 8, 7]
layers:
  - conv: {name: conv1, filters: 4, kernel: 3, padding: same, bias: false}
  - batch_norm: {name: bn1}
  - relu
  - max_pool: {kernel: 2}
  - flatten
  - dropout: {p: 0.4}
  - dense: {name: fc, units: 5}
  - softmax: {name: probabilities}
train:
  loss: cross_entropy
  optimizer: OPTIMIZER
"""

WIRED = """
cnnspec: 1
name: wired
input: {image: [3, 6, 5], other: [2, 6, 5]}
layers:
  - conv: {name: a, filters: 4, kernel: 3, padding: same, from: image}
  - relu: {name: act}
  - conv: {name: b, filters: 4, kernel: 3, padding: same, from: act}
  - conv: {name: c, filters: 4, kernel: 1, from: other}
  - add: {name: sum, from: [act, b, c]}
  - sequence:
      name: features
      layers:
        - conv: {filters: 5, kernel: 3, groups: 1, padding: 1}
        - batch_norm
        - sequence: {layers: [relu, {dropout: {p: 0.25}}]}
  - concat: {name: cat, from: [features, act, image]}
  - sequence:
      name: head
      from: cat
      layers:
        - global_avg_pool
        - flatten
        - dense: {units: 3}
        - softmax
  - prelu: {name: p1, from: features}
  - prelu: {name: p2, share: p1}
  - global_max_pool: {name: pooled}
  - flatten: {name: aux}
outputs: {label: head, values: aux, map: features}
train:
  loss:
    label: cross_entropy
    values: {mean_squared_error: {weight: 0.3}}
    map: mean_squared_error
  optimizer: {sgd: {lr: 0.05, momentum: 0.9}}
  schedule: {exponential: {gamma: 0.6, every: epoch}}
"""

SEGMENT = """
cnnspec: 1
name: segment
input: [2, 6, 5]
layers:
  - conv: {name: c1, filters: 4, kernel: 3, padding: same}
  - softmax: {name: s}
  - conv: {name: c2, filters: 3, kernel: 1}
  - softmax: {name: t}
outputs: {first: s, second: t}
train:
  loss: {first: cross_entropy, second: cross_entropy}
  optimizer: {adam: {lr: 0.01}}
"""

SHARED = """
cnnspec: 1
name: shared
input: [3, 6, 5]
layers:
  - conv: {name: a, filters: 3, kernel: 3, padding: [[1, 1], [2, 0]]}
  - batch_norm: {name: n}
  - relu: {name: act}
  - dropout: {name: d, p: 0.4}
  - conv: {name: b, filters: 3, kernel: 3, padding: [[1, 1], [2, 0]], share: a}
  - batch_norm: {name: m, share: n}
  - prelu: {name: p}
  - prelu: {name: q, share: p}
  - add: {name: sum, from: [a, d, q]}
  - flatten
  - dense: {name: head, units: 4, bias: false}
  - softmax: {name: y}
train: {loss: cross_entropy, optimizer: {sgd: {lr: 0.01, momentum: 0.5}}}
"""

SPECS: dict[str, str] = {}
for key, value in CONVS.items():
    shape, fields = value.split(" | ")
    SPECS[f"conv-{key}"] = chain(shape, f"conv: {{{fields}}}")
for key, value in POOLS.items():
    shape, layer = value.split(" | ")
    SPECS[f"pool-{key}"] = chain(shape, layer)
for key, value in POINTWISE.items():
    for where, shape in SHAPES.items():
        if where in ("plane", "flat") or key in ("flatten", "prelu", "batch_norm", "dropout"):
            SPECS[f"{key}-{where}"] = chain(shape, value)
SPECS["flat"] = FLAT
for key, value in {
    "sgd": "{sgd: {lr: 0.1}}",
    "decay": "{sgd: {lr: 0.1, weight_decay: 0.1}}",
    "momentum": SGD,
    "dampening": "{sgd: {lr: 0.1, momentum: 0.9, dampening: 0.3, weight_decay: 0.01}}",
    "nesterov": "{sgd: {lr: 0.1, momentum: 0.9, nesterov: true}}",
    "adam": "{adam: {lr: 0.01}}",
    "adam_decay": "{adam: {lr: 0.01, betas: [0.7, 0.8], eps: 0.001, weight_decay: 0.1}}",
}.items():
    SPECS[f"lenet-{key}"] = LENET.replace("OPTIMIZER", value)
SPECS["wired"] = WIRED
SPECS["segment"] = SEGMENT
SPECS["shared"] = SHARED


def graph_of(name: str) -> Graph:
    graph = made(SPECS[name])
    if graph.training is None:
        outputs = tuple(o.name for o in graph.outputs)
        graph = dataclasses.replace(graph, training=default_training(outputs))
    return graph


def relative(a: Any, b: Any, *, absolute: bool = False) -> float:
    a, b = np.asarray(a), np.asarray(b)
    assert a.shape == b.shape
    if not a.size:
        return 0.0
    top = float(np.abs(a).max())
    return float(np.abs(a - b).max()) / (1.0 if absolute else top or 1.0)


def worst(a: Mapping[str, Any], b: Mapping[str, Any], null: frozenset[str] = frozenset()) -> float:
    """The largest relative difference; those of `null`, which are rounding alone, absolute."""
    assert a.keys() == b.keys()
    return max((relative(a[n], b[n], absolute=n in null) for n in a), default=0.0)


def weights_of(graph: Graph, rng: np.random.Generator) -> dict[str, Any]:
    return {
        name: rng.uniform(0.5, 2.0, param.shape)
        if name.endswith("running_var")
        else 0.4 * rng.standard_normal(param.shape)
        for name, param in graph.params().items()
    }


def targets_of(graph: Graph, rng: np.random.Generator, count: int) -> dict[str, Any]:
    return samples.targets(graph, int(rng.integers(1000)), 0, count)


class Pair:
    """One graph in torch and Keras, with the same weights."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.whole = True
        self.null = graph.null_gradients()
        self.torch: Session = get("torch").open(get("torch").emit(graph, COUNTER))
        self.emitted = get("keras").emit(graph, COUNTER)
        self.keras: Session = get("keras").open(self.emitted)
        rng = np.random.default_rng(7)
        self.weights = weights_of(graph, rng)
        self.inputs = {i.name: rng.standard_normal((3, *i.shape)) for i in graph.inputs}
        self.cotangents = {o.name: rng.standard_normal((3, *o.value.shape)) for o in graph.outputs}
        self.targets = targets_of(graph, rng, 3)
        self.reset()

    def reset(self) -> None:
        self.torch.assign(self.weights)
        self.keras.assign(self.weights)


AT = At(update=3, first=5)


QUICK = words("""
conv-same_strided conv-depthwise_strided conv-replicate conv-flip_groups conv-causal conv-solid_pads
pool-max_ceil pool-max_line_dilated pool-max_solid pool-avg_all pool-avg_solid pool-sum
pool-global_max
softmax-flat prelu_one-plane rescale-plane batch_norm-solid batch_norm_biased-plane dropout-line
flatten-plane flat lenet-nesterov lenet-adam_decay wired segment shared
""")


@pytest.mark.parametrize("name", at_night(SPECS, QUICK))
def test_agrees_with_torch(name: str, tmp_path: Path) -> None:
    pair = Pair(graph_of(name))
    pair.whole = "train:" in SPECS[name]
    for training in (False, True):
        check_forward(pair, training)
        check_gradients(pair, training)
        check_trace(pair, training)
    check_loss_and_steps(pair)
    if pair.whole:
        check_perturbation(pair)
    check_text(pair)
    check_model_files(pair, tmp_path)
    pair.torch.close()
    pair.keras.close()
    keras.utils.clear_session(free_memory=False)  # which would look at every object there is


def check_forward(pair: Pair, training: bool) -> None:
    pair.reset()
    a = pair.torch.forward(pair.inputs, training=training, at=AT)
    b = pair.keras.forward(pair.inputs, training=training, at=AT)
    assert worst(a, b) <= BOUND
    assert worst(pair.torch.weights(), pair.keras.weights()) <= BOUND


def check_gradients(pair: Pair, training: bool) -> None:
    pair.reset()
    options: dict[str, Any] = {"cotangents": pair.cotangents, "training": training, "at": AT}
    a = pair.torch.gradients(pair.inputs, **options)
    b = pair.keras.gradients(pair.inputs, **options)
    for field in ("parameters", "inputs", "outputs", "statistics"):
        assert worst(getattr(a, field), getattr(b, field), pair.null) <= BOUND, field
    assert worst(pair.keras.weights(), pair.weights) == 0  # statistics are restored


def check_trace(pair: Pair, training: bool) -> None:
    pair.reset()
    options: dict[str, Any] = {"training": training, "at": AT}
    a = pair.torch.trace(pair.inputs, cotangents=pair.cotangents, **options)
    b = pair.keras.trace(pair.inputs, cotangents=pair.cotangents, **options)
    for field in ("values", "gradients", "inputs", "parameters", "statistics", "outputs"):
        assert worst(getattr(a, field), getattr(b, field), pair.null) <= BOUND, field
    known = {**pair.inputs, **a.values}
    feed = {n.id: [known[v.id] for v in n.inputs] for n in pair.graph.nodes}
    c = pair.torch.trace(pair.inputs, feed=feed, cotangents=a.gradients, **options)
    d = pair.keras.trace(pair.inputs, feed=feed, cotangents=a.gradients, **options)
    for field in ("values", "parameters", "statistics"):
        assert worst(getattr(c, field), getattr(d, field), pair.null) <= BOUND, field
    assert c.own.keys() == d.own.keys()
    for node, given in c.own.items():
        for left, right in zip(given, d.own[node], strict=True):
            assert relative(left, right) <= BOUND, node
    assert worst(pair.keras.weights(), pair.weights) == 0


def check_loss_and_steps(pair: Pair) -> None:
    pair.reset()
    a = pair.torch.gradients(pair.inputs, targets=pair.targets, at=AT)
    b = pair.keras.gradients(pair.inputs, targets=pair.targets, at=AT)
    assert relative(a.loss, b.loss) <= BOUND
    assert worst(a.parameters, b.parameters, pair.null) <= BOUND
    assert worst(a.inputs, b.inputs) <= BOUND
    if not any(param.trainable for param in pair.graph.params().values()):
        return
    for update in range(5 if pair.whole else 2):
        options: dict[str, Any] = {"at": At(update), "updates_per_epoch": 2}
        c = pair.torch.step(pair.inputs, pair.targets, **options)
        d = pair.keras.step(pair.inputs, pair.targets, **options)
        assert relative(c, d) <= BOUND
    assert worst(pair.torch.weights(), pair.keras.weights()) <= BOUND


def check_perturbation(pair: Pair) -> None:
    pair.reset()
    rng = np.random.default_rng(1)
    perturb = {n.id: 1 + 0.1 * rng.standard_normal((3, *n.shape)) for n in pair.graph.nodes}
    options: dict[str, Any] = {"perturb": perturb, "cotangents": pair.cotangents}
    a = pair.torch.trace(pair.inputs, **options)
    b = pair.keras.trace(pair.inputs, **options)
    for field in ("values", "gradients", "inputs", "parameters", "outputs"):
        assert worst(getattr(a, field), getattr(b, field), pair.null) <= BOUND, field


def check_text(pair: Pair) -> None:
    text = pair.emitted.text
    assert text == get("keras").emit(pair.graph, COUNTER).text
    tree = instrument(audit(text), pair.emitted.lines)
    assert ast.dump(remove_taps(tree)) == ast.dump(ast.parse(text))


def check_model_files(pair: Pair, tmp_path: Path) -> None:
    """Canonical weights, `.keras` files and parameter counts."""
    pair.reset()
    session: Any = pair.keras
    path = tmp_path / "weights.safetensors"
    session.module.save_weights(session.model, str(path))
    from safetensors.numpy import load_file

    assert worst(load_file(path), pair.weights) == 0
    expected = pair.keras.forward(pair.inputs)
    session.model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert loaded.count_params() == sum(p.size for p in pair.graph.params().values())
    assert _differs(session, loaded, pair.inputs, expected) == 0
    other = session.module.build_model()
    session.module.load_weights(other, str(path))
    if len(pair.graph.params()):
        assert _differs(session, other, pair.inputs, expected) <= 1e-6  # a float32 model


def _differs(session: Any, model: Any, inputs: Any, expected: Any) -> float:
    original, session.model = session.model, model
    try:
        return worst(session.forward(inputs), expected)
    finally:
        session.model = original


# --- text --------------------------------------------------------------------------------------


def ruff(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "ruff", *arguments], capture_output=True, text=True, check=False
    )


def test_emitted_text_is_clean(tmp_path: Path) -> None:
    for name in SPECS:
        for style in (Style(), COUNTER):
            text = get("keras").emit(graph_of(name), style).text
            (tmp_path / f"{name.replace('-', '_')}_{style.random}.py").write_text(text)
    rules = "--select=E,F,W,I,B,UP,C4,SIM,RUF,PL"
    # A formula of one letter each, numbers that mean themselves, imports where they are used.
    ignored = "--ignore=PLR2004,PLC0415,PLR0913,PLR0917,E741"
    common = ["--isolated", "--line-length=100", "--target-version=py311"]
    found = ruff("check", *common, rules, ignored, tmp_path)
    assert found.returncode == 0, found.stdout
    found = ruff("format", "--check", *common[:2], tmp_path)
    assert found.returncode == 0, found.stdout


def test_only_random_layers_differ_between_styles() -> None:
    graph = made(LENET.replace("OPTIMIZER", "{adam: {lr: 0.001}}"))
    plain = get("keras").emit(graph).text
    assert "layers.Dropout(0.4" in plain
    counter = get("keras").emit(graph, COUNTER).text
    assert "CounterDropout(0.4, SEED" in counter
    graph = made(SEGMENT)
    assert get("keras").emit(graph).text == get("keras").emit(graph, COUNTER).text


def test_emitting_imports_no_framework() -> None:
    code = (
        "import sys\n"
        "from cnnspec.backends import get\n"
        "from cnnspec.build import build\n"
        "from cnnspec.document import parse\n"
        "from cnnspec.schema import read_spec\n"
        f"text = {LENET.replace('OPTIMIZER', SGD)!r}\n"
        "get('keras').emit(build(read_spec(parse(text, 'a.yaml'))).graph)\n"
        "print([m for m in ('numpy', 'torch', 'tensorflow', 'keras') if m in sys.modules])\n"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout == "[]\n"


# --- sessions ----------------------------------------------------------------------------------


@pytest.fixture
def lenet() -> Graph:
    return made(LENET.replace("OPTIMIZER", "{adam: {lr: 0.01}}"))


def test_two_precisions_at_once(lenet: Graph) -> None:
    before = keras.config.floatx(), keras.config.dtype_policy().name
    emitted = get("keras").emit(lenet, COUNTER)
    wide = get("keras").open(emitted, dtype="float64")
    narrow = get("keras").open(emitted, dtype="float32")
    rng = np.random.default_rng(0)
    weights = weights_of(lenet, rng)
    inputs = {"input": rng.standard_normal((4, 2, 8, 7))}
    targets = targets_of(lenet, rng, 4)
    for session in (wide, narrow):
        session.assign(weights)
    for update in range(2):
        a = wide.step(inputs, targets, at=At(update))
        b = narrow.step(inputs, targets, at=At(update))
        assert a == pytest.approx(b, rel=1e-5)
    assert wide.forward(inputs)["output"].dtype == np.float64
    assert narrow.forward(inputs)["output"].dtype == np.float32
    assert narrow.trace(inputs).outputs["output"].dtype == np.float32
    assert (keras.config.floatx(), keras.config.dtype_policy().name) == before


def test_a_closed_session_leaves_nothing_behind() -> None:
    text = chain("[2, 6, 5]", "conv: {filters: 3, kernel: 3}", "dropout: {p: 0.5}", "flatten")
    graph = made(text.replace("name: net", "name: left_behind"))
    before = dict(keras.saving.get_custom_objects())
    session = get("keras").open(get("keras").emit(graph, COUNTER), dtype="float64")
    session.trace({"input": np.ones((2, 2, 6, 5))}, cotangents={"output": np.ones((2, 36))})
    assert keras.saving.get_custom_objects() != before
    session.close()
    del session
    gc.collect()
    assert keras.saving.get_custom_objects() == before
    models = [model for model in gc.get_objects() if issubclass(type(model), keras.Model)]
    assert graph.name not in {model.name for model in models}


def test_graph_mode_gives_the_same_steps(lenet: Graph) -> None:
    """A compiled step is traced once: masks follow the position, rates the schedule."""
    from cnnspec.backends.keras.session import KerasSession

    emitted = get("keras").emit(lenet, COUNTER)
    rng = np.random.default_rng(0)
    weights = weights_of(lenet, rng)
    inputs = {"input": rng.standard_normal((4, 2, 8, 7))}
    targets = targets_of(lenet, rng, 4)
    found = []
    for eager in (True, False):
        session = KerasSession(emitted, eager=eager)
        session.assign(weights)
        losses = [session.step(inputs, targets, at=At(update)) for update in range(4)]
        found.append((losses, session.weights()))
    assert found[0][0] == pytest.approx(found[1][0], rel=1e-13)
    assert worst(found[0][1], found[1][1]) <= BOUND


def test_reset_forgets_the_optimizer(lenet: Graph) -> None:
    session: Any = get("keras").open(get("keras").emit(lenet, COUNTER))
    rng = np.random.default_rng(0)
    weights = weights_of(lenet, rng)
    inputs = {"input": rng.standard_normal((4, 2, 8, 7))}
    targets = targets_of(lenet, rng, 4)
    after = []
    for _ in range(2):
        session.assign(weights)
        session.reset()
        session.step(inputs, targets)
        after.append(session.weights())
    assert worst(after[0], after[1]) == 0


def test_everything_dropped() -> None:
    graph = made(chain("[2, 4, 3]", "dropout: {p: 1}"))
    session = get("keras").open(get("keras").emit(graph, COUNTER))
    inputs = {"input": np.ones((2, 2, 4, 3))}
    assert session.forward(inputs)["output"].min() == 1
    assert session.forward(inputs, training=True)["output"].max() == 0
    found = session.gradients(inputs, cotangents={"output": np.ones((2, 2, 4, 3))})
    assert not found.inputs["input"].any()


def test_wrong_weights_are_refused(lenet: Graph) -> None:
    session = get("keras").open(get("keras").emit(lenet, COUNTER))
    weights = session.weights()
    with pytest.raises(DataError):
        session.assign({**weights, "fc.bias": np.zeros(4)})
    with pytest.raises(DataError):
        session.assign({name: w for name, w in weights.items() if name != "fc.bias"})


def test_wrong_input_size_raises(lenet: Graph) -> None:
    session = get("keras").open(get("keras").emit(lenet, COUNTER))
    with pytest.raises(ValueError, match="incompatible"):
        session.forward({"input": np.zeros((2, 2, 8, 9))})


def test_one_value_per_channel_raises() -> None:
    graph = made(chain("[3]", "batch_norm"))
    session = get("keras").open(get("keras").emit(graph, COUNTER))
    with pytest.raises(ValueError, match="more than one value"):
        session.forward({"input": np.zeros((1, 3))}, training=True)


@pytest.mark.parametrize(
    "name", ["max", "max_overlap", "max_dilated", "max_solid", "global_max_solid"]
)
def test_ties_go_to_the_first_maximum(name: str) -> None:
    pair = Pair(graph_of(f"pool-{name}"))
    inputs = {n: np.round(v) for n, v in pair.inputs.items()}
    a = pair.torch.gradients(inputs, cotangents=pair.cotangents)
    b = pair.keras.gradients(inputs, cotangents=pair.cotangents)
    assert worst(a.inputs, b.inputs) <= BOUND


@pytest.mark.parametrize(
    "name", ["relu", "leaky_relu", "prelu", "prelu_one", "elu", "elu_alpha", "selu"]
)
def test_derivatives_at_kinks(name: str) -> None:
    pair = Pair(graph_of(f"{name}-plane"))
    inputs = {n: np.round(v) for n, v in pair.inputs.items()}
    a = pair.torch.gradients(inputs, cotangents=pair.cotangents)
    b = pair.keras.gradients(inputs, cotangents=pair.cotangents)
    assert worst(a.inputs, b.inputs) <= BOUND
    assert worst(a.parameters, b.parameters) <= BOUND


# --- what Keras users do with the file ----------------------------------------------------------


def test_the_file_alone(lenet: Graph, tmp_path: Path) -> None:
    """Imported where cnnspec is not, it builds, trains, saves and loads."""
    emitted = get("keras").emit(lenet)
    (tmp_path / "lenet.py").write_text(emitted.text)
    code = """
import sys
sys.modules["cnnspec"] = None
import numpy as np
import keras
import lenet

model = lenet.build_model()
trained = lenet.logits_model(model)
lenet.compile_model(trained, metrics=["accuracy"])
rng = np.random.default_rng(0)
x, y = rng.standard_normal((32, 8, 7, 2)), rng.integers(0, 5, 32)
history = trained.fit(x, y, epochs=12, batch_size=8, verbose=0).history["loss"]
assert history[-1] < history[0], history
loss = lenet.train_step(trained, x, y, 3, 4)
assert isinstance(loss, float)
p = model.predict(x, verbose=0)
assert abs(p.sum(1) - 1).max() < 1e-5
lenet.save_weights(model, "w.safetensors")
other = lenet.build_model()
lenet.load_weights(other, "w.safetensors")
assert (other.predict(x, verbose=0) == p).all()
trained.save("trained.keras")
again = keras.saving.load_model("trained.keras")
assert np.allclose(again.predict(x, verbose=0), trained.predict(x, verbose=0), atol=1e-6)
assert again.optimizer.iterations == trained.optimizer.iterations
a, b = (lenet.train_step(m, x, y, 4, 4) for m in (again, trained))
assert abs(a - b) < 1 and type(again.optimizer) is lenet.Adam
print("done")
"""
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "KERAS_BACKEND": "tensorflow"}
    found = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert found.stdout == "done\n", found.stderr


def test_copies(lenet: Graph) -> None:
    session: Any = get("keras").open(get("keras").emit(lenet, COUNTER))
    rng = np.random.default_rng(0)
    session.assign(weights_of(lenet, rng))
    inputs = {"input": rng.standard_normal((4, 2, 8, 7))}
    expected = session.forward(inputs)
    for other in (copy.deepcopy(session.model), pickle.loads(pickle.dumps(session.model))):  # noqa: S301 - made a moment ago
        assert _differs(session, other, inputs, expected) == 0
