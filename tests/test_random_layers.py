"""Random layers: masks that are the same bits everywhere, and the frameworks' own layers."""

from __future__ import annotations

import dataclasses
import hashlib
import math
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from cnnspec.backends import At, Session, Style, get
from cnnspec.backends.numpy.kernels.dropout import philox
from cnnspec.check import check
from cnnspec.graph import Graph
from cnnspec.ops import lookup
from cnnspec.testing import check_gradients, check_op
from cnnspec.training import default_training
from tests.networks import BACKENDS, graph
from tests.spec_errors import check_marked, spec

Array = npt.NDArray[Any]

OPS = ("dropout", "spatial_dropout", "alpha_dropout", "stochastic_depth")
SHAPES = ((5,), (3, 4), (3, 2, 5), (2, 3, 2, 4))
SELU_END = -1.7580993408473766

each_op = pytest.mark.parametrize("op", OPS)
each_shape = pytest.mark.parametrize("shape", SHAPES, ids=str)
each_backend = pytest.mark.parametrize("backend", BACKENDS)


def network(op: str, shape: tuple[int, ...], p: float = 0.5, seed: int = 0) -> Graph:
    """One layer alone, and one inside a sequence."""
    made = graph(
        f"cnnspec: 1\nname: net\ninput: {list(shape)}\nlayers:\n"
        f"- {op}: {{name: alone, p: {p}}}\n"
        f"- sequence: {{name: held, from: input, layers: [{op}: {{p: {p}}}]}}\n"
        f"outputs: {{a: alone, b: held}}\nseed: {seed}\n"
    )
    # The text of torch and Keras has the function that sets the position where it trains.
    return dataclasses.replace(made, training=default_training(("a", "b")))


PATHS = {"a": "alone", "b": "held.0"}


def opened(made: Graph, backend: str, *, random: str = "counter") -> Session:
    style = Style(random="counter" if random == "counter" else "framework")
    return get(backend).open(get(backend).emit(made, style), dtype="float64")


def decisions(op: str, shape: tuple[int, ...]) -> tuple[int, ...]:
    """The axes of one sample that have decisions of their own; the others have size 1."""
    count = {"spatial_dropout": 1, "stochastic_depth": 0}.get(op, len(shape))
    return tuple(n if axis < count else 1 for axis, n in enumerate(shape))


