"""What files draw for initial weights, against what the spec says."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from cnnspec.api import read
from cnnspec.backends import Emitted, Style, get
from cnnspec.check import check
from cnnspec.check.initial import Moments, draws, statistics
from cnnspec.check.report import to_text
from cnnspec.graph import Graph
from cnnspec.ops import initializer as kinds
from cnnspec.ops.base import Param
from tests.test_check import relocate

SHAPE = (40, 25, 3)
FAN_IN, FAN_OUT = 75, 120


def normal(rng: np.random.Generator, std: float) -> Any:
    return rng.normal(0, std, SHAPE)


def truncated(rng: np.random.Generator, std: float) -> Any:
    values = rng.normal(0, 1, 100_000)
    kept = values[np.abs(values) <= 2][: math.prod(SHAPE)]
    return std / kinds.TRUNCATION * kept.reshape(SHAPE)


def uniform(rng: np.random.Generator, std: float) -> Any:
    return rng.uniform(-math.sqrt(3) * std, math.sqrt(3) * std, SHAPE)


def orthogonal(rng: np.random.Generator, gain: float) -> Any:
    q, _ = np.linalg.qr(rng.normal(size=(75, 75)))
    return gain * q[:40].reshape(SHAPE)


HE = math.sqrt(2 / FAN_IN)
LAWS: list[tuple[kinds.Initializer, Any, float]] = [
    (kinds.HeNormal(), normal, HE),
    (kinds.HeNormal(mode="fan_out", slope=1.0), normal, math.sqrt(1 / FAN_OUT)),
    (kinds.HeNormal(truncated=True), truncated, HE),
    (kinds.HeUniform(), uniform, HE),
    (kinds.GlorotNormal(gain=2.0), normal, 2 * math.sqrt(2 / (FAN_IN + FAN_OUT))),
    (kinds.GlorotUniform(), uniform, math.sqrt(2 / (FAN_IN + FAN_OUT))),
    (kinds.LecunNormal(truncated=True), truncated, math.sqrt(1 / FAN_IN)),
    (kinds.LecunUniform(), uniform, math.sqrt(1 / FAN_IN)),
    (kinds.TorchDefault(), uniform, math.sqrt(1 / (3 * FAN_IN))),
    (kinds.Normal(std=0.3), normal, 0.3),
    (kinds.TruncatedNormal(std=0.3), truncated, 0.3 * kinds.TRUNCATION),
    (kinds.Uniform(low=-0.5, high=0.5), uniform, 0.5 / math.sqrt(3)),
    (kinds.Orthogonal(gain=1.5), orthogonal, 1.5),
]


def wrong(init: kinds.Initializer, *values: Any) -> list[str]:
    """The tests that these draws do not pass."""
    param = Param("weight", SHAPE, "OIW", init, True, False, FAN_IN, FAN_OUT)
    found = Moments()
    for value in values:
        found.add(value, init)
    return [test.name for test in statistics(param, found) if test.found != test.nearest]


@pytest.mark.parametrize(("init", "draw", "std"), LAWS, ids=[repr(law[0]) for law in LAWS])
def test_a_right_draw_passes_and_a_wrong_one_does_not(
    init: kinds.Initializer, draw: Any, std: float
) -> None:
    rng = np.random.default_rng(0)
    for _ in range(20):
        assert not wrong(init, draw(rng, std))
        assert not wrong(init, draw(rng, std).astype(np.float32))
    assert wrong(init, draw(rng, std * 1.25))
    assert wrong(init, draw(rng, std * 0.8))
    assert wrong(init, np.where(np.arange(3) == 1, math.nan, draw(rng, std)))
    for other in {normal, truncated, uniform} - {draw}:  # of the same variance
        assert wrong(init, other(rng, std))
    if draw is not orthogonal:
        assert wrong(init, draw(rng, std) + std / 4)
        assert wrong(init, np.full(SHAPE, std))


@pytest.mark.parametrize(
    ("init", "value"),
    [(kinds.Zeros(), 0.0), (kinds.Ones(), 1.0), (kinds.Constant(value=0.1), 0.1)],
)
def test_constants_are_exact_but_for_float32(init: kinds.Initializer, value: float) -> None:
    assert not wrong(init, np.full(SHAPE, value, np.float32))
    assert wrong(init, np.full(SHAPE, value + 1e-6))
    assert wrong(init, np.full(SHAPE, math.nan))


SPEC = """\
cnnspec: 1
name: net
input: [3, 6, 7]
layers:
  - conv: {filters: 8, kernel: 3, weight_init: glorot_uniform, bias_init: {constant: {value: 0.1}}}
  - batch_norm
  - flatten
  - dense: {units: 12, weight_init: {truncated_normal: {std: 0.02}}}
  - dense: {units: 9, weight_init: orthogonal}
