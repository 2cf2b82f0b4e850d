from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from cnnspec import initializers, memory
from cnnspec.api import load
from cnnspec.diagnostics import SetupError
from cnnspec.initializers import draw, initial_weights
from cnnspec.ops import initializer as kinds
from cnnspec.ops.base import Param
from cnnspec.ops.initializer import TRUNCATION

NAME = "conv1.weight"
MANY = (400, 30, 5, 5)
FAN_IN, FAN_OUT = 30 * 25, 400 * 25


def drawn(init: kinds.Initializer, shape: tuple[int, ...] = MANY) -> Any:
    param = Param("weight", shape, "OIHW", init, fan_in=FAN_IN, fan_out=FAN_OUT)
    values = draw(NAME, param, 0)
    assert values.dtype == np.float64
    assert values.shape == shape
    assert values.flags.c_contiguous
    return values


# --- golden values: they hold for every release ------------------------------------------------


def test_golden_uniform() -> None:
    expected = [0.9187603008272728, 0.9282476107515877, 0.5665618790007981]
    assert initializers.uniform(NAME, 3, 0).tolist() == expected
    # A raw stream is its own prefix, whatever the count.
    assert initializers.uniform(NAME, 1000, 0)[:3].tolist() == expected


def test_golden_normal() -> None:
    # To the last digits, which belong to the system's `log` and `cos`.
    expected = [2.016811884363395, -0.9763054406970733, 0.5475297565204594]
    np.testing.assert_allclose(initializers.normal(NAME, 3, 0), expected, rtol=1e-15, atol=0)
    np.testing.assert_allclose(initializers.normal(NAME, 4, 0)[:3], expected, rtol=1e-15, atol=0)


def test_the_stream_is_that_of_a_generator() -> None:
    import hashlib

    key = np.frombuffer(hashlib.blake2b(b"7/fc.bias", digest_size=16).digest(), "<u8")
    generator = np.random.Generator(np.random.Philox(key=key.astype(np.uint64)))
    assert np.array_equal(initializers.uniform("fc.bias", 100, 7), generator.random(100))


def test_seed_and_name_matter_and_nothing_else() -> None:
    first = initializers.uniform(NAME, 8, 0)
    assert np.array_equal(first, initializers.uniform(NAME, 8, 0))
    assert not np.array_equal(first, initializers.uniform(NAME, 8, 1))
    assert not np.array_equal(first, initializers.uniform("conv2.weight", 8, 0))


# --- distributions: moments within four standard errors ----------------------------------------

SCALED_NORMAL = {
    kinds.HeNormal(): math.sqrt(2 / FAN_IN),
    kinds.HeNormal(mode="fan_out"): math.sqrt(2 / FAN_OUT),
    kinds.HeNormal(slope=0.5): math.sqrt(2 / 1.25 / FAN_IN),
    kinds.GlorotNormal(): math.sqrt(2 / (FAN_IN + FAN_OUT)),
    kinds.GlorotNormal(gain=3.0): 3 * math.sqrt(2 / (FAN_IN + FAN_OUT)),
    kinds.LecunNormal(): math.sqrt(1 / FAN_IN),
    kinds.Normal(std=0.3): 0.3,
}


@pytest.mark.parametrize("init", SCALED_NORMAL, ids=repr)
def test_normal(init: kinds.Initializer) -> None:
    values = drawn(init) / SCALED_NORMAL[init]
    assert abs(values.mean()) < 4 / math.sqrt(values.size)
    assert abs(values.std() - 1) < 4 / math.sqrt(2 * values.size)
    assert abs((values**4).mean() - 3) < 4 * math.sqrt(96 / values.size)
    assert np.abs(values).max() > 4  # 300,000 untruncated ones


@pytest.mark.parametrize(
    ("init", "plain"),
    [
        (kinds.HeNormal(truncated=True), kinds.HeNormal()),
        (kinds.GlorotNormal(truncated=True), kinds.GlorotNormal()),
        (kinds.LecunNormal(truncated=True), kinds.LecunNormal()),
    ],
    ids=repr,
)
def test_truncated_and_scaled(init: kinds.Initializer, plain: kinds.Initializer) -> None:
    values = drawn(init) / SCALED_NORMAL[plain]
    assert abs(values.std() - 1) < 4 / math.sqrt(2 * values.size)
    bound = 2 / TRUNCATION
    assert 0.999 * bound < np.abs(values).max() <= bound


def test_truncated_is_cut_and_not_scaled() -> None:
    values = (drawn(kinds.TruncatedNormal(std=0.5, mean=3.0)) - 3) / 0.5
    assert abs(values.std() - TRUNCATION) < 4 / math.sqrt(2 * values.size)
    assert 1.999 < np.abs(values).max() <= 2


