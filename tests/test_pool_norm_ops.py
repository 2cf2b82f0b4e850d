"""The lp and adaptive pools, norms and means: all back ends agree."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, reject, settings
from hypothesis import strategies as st

from cnnspec.backends import get
from cnnspec.backends.base import Dtype, Session
from cnnspec.check import effort, samples
from cnnspec.graph import Graph
from cnnspec.ops import lookup
from cnnspec.ops.norm import SampleNorm
from cnnspec.testing import OPS
from cnnspec.testing.laws import check_network
from cnnspec.testing.networks import infer, network_shapes, text_of
from tests.networks import BACKENDS, distance, graph, layers
from tests.night import share

SAME = 1e-13
FLOAT32 = 2e-6

KEYS = (
    "lp_pool",
    "adaptive_avg_pool",
    "adaptive_max_pool",
    "layer_norm",
    "group_norm",
    "instance_norm",
    "local_response_norm",
    "normalize",
    "mean",
)
SHAPES = {0: "[4]", 1: "[4, 7]", 2: "[4, 5, 6]", 3: "[4, 3, 4, 5]"}

EVERYWHERE = {
    "lp_pool: {kernel: 2, p: 3}": (1, 2, 3),
    "lp_pool: {kernel: 3, stride: 2, padding: 1, p: 1}": (1, 2, 3),
    "lp_pool: {kernel: 2, p: 2.5, ceil_mode: true}": (1, 2, 3),
    "lp_pool: {kernel: 3, stride: 1, padding: same, p: 1.5}": (1, 2, 3),
    "adaptive_avg_pool: {size: 3}": (1, 2, 3),
    "adaptive_avg_pool: {size: 8}": (1, 2, 3),
    "adaptive_max_pool: {size: 3}": (1, 2, 3),
    "adaptive_max_pool: {size: 8}": (1, 2, 3),
    "layer_norm": (0, 1, 2, 3),
    "layer_norm: {axes: C, eps: 0.001}": (0, 1, 2, 3),
    "layer_norm: {axes: space}": (1, 2, 3),
    "layer_norm: {axes: [channels, width]}": (2, 3),
    "layer_norm: {axes: [height, width]}": (2, 3),
    "layer_norm: {axes: height, affine: false}": (2, 3),
    "group_norm: {groups: 2}": (1, 2, 3),
    "group_norm: {groups: 4, affine: false}": (1, 2, 3),
    "group_norm: {groups: 1, eps: 0.01}": (0, 1, 2, 3),
    "instance_norm": (1, 2, 3),
    "instance_norm: {affine: true, eps: 0.1}": (1, 2, 3),
    "local_response_norm: {alpha: 0.5}": (1, 2, 3),
    "local_response_norm: {size: 4, alpha: 1, beta: 0.5, k: 2}": (1, 2, 3),
    "local_response_norm: {size: 9, alpha: 2, beta: 1.5}": (1, 2, 3),
    "normalize: {mean: [0.1, 0.2, 0.3, 0.4], std: [0.229, 0.224, 0.225, 3]}": (0, 1, 2, 3),
    "mean: {axes: channels}": (0, 1, 2, 3),
    "mean: {axes: CHW}": (0, 1, 2, 3),
    "mean: {axes: [channels, height]}": (2, 3),
    "mean: {axes: width}": (2, 3),
}
CASES = [(layer, rank) for layer, ranks in EVERYWHERE.items() for rank in ranks]


def opened(network: Graph, dtype: Dtype = "float64") -> dict[str, Session]:
    """A session of every back end, all with the same weights."""
    weights = samples.weights(network, 0)
    found = {}
    for name in BACKENDS:
        found[name] = get(name).open(get(name).emit(network), dtype=dtype)
        found[name].assign(weights)
    return found


def disagreement(
    network: Graph, inputs: dict[str, Any] | None = None, dtype: Dtype = "float64"
) -> float:
    """The largest relative difference between the reference in float64 and any back end."""
    sample = samples.sample(network, 0, 0, effort.batch_size(network))
    inputs = dict(sample.inputs) if inputs is None else inputs
    worst = 0.0
    sessions = opened(network, dtype)
    reference = get("numpy").open(get("numpy").emit(network))
    reference.assign(samples.weights(network, 0))
    for training in (True, False):
        options: dict[str, Any] = {"cotangents": sample.cotangents, "training": training}
        wanted = reference.gradients(inputs, **options)
        for session in sessions.values():
            found = session.gradients(inputs, **options)
            for part in ("outputs", "parameters", "inputs"):
                ours, theirs = getattr(wanted, part), getattr(found, part)
                assert ours.keys() == theirs.keys()
                worst = max([worst, *(distance(ours[n], theirs[n]) for n in ours)])
    for session in (*sessions.values(), reference):
        session.close()
    return worst


@pytest.mark.parametrize(("layer", "rank"), CASES)
def test_all_back_ends_agree(layer: str, rank: int) -> None:
    assert disagreement(layers(layer, input=SHAPES[rank])) <= SAME


@pytest.mark.parametrize(("layer", "rank"), [(la, r) for la, r in CASES if r == 2])
def test_float32(layer: str, rank: int) -> None:
    assert disagreement(layers(layer, input=SHAPES[rank]), dtype="float32") <= FLOAT32


@pytest.mark.parametrize("rank", [1, 2, 3])
@pytest.mark.parametrize("size", [2, 3, 8])
def test_ties_in_adaptive_max_pooling(rank: int, size: int) -> None:
    network = layers(f"adaptive_max_pool: {{size: {size}}}", input=SHAPES[rank])
    count = effort.batch_size(network)
    rng = np.random.default_rng(rank)
    x = rng.integers(0, 2, (count, *network.inputs[0].shape)).astype(float)
    assert disagreement(network, {"input": x}) <= SAME


@pytest.mark.parametrize("rank", [1, 2, 3])
@pytest.mark.parametrize("p", [1, 1.5, 2, 3])
def test_lp_pooling_of_zeros(rank: int, p: float) -> None:
    network = layers(f"lp_pool: {{kernel: 2, p: {p}}}", input=SHAPES[rank])
    count = effort.batch_size(network)
    rng = np.random.default_rng(rank)
    x = rng.integers(-1, 2, (count, *network.inputs[0].shape)) * rng.uniform(0.5, 1)
    assert disagreement(network, {"input": x}) <= SAME
    assert disagreement(network, {"input": 0 * x}) == 0


@pytest.mark.parametrize("layer", ["layer_norm: {axes: C}", "group_norm: {groups: 2}"])
@pytest.mark.parametrize("constant", [0.0, 3.0])
def test_sets_of_equal_elements(layer: str, constant: float) -> None:
    """Their variance is 0, so eps alone divides."""
    network = layers(layer, input=SHAPES[2])
    x = np.full((3, 4, 5, 6), constant)
    sample = samples.sample(network, 0, 0, 3)
    for session in opened(network).values():
        found = session.gradients({"input": x}, cotangents=sample.cotangents)
        bias = samples.weights(network, 0)[
            "layer_norm1.bias" if "layer" in layer else "group_norm1.bias"
        ]
        y = found.outputs["output"]
        np.testing.assert_allclose(y, np.broadcast_to(bias[:, None, None], y.shape), atol=1e-11)
        assert np.isfinite(found.inputs["input"]).all()
        session.close()


@st.composite
def single(draw: Any, key: str) -> str:
    """A network of one layer of this op, and one that has weights before it."""
    op = lookup(key)
    assert op is not None
    space = draw(network_shapes())[1:]
    shape = (draw(st.integers(2, 6)), *space)
    given = OPS.draw(draw, op, shape)
    if infer(op, given, [shape]) is None:
        reject()
    return text_of(
        {
            "cnnspec": 1,
            "name": "net",
            "input": list(shape),
            "layers": [{key: given} if given else key],
        }
    )


@pytest.mark.parametrize("key", KEYS)
def test_random_fields(key: str) -> None:
    @settings(
        max_examples=share(0.2),
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(single(key))
    def agree(text: str) -> None:
        network = graph(text)
        op, shape = network.nodes[0].op, network.inputs[0].shape
        if isinstance(op, SampleNorm) and op.size(shape) < 4:
            # Nearly all of the input cancels, so that its gradient is small beside its rounding.
            check_network(text, BACKENDS)
        else:
            assert disagreement(network) <= SAME

    agree()