def kept(
    op: str, shape: tuple[int, ...], size: int, p: float, seed: int, path: str, at: At
) -> Array:
    """Which elements are kept, one number after the other, by the definition."""
    own = decisions(op, shape)
    layer = int.from_bytes(hashlib.blake2b(path.encode(), digest_size=4).digest(), "little")
    key = (seed % 2**32, seed // 2**32)
    found = []
    for k in range(size * math.prod(own)):
        i = at.first * math.prod(own) + k
        words = philox(((i // 4) % 2**32, (i // 4) >> 32, at.update, layer), key)
        found.append(words[i % 4] >= math.floor(p * 2**32))
    return np.broadcast_to(np.array(found).reshape(size, *own), (size, *shape))


def expected(op: str, x: Array, keep: Array, p: float) -> tuple[Array, Array]:
    """The output for these decisions, and its derivative."""
    if op == "alpha_dropout":
        a = ((1 - p) * (1 + p * SELU_END**2)) ** -0.5
        b = -a * p * SELU_END
        return np.where(keep, a * x + b, a * SELU_END + b), np.where(keep, a, 0.0)
    return np.where(keep, x / (1 - p), 0.0), np.where(keep, 1 / (1 - p), 0.0)


# --- masks by counter --------------------------------------------------------------------------


@each_op
@each_shape
@pytest.mark.parametrize(
    ("p", "seed", "at"), [(0.3, 5 + (9 << 32), At(4, 3)), (0.75, 0, At(0, 0)), (0.5, 7, At(1, 6))]
)
def test_the_same_decisions_everywhere(
    op: str, shape: tuple[int, ...], p: float, seed: int, at: At
) -> None:
    size = 7
    made = network(op, shape, p, seed)
    x = np.random.default_rng(0).normal(size=(size, *shape))
    g = np.random.default_rng(1).normal(size=(size, *shape))
    first: dict[str, Array] = {}
    for backend in BACKENDS:
        session = opened(made, backend)
        for output, path in PATHS.items():
            cotangents = {name: g if name == output else np.zeros_like(g) for name in PATHS}
            found = session.gradients({"input": x}, cotangents=cotangents, at=at)
            y, gx = found.outputs[output], found.inputs["input"]
            keep = kept(op, shape, size, p, seed, path, at)
            assert 0 < keep.mean() < 1
            values, slopes = expected(op, x, keep, p)
            np.testing.assert_allclose(y, values, rtol=1e-15, atol=2e-15)
            np.testing.assert_allclose(gx, g * slopes, rtol=1e-15, atol=0)
            key = f"{output} and its gradient"
            both = np.stack([y, gx])
            np.testing.assert_array_equal(first.setdefault(key, both), both)
        plain = session.forward({"input": x}, training=False, at=at)
        np.testing.assert_array_equal(plain["a"], x)
        np.testing.assert_array_equal(plain["b"], x)
        session.close()


KNOWN = {
    # seed 11, update 3, first sample 1, p = 0.5, layer `alone`, 6 samples of 2x1x2
    "dropout": "111000111100010110111110",
    "spatial_dropout": "001111111100000011111111",
    "alpha_dropout": "111000111100010110111110",
    "stochastic_depth": "000000001111111111111111",
}


@each_op
@each_backend
def test_known_answers(op: str, backend: str) -> None:
    """Written down once: a change of these would change every run that is to be reproduced."""
    session = opened(network(op, (2, 1, 2), 0.5, 11), backend)
    x = np.ones((6, 2, 1, 2))
    y = session.forward({"input": x}, training=True, at=At(3, 1))["a"]
    session.close()
    assert "".join("1" if v > 0 else "0" for v in y.ravel()) == KNOWN[op]


@each_op
@each_backend
def test_a_batch_in_parts_has_the_decisions_of_the_whole(op: str, backend: str) -> None:
    shape = (3, 2, 5)
    session = opened(network(op, shape, 0.4), backend)
    x = np.random.default_rng(0).normal(size=(9, *shape))
    whole = session.forward({"input": x}, training=True, at=At(1, 2))["a"]
    for start, stop in ((0, 4), (4, 5), (5, 9)):
        part = session.forward({"input": x[start:stop]}, training=True, at=At(1, 2 + start))["a"]
        np.testing.assert_array_equal(part, whole[start:stop])
    later = session.forward({"input": x}, training=True, at=At(2, 2))["a"]
    session.close()
    assert (later != whole).any()


@each_op
@each_shape
def test_gradients_are_slopes(op: str, shape: tuple[int, ...]) -> None:
    check_gradients(network(op, shape, 0.3))


@pytest.mark.parametrize("key", [*OPS, "layer_scale"])
def test_laws(key: str) -> None:
    op = lookup(key)
    assert op is not None
    check_op(op, backends=("numpy", "torch"), examples=3)


# --- nothing and everything --------------------------------------------------------------------


@each_op
@each_backend
@pytest.mark.parametrize("random", ["counter", "framework"])
@pytest.mark.parametrize("shape", [(4,), (3, 4, 2)], ids=str)
def test_probability_nought_and_one(
    op: str, backend: str, random: str, shape: tuple[int, ...]
) -> None:
    x = np.random.default_rng(0).normal(size=(5, *shape))
    cotangents = {"a": x, "b": x}
    for p, factor in ((0, 1.0), (1, 0.0)):
        session = opened(network(op, shape, p), backend, random=random)
        found = session.gradients({"input": x}, cotangents=cotangents)
        session.close()
        for y in found.outputs.values():
            np.testing.assert_array_equal(y, factor * x)
        np.testing.assert_array_equal(found.inputs["input"], 2 * factor * x)


# --- the frameworks' own -----------------------------------------------------------------------


@each_op
@each_backend
@each_shape
def test_the_frameworks_own_layer_means_the_same(
    op: str, backend: str, shape: tuple[int, ...]
) -> None:
    p, size = 0.3, 800
    session = opened(network(op, shape, p), backend, random="framework")
    x = np.random.default_rng(0).uniform(0.5, 2, size=(size, *shape))
    outputs = session.forward({"input": x}, training=True)
    plain = session.forward({"input": x}, training=False)
    session.close()
    for name, y in outputs.items():
        np.testing.assert_array_equal(plain[name], x)
        own = decisions(op, shape)
        keep = np.abs(y - expected(op, x, np.ones(x.shape, bool), p)[0]) < 1e-12
        np.testing.assert_allclose(y, expected(op, x, keep, p)[0], rtol=1e-14, atol=1e-14)
        # One decision for each, and no more.
        corner = keep[(slice(None), *(slice(0, n) for n in own))]
        np.testing.assert_array_equal(np.broadcast_to(corner, keep.shape), keep)
        decided = corner.reshape(size, -1).astype(float)
        bound = 5 * math.sqrt(p * (1 - p) / decided.size)
        assert abs(decided.mean() - (1 - p)) < bound
        if decided.shape[1] > 1:  # they do not go together
            left, right = decided[:, 0] - 1 + p, decided[:, 1] - 1 + p
            assert abs((left * right).mean()) < 5 * p * (1 - p) / math.sqrt(size)


@each_backend
@pytest.mark.parametrize("random", ["counter", "framework"])
def test_alpha_dropout_keeps_mean_and_variance(backend: str, random: str) -> None:
    session = opened(network("alpha_dropout", (100,), 0.2), backend, random=random)
    x = np.random.default_rng(0).normal(size=(2000, 100))
    selu = 1.0507009873554805 * np.where(x > 0, x, 1.6732632423543772 * np.expm1(np.minimum(x, 0)))
    y = session.forward({"input": selu}, training=True)["a"]
    session.close()
    assert abs(y.mean()) < 0.02
    assert abs(y.var() - 1) < 0.02


SPELLINGS = {
    ("torch", "dropout", (3, 4, 2)): "nn.Dropout(0.25)",
    ("torch", "spatial_dropout", (5,)): "nn.Dropout(0.25)",
    ("torch", "spatial_dropout", (3, 4)): "nn.Dropout1d(0.25)",
    ("torch", "spatial_dropout", (3, 4, 2)): "nn.Dropout2d(0.25)",
    ("torch", "spatial_dropout", (3, 4, 2, 2)): "nn.Dropout3d(0.25)",
    ("torch", "alpha_dropout", (5,)): "nn.AlphaDropout(0.25)",
    ("torch", "stochastic_depth", (3, 4, 2)): "StochasticDepth(0.25)",
    ("keras", "spatial_dropout", (5,)): "layers.Dropout(0.25,",
    ("keras", "spatial_dropout", (3, 4)): "layers.SpatialDropout1D(0.25,",
    ("keras", "spatial_dropout", (3, 4, 2, 2)): "layers.SpatialDropout3D(0.25,",
    ("keras", "alpha_dropout", (3, 4)): "layers.AlphaDropout(0.25,",
    ("keras", "stochastic_depth", (3, 4)): "layers.Dropout(0.25, noise_shape=(None, 1, 1),",
    ("numpy", "stochastic_depth", (3, 4)): "StochasticDepth(0.25, rng)",
}


@pytest.mark.parametrize(("backend", "op", "shape"), SPELLINGS, ids=str)
def test_the_text_has_the_frameworks_own_layer(
    backend: str, op: str, shape: tuple[int, ...]
) -> None:
    text = get(backend).emit(network(op, shape, 0.25)).text
    assert text.count(SPELLINGS[backend, op, shape]) >= 2
    assert "Counter" not in text


# --- files of the user's own -------------------------------------------------------------------

ALL = """\
cnnspec: 1
name: net
input: [3, 6, 5]
layers:
- conv: {filters: 4, kernel: 3}
- spatial_dropout: {p: 0.2}
- dropout: {p: 0.3}
- stochastic_depth: {name: branch, p: 0.4}
- flatten
- alpha_dropout: {p: 0.1}
- dense: {units: 2}
"""


@each_backend
def test_the_rates_of_a_file_are_read_and_switched_off(backend: str) -> None:
    made = graph(ALL)
    session: Any = opened(made, backend, random="framework")
    rates = session.random_rates()
    assert rates == {
        "spatial_dropout1": 0.2,
        "dropout1": 0.3,
        "branch": 0.4,
        "alpha_dropout1": 0.1,
    }
    session.silence()
    x = {"input": np.random.default_rng(0).normal(size=(2, 3, 6, 5))}
    trained = session.forward(x, training=True)["output"]
    np.testing.assert_array_equal(trained, session.forward(x, training=False)["output"])
    session.close()


@pytest.mark.parametrize("backend", ["torch", "keras"])
def test_a_compiled_file_agrees_as_a_source_of_its_own(backend: str, tmp_path: Any) -> None:
    file = tmp_path / "net.py"
    made = graph(ALL)
    file.write_text(get(backend).emit(made).text)
    options: dict[str, Any] = {
        "backends": ("numpy", backend),
        "sources": {backend: (str(file), None)},
        "in_process": True,
        "dtype": "float64",
        "steps": 1,
    }
    report = check(made, **options)
    assert report, report.specs[0].first_difference
    assert any("switched off" in note for note in report.specs[0].notes)
    file.write_text(file.read_text().replace("0.4", "0.45"))
    report = check(made, **options)
    difference = report.specs[0].first_difference
    assert difference is not None
    assert difference.node == "branch"


# --- bad input ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("written", "code", "message"),
    [
        ("spatial_dropout: {p: @@1.5}", "out-of-range", "at most 1"),
        ("alpha_dropout: {p: @@-0.1}", "out-of-range", "at least 0"),
        ("stochastic_depth: {p: @@2}", "out-of-range", "at most 1"),
        ("stochastic_depth: {p: @@half}", "wrong-type", "expected a number"),
        ("@@stochastic_depth: {name: d}", "missing-field", "needs `p`"),
        ("@@stochastic_depth", "missing-field", "needs `p`"),
        ("spatial_dropout: {p: 0.1, @@mode: row}", "unknown-field", "no field `mode`"),
    ],
)
def test_mistakes_have_a_place(written: str, code: str, message: str) -> None:
    assert message in check_marked(spec(written), code).message