UNIFORM = {
    kinds.HeUniform(): math.sqrt(6 / FAN_IN),
    kinds.HeUniform(mode="fan_out", slope=1.0): math.sqrt(3 / FAN_OUT),
    kinds.GlorotUniform(): math.sqrt(6 / (FAN_IN + FAN_OUT)),
    kinds.LecunUniform(): math.sqrt(3 / FAN_IN),
    kinds.TorchDefault(): math.sqrt(1 / FAN_IN),
    kinds.Uniform(low=-0.2, high=0.2): 0.2,
}


@pytest.mark.parametrize("init", UNIFORM, ids=repr)
def test_uniform(init: kinds.Initializer) -> None:
    values = drawn(init) / UNIFORM[init]
    assert abs(values.mean()) < 4 / math.sqrt(3 * values.size)
    assert abs((values**2).mean() - 1 / 3) < 4 * math.sqrt(4 / 45 / values.size)
    assert 0.9999 < np.abs(values).max() <= 1
    assert values.min() < -0.9999


def test_uniform_between_any_bounds() -> None:
    values = drawn(kinds.Uniform(low=2.0, high=5.0))
    assert 2 <= values.min() < 2.001
    assert 4.999 < values.max() < 5


def test_constants() -> None:
    assert (drawn(kinds.Zeros()) == 0).all()
    assert (drawn(kinds.Ones()) == 1).all()
    assert (drawn(kinds.Constant(value=0.1)) == 0.1).all()  # in float64, not rounded to float32


def test_mean_is_added() -> None:
    np.testing.assert_allclose(
        drawn(kinds.Normal(mean=5.0)) - 5, drawn(kinds.Normal()), rtol=0, atol=1e-14
    )


@pytest.mark.parametrize("shape", [(6, 2, 3, 3), (40, 2, 3, 3), (18, 2, 3, 3), (1, 9), (9, 1)])
def test_orthogonal(shape: tuple[int, ...]) -> None:
    q = drawn(kinds.Orthogonal(gain=2.0), shape).reshape(shape[0], -1) / 2
    gram = q.T @ q if q.shape[0] >= q.shape[1] else q @ q.T
    np.testing.assert_allclose(gram, np.eye(len(gram)), atol=1e-14)


def test_orthogonal_is_unbiased() -> None:
    # Without the sign fix, LAPACK's diagonal of R is negative and the entries have a preference.
    shape = (2, 2)
    entries = [
        draw(f"fc{i}.weight", Param("weight", shape, "OI", kinds.Orthogonal()), 0)[0, 0]
        for i in range(2000)
    ]
    assert abs(np.mean(entries)) < 4 * math.sqrt(0.5 / 2000)


def test_orthogonal_is_what_torch_makes_of_the_same_draw() -> None:
    torch = pytest.importorskip("torch")
    for shape in ((6, 20), (20, 6)):
        z = torch.tensor(initializers.normal(NAME, 120, 0).reshape(shape))
        q, r = torch.linalg.qr(z.T if shape[0] < shape[1] else z)
        q = q * torch.sign(torch.diagonal(r))
        expected = q.T if shape[0] < shape[1] else q
        np.testing.assert_allclose(drawn(kinds.Orthogonal(), shape), expected.numpy(), atol=1e-14)


def test_every_initializer_can_be_drawn() -> None:
    assert set(initializers._DRAWS) == set(kinds.INITIALIZERS.values())


# --- networks ----------------------------------------------------------------------------------

SPEC = """\
cnnspec: 1
input: [2, 6, 6]
layers:
  - conv: {name: conv1, filters: 4, kernel: 3}
  - batch_norm: {name: bn1}
  - prelu: {name: act}
  - flatten
  - dense: {name: fc, units: 3}
seed: 5
"""


def test_initial_weights() -> None:
    graph = load(SPEC.replace("kernel: 3}", "kernel: 3, bias: false}"))
    weights = initial_weights(graph)
    assert list(weights) == list(graph.params())
    assert {name: array.shape for name, array in weights.items()} == {
        name: param.shape for name, param in graph.params().items()
    }
    assert (weights["bn1.running_mean"] == 0).all()
    assert (weights["bn1.running_var"] == 1).all()
    assert (weights["act.weight"] == 0.25).all()
    expected = math.sqrt(2 / 18) * initializers.normal("conv1.weight", 72, 5).reshape(4, 2, 3, 3)
    assert np.array_equal(weights["conv1.weight"], expected)
    again = initial_weights(graph, seed=6)
    assert not np.array_equal(weights["fc.weight"], again["fc.weight"])
    assert all(not np.shares_memory(a, b) for a, b in pairwise(weights.values()))


def test_too_much_for_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "available", lambda: 1000)
    with pytest.raises(SetupError, match=r"the weights would take 0\.0 GiB") as error:
        initial_weights(load(SPEC.replace("kernel: 3}", "kernel: 3, bias: false}")))
    assert error.value.diagnostics[0].code == "not-enough-memory"
    monkeypatch.setattr(memory, "available", lambda: None)  # nothing is known, nothing is refused
    memory.require(2**60, "this")


def test_available_memory_is_plausible() -> None:
    found = memory.available()
    assert found is None or 2**26 < found < 2**50