"""


@pytest.mark.parametrize(
    ("backend", "old", "new", "node"),
    [
        ("torch", "nn.init.xavier_uniform_", "nn.init.xavier_normal_", "conv1"),
        ("torch", "0.1)", "0.10001)", "conv1"),
        ("torch", "std=0.02", "std=0.025", "dense1"),
        ("keras", "(8, 3, ", "(8, 3, kernel_initializer=initializers.HeUniform(), ", "conv1"),
        ("keras", "Orthogonal()", "Orthogonal(1.01)", "dense2"),
        ("numpy", "6 / ", "3 / ", "conv1"),
    ],
)
def test_a_wrong_initializer_is_found_and_named(
    monkeypatch: pytest.MonkeyPatch, backend: str, old: str, new: str, node: str
) -> None:
    graph = read(SPEC).graph
    emit = get(backend).emit

    def altered(graph: Graph, style: Style = Style()) -> Emitted:
        emitted = emit(graph, style)
        assert old in emitted.text, emitted.text
        return relocate(emitted, emitted.text.replace(old, new))

    monkeypatch.setattr(get(backend), "emit", altered)
    pair = ("numpy", "torch") if backend == "numpy" else ("numpy", backend)
    report = check(graph, backends=pair, in_process=True, dtype="float64", steps=1)
    (found,) = report.specs
    assert found.status == "disagree"
    assert found.first_difference is not None
    comparison = found.first_difference.comparison
    assert (comparison.quantity, comparison.backends) == ("initializer", ("spec", backend))
    assert found.first_difference.node == node
    text = to_text(report)
    assert f"spec and {backend} differ in the initial values of `{node}." in text
    assert "is right for" in text


def test_small_networks_are_drawn_from_more_often() -> None:
    tiny = "cnnspec: 1\nname: net\ninput: [3]\nlayers: [{dense: {units: 2}}]\n"
    assert draws(read(tiny).graph) == 16
    assert draws(read(SPEC).graph) > 1
    large = tiny.replace("units: 2", "units: 2000")
    assert draws(read(large).graph) == 1
    assert draws(read(tiny.replace("{dense: {units: 2}}", "tanh")).graph) == 1


def test_draws_change_nothing() -> None:
    graph = read(SPEC).graph
    for backend in ("numpy", "torch", "keras"):
        made = get(backend)
        session = made.open(made.emit(graph))
        before = session.weights()
        first, again, other = (dict(session.draw(seed)) for seed in (1, 1, 2))
        for name, value in session.weights().items():
            assert np.array_equal(value, before[name])
            assert np.array_equal(first[name], again[name])
        assert not np.array_equal(first["dense1.weight"], other["dense1.weight"])
        session.close()


@pytest.mark.parametrize("backends", [("numpy", "torch"), ("numpy", "keras")])
def test_vectors_start_as_the_spec_says(backends: tuple[str, ...]) -> None:
    """Their fans are not those of a matrix, and frameworks' functions may refuse them."""
    layers = [
        f"{{dense: {{units: 2000, bias_init: {name}, weight_init: zeros}}}}"
        for name in kinds.INITIALIZERS
        if name not in ("orthogonal", "constant", "uniform")
    ]
    spec = f"cnnspec: 1\nname: net\ninput: [1]\nlayers: [{', '.join(layers)}]\n"
    graph = read(spec).graph
    for name in backends:
        made = get(name)
        session = made.open(made.emit(graph))
        found = session.draw(0)
        for path, param in graph.params().items():
            if path.endswith("bias"):
                moments = Moments()
                moments.add(found[path], param.init)
                wrongly = [s.name for s in statistics(param, moments) if s.found != s.nearest]
                assert not wrongly, (name, param.init, wrongly)
        session.close()
