"""Activations and `layer_scale` against their plain definitions, in every back end."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from cnnspec.backends import Session, Style, get
from cnnspec.backends.base import Dtype
from cnnspec.check import check
from cnnspec.graph import Graph
from cnnspec.ops import lookup
from cnnspec.testing import check_gradients, check_op
from tests.networks import BACKENDS, graph, layers
from tests.spec_errors import check_marked, spec

Array = npt.NDArray[Any]

COUNTER = Style(random="counter")
INPUTS = ("[7]", "[3, 5]", "[2, 4, 3]", "[2, 3, 2, 4]")


def clip(x: float, low: float, high: float) -> float:
    return low if x < low else high if x > high else x


def softplus(x: float) -> float:
    return max(x, 0) + math.log1p(math.exp(-abs(x)))


def inner(x: float) -> float:
    return math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)


# Of one number: the value. Derivatives at kinks follow below.
DEFINITIONS: dict[str, Callable[[float], float]] = {
    "relu6": lambda x: clip(x, 0, 6),
    "celu": lambda x: x if x > 0 else math.expm1(x),
    "celu: {alpha: 0.5}": lambda x: x if x > 0 else 0.5 * math.expm1(x / 0.5),
    "celu: {alpha: 0.7}": lambda x: x if x > 0 else 0.7 * math.expm1(x / 0.7),
    "gelu_tanh": lambda x: x / (1 + math.exp(-2 * inner(x))) if inner(x) > -300 else 0.0,
    "hard_sigmoid": lambda x: clip(x + 3, 0, 6) / 6,
    "hard_swish": lambda x: x * clip(x + 3, 0, 6) / 6,
    "hard_tanh": lambda x: clip(x, -1, 1),
    "softplus": softplus,
    "softsign": lambda x: x / (1 + abs(x)),
    "mish": lambda x: x * math.tanh(softplus(x)),
    "log_sigmoid": lambda x: -softplus(-x),
}

KINKS = {
    "relu6": [(0.0, 0.0), (-0.0, 0.0), (6.0, 0.0)],
    "celu": [(0.0, 1.0), (-0.0, 1.0)],
    "celu: {alpha: 0.7}": [(0.0, 1.0), (-0.0, 1.0)],
    "hard_sigmoid": [(-3.0, 0.0), (3.0, 0.0)],
    "hard_swish": [(-3.0, 0.0), (3.0, 1.0)],
    "hard_tanh": [(-1.0, 0.0), (1.0, 0.0)],
    "softsign": [(0.0, 1.0), (-0.0, 1.0)],
}

each_name = pytest.mark.parametrize("name", DEFINITIONS)
each_input = pytest.mark.parametrize("input", INPUTS)
each_backend = pytest.mark.parametrize("backend", BACKENDS)


def layer(name: str) -> str:
    """As a layer is written."""
    return f"{{{name}}}" if ":" in name else name


@cache
def network(name: str, input: str) -> Graph:
    """One layer as a call, and one inside a sequence."""
    head, _, fields = name.partition(": ")
    more = f"{fields[1:-1]}, " if fields else ""
    return graph(
        f"cnnspec: 1\nname: net\ninput: {input}\nlayers:\n"
        f"- {head}: {{{more}name: called}}\n"
        f"- sequence: {{name: held, from: input, layers: [{layer(name)}]}}\n"
        "outputs: {a: called, b: held}\n"
    )


def opened(made: Graph, backend: str, dtype: Dtype = "float64") -> Session:
    return get(backend).open(get(backend).emit(made, COUNTER), dtype=dtype)


def gradients(made: Graph, backend: str, x: Array, dtype: Dtype = "float64") -> tuple[Array, Array]:
    """Value and derivative at x, from the call and from the sequence, which are the same."""
    session = opened(made, backend, dtype)
    try:
        found = []
        for name in ("a", "b"):
            zero, one = np.zeros_like(x), np.ones_like(x)
            cotangents = {"a": zero, "b": zero} | {name: one}
            answer = session.gradients({"input": x}, cotangents=cotangents, training=False)
            found.append((answer.outputs[name], answer.inputs["input"]))
    finally:
        session.close()
    for called, held in zip(*found, strict=True):
        np.testing.assert_array_equal(called, held)
    return found[0]


def points(shape: tuple[int, ...]) -> Array:
    """Numbers around 0, large ones, and kinks."""
    x = np.random.default_rng(0).normal(0, 4, (5, *shape))
    special = [0.0, -0.0, 1, -1, 3, -3, 6, 40, -40, 90, -90, 700, -700, 1e-12, -1e-12]
    x.ravel()[: len(special)] = special
    return x


def mapped(function: Callable[[float], float], x: Array) -> Array:
    return np.array([function(float(v)) for v in x.ravel()]).reshape(x.shape)


@each_name
@each_input
def test_values_are_the_definitions(name: str, input: str) -> None:
    made = network(name, input)
    x = points(made.inputs[0].shape)
    expected = mapped(DEFINITIONS[name], x)
    for backend in BACKENDS:
        y, _ = gradients(made, backend, x)
        np.testing.assert_allclose(y, expected, rtol=1e-14, atol=1e-15 * np.abs(x).max())


@each_name
@each_input
def test_back_ends_have_the_same_gradient(name: str, input: str) -> None:
    made = network(name, input)
    x = points(made.inputs[0].shape)
    found = [gradients(made, backend, x) for backend in BACKENDS]
    for y, gx in found:
        assert np.isfinite(y).all()
        assert np.isfinite(gx).all()
        np.testing.assert_allclose(gx, found[0][1], rtol=0, atol=3e-14)


@each_name
def test_float32_stays_float32_and_is_close(name: str) -> None:
    made = network(name, "[3, 5]")
    x = points(made.inputs[0].shape).astype(np.float32)
    exact, slope = gradients(made, "numpy", x.astype(np.float64))
    for backend in BACKENDS:
        y, gx = gradients(made, backend, x, "float32")
        assert y.dtype == np.float32
        assert gx.dtype == np.float32
        np.testing.assert_allclose(y, exact, rtol=1e-6, atol=1e-6)
        np.testing.assert_allclose(gx, slope, rtol=0, atol=6e-6)


@pytest.mark.parametrize("name", KINKS)
@each_backend
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_derivatives_at_kinks(name: str, backend: str, dtype: Dtype) -> None:
    x = np.array([[kink for kink, _ in KINKS[name]]])
    made = network(name, f"[{x.size}]")
    _, gx = gradients(made, backend, x, dtype)
    assert gx.ravel().tolist() == [slope for _, slope in KINKS[name]]


@each_name
@each_input
def test_gradients_are_slopes(name: str, input: str) -> None:
    check_gradients(network(name, input))


@pytest.mark.parametrize("key", [name for name in DEFINITIONS if ":" not in name])
def test_laws(key: str) -> None:
    op = lookup(key)
    assert op is not None
    check_op(op, backends=("numpy", "torch"), examples=3)


# --- celu in torch -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("alpha", "called", "held"),
    [
        (1, "F.celu(x)", "nn.CELU()"),
        (0.5, "F.celu(x, 0.5)", "nn.CELU(0.5)"),
        (0.7, " celu(x, 0.7)", "(Celu(0.7)"),
        (1e300, " celu(x, 1e+300)", "(Celu(1e+300)"),
    ],
)
def test_torch_is_trusted_with_an_alpha_that_float32_holds(
    alpha: float, called: str, held: str
) -> None:
    made = graph(
        f"cnnspec: 1\nname: net\ninput: [3]\nlayers:\n- celu: {{alpha: {alpha}}}\n"
        f"- sequence: {{layers: [celu: {{alpha: {alpha}}}]}}\n"
    )
    text = get("torch").emit(made).text
    assert called in text
    assert held in text


def test_what_torchs_own_celu_does() -> None:
    """Its gradient rounds alpha to float32; where that is mended, the helper can go."""
    torch = pytest.importorskip("torch")
    x = torch.tensor([-0.25], dtype=torch.float64, requires_grad=True)
    torch.nn.functional.celu(x, 0.7).backward()
    assert 1e-9 < abs(x.grad.item() - math.exp(-0.25 / 0.7)) < 1e-7


# --- log_softmax -------------------------------------------------------------------------------


def log_softmax(x: Array) -> Array:
    """Over axis 1, one position after the other, by the plain definition."""
    y = np.empty_like(x)
    for n, *place in np.ndindex(x.shape[0], *x.shape[2:]):
        z = [float(v) for v in x[(n, slice(None), *place)]]
        top = max(z)
        total = math.fsum(math.exp(v - top) for v in z)
        y[(n, slice(None), *place)] = [v - top - math.log(total) for v in z]
    return y


@each_input
def test_log_softmax(input: str) -> None:
    made = network("log_softmax", input)
    rng = np.random.default_rng(0)
    for scale in (1.0, 300.0):
        x = scale * rng.normal(size=(4, *made.inputs[0].shape))
        expected = log_softmax(x)
        found = [gradients(made, backend, x) for backend in BACKENDS]
        for y, gx in found:
            np.testing.assert_allclose(y, expected, rtol=1e-14, atol=1e-14)
            np.testing.assert_allclose(gx, found[0][1], rtol=0, atol=1e-13)
    check_gradients(made)


FOLDED = """\
cnnspec: 1
name: net
input: [3, 4, 5]
layers:
- conv: {filters: 6, kernel: 3}
- TAIL
train: {loss: cross_entropy, optimizer: {sgd: {lr: 0.1}}}
"""


@pytest.mark.parametrize(
    "tail", ["log_softmax", "sequence: {name: head, layers: [tanh, log_softmax]}"]
)
def test_a_loss_contains_the_log_softmax_in_front_of_it(tail: str) -> None:
    made = graph(FOLDED.replace("TAIL", tail))
    rng = np.random.default_rng(0)
    x, labels = rng.normal(size=(4, 3, 4, 5)), rng.integers(0, 6, (4, 2, 3))
    weights = {n: rng.normal(size=p.shape) for n, p in made.params().items()}
    for backend in BACKENDS:
        session = opened(made, backend)
        session.assign(weights)
        output = session.forward({"input": x})["output"]
        found = session.evaluate({"input": x}, {"output": labels})
        session.close()
        np.testing.assert_allclose(np.exp(output).sum(1), 1, rtol=1e-14)
        assert np.abs(np.exp(found.outputs["output"]).sum(1) - 1).min() > 1e-3, "no logits"
        np.testing.assert_allclose(log_softmax(found.outputs["output"]), output, atol=1e-13)
        total, weight = found.losses["output"]
        picked = np.take_along_axis(output, labels[:, None], 1)
        assert weight == labels.size
        np.testing.assert_allclose(total, -picked.sum(), rtol=1e-14)
    report = check(made, in_process=True, steps=2)
    assert report, report.specs[0].first_difference


# --- layer_scale -------------------------------------------------------------------------------

SCALED = "cnnspec: 1\nname: net\ninput: {input}\nlayers: [{layer}]\n"


@each_input
def test_layer_scale(input: str) -> None:
    made = graph(SCALED.format(input=input, layer="layer_scale"))
    shape = made.inputs[0].shape
    rng = np.random.default_rng(0)
    x, g = rng.normal(size=(2, 4, *shape))
    weight = rng.normal(size=shape[0])
    y, gx, gw = np.empty_like(x), np.empty_like(x), np.zeros(shape[0])
    for index in np.ndindex(x.shape):
        channel = index[1]
        y[index], gx[index] = weight[channel] * x[index], weight[channel] * g[index]
        gw[channel] += g[index] * x[index]
    for backend in BACKENDS:
        session = opened(made, backend)
        session.assign({"layer_scale1.weight": weight})
        found = session.gradients({"input": x}, cotangents={"output": g})
        session.close()
        np.testing.assert_array_equal(found.outputs["output"], y)
        np.testing.assert_array_equal(found.inputs["input"], gx)
        np.testing.assert_allclose(found.parameters["layer_scale1.weight"], gw, atol=1e-13)
    check_gradients(made)


INITIAL = {
    "layer_scale": 1e-6,
    "{layer_scale: {weight_init: ones}}": 1.0,
    "{layer_scale: {weight_init: {constant: {value: 0.1}}}}": 0.1,
}


@pytest.mark.parametrize("written", INITIAL)
@each_backend
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_layer_scale_starts_small(written: str, backend: str, dtype: Dtype) -> None:
    made = graph(SCALED.format(input="[4, 3]", layer=written))
    session = opened(made, backend, dtype)
    weight = session.weights()["layer_scale1.weight"]
    session.close()
    assert weight.shape == (4,)
    np.testing.assert_allclose(weight, INITIAL[written], rtol=1e-7)


def test_the_text_says_no_default() -> None:
    made = graph(SCALED.format(input="[4, 3]", layer="layer_scale"))
    expected = {
        "numpy": "self.layer_scale1 = LayerScale(4)",
        "torch": "self.layer_scale1 = LayerScale(4)",
        "keras": 'LayerScale(name="layer_scale1")',
    }
    for backend, line in expected.items():
        text = get(backend).emit(made).text
        assert line in text
        assert "nn.init" not in text


# --- what a Keras user does with the layers -----------------------------------------------------


@pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept:DeprecationWarning")
def test_keras_saves_and_loads_the_helpers(tmp_path: Path) -> None:
    pytest.importorskip("torch")  # before TensorFlow, which does not bear the other order
    keras = pytest.importorskip("keras")
    made = layers("celu: {alpha: 0.7}", "gelu_tanh", "hard_tanh", "layer_scale", "spatial_dropout")
    session: Any = opened(made, "keras")
    x = {"input": np.random.default_rng(0).normal(size=(2, 3, 9, 8))}
    expected = session.forward(x)["output"]
    session.model.save(tmp_path / "net.keras")
    session.model = keras.saving.load_model(tmp_path / "net.keras")
    np.testing.assert_array_equal(session.forward(x)["output"], expected)
    session.close()


# --- bad input ---------------------------------------------------------------------------------


FAULTS = [
    ("celu: {alpha: @@0}", "out-of-range", "has to be above 0"),
    ("celu: {alpha: @@small}", "wrong-type", "expected a number"),
    ("celu: {alpha: @@.nan}", "number-not-finite", "not finite"),
    ("hard_tanh: {@@low: -2}", "unknown-field", "no field `low`"),
    ("layer_scale: {weight_init: @@orthogonal}", "shape-mismatch", "is a vector"),
]


@pytest.mark.parametrize(("written", "code", "message"), FAULTS)
def test_mistakes_have_a_place(written: str, code: str, message: str) -> None:
    assert message in check_marked(spec(written), code).message
