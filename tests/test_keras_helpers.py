"""Helper layers of the Keras back end, by themselves."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cnnspec.backends import Style, get
from cnnspec.backends.keras.cells import COLUMN
from cnnspec.backends.keras.cells.window import compact_pads
from cnnspec.backends.precision import is_float32
from cnnspec.build import build
from cnnspec.document import parse
from cnnspec.ops import registered
from cnnspec.schema import read_spec

pytest.importorskip("torch")  # before TensorFlow, which does not bear the other order
keras = pytest.importorskip("keras")

# Keras' own way to a NumPy array, when a model is saved.
pytestmark = pytest.mark.filterwarnings(
    "ignore:__array__ implementation doesn't accept a copy keyword:DeprecationWarning"
)


@pytest.fixture(autouse=True)
def float64() -> Any:
    """Set up as a session does, and clean up as it does."""
    floatx, policy = keras.config.floatx(), keras.config.dtype_policy()
    keras.config.set_floatx("float64")
    keras.config.set_dtype_policy("float64")
    yield
    keras.config.set_floatx(floatx)
    keras.config.set_dtype_policy(policy)


def test_every_op_has_a_cell() -> None:
    """No op is left out, and none is unsupported."""
    for op in registered():
        assert callable(COLUMN.get(op.part or op)), op.key


def test_pads_are_written_short() -> None:
    assert compact_pads(((2, 2),)) == 2
    assert compact_pads(((2, 1),)) == (2, 1)
    assert compact_pads(((1, 1), (1, 1))) == 1
    assert compact_pads(((1, 1), (0, 0))) == (1, 0)
    assert compact_pads(((1, 0), (0, 0))) == ((1, 0), (0, 0))


def test_float32_constants() -> None:
    assert is_float32(0.25)
    assert not is_float32(0.1)
    assert not is_float32(1e300)


def test_philox_known_answers() -> None:
    from cnnspec.backends.keras.helpers.dropout import philox

    ops = keras.ops

    def words(counter: int, step: int, layer: int, seed: int) -> list[str]:
        counters = ops.convert_to_tensor([counter], "int64")
        steps = ops.convert_to_tensor(step, "int64")
        found = ops.convert_to_numpy(philox(counters, steps, layer, seed))
        return [f"{int(word):08x}" for word in found]

    assert words(0, 0, 0, 0) == ["6627e8d5", "e169c58d", "bc57ac4c", "9b00dbd8"]
    ones = 2**32 - 1
    assert words(-1, ones, ones, 2**64 - 1) == ["408f276d", "41c83b0e", "a20bc7c6", "6d5451fd"]


def test_masks_go_on_where_a_batch_was_cut() -> None:
    """Two slices of a batch get the masks of the whole, in a graph as well."""
    from cnnspec.backends.keras.helpers.dropout import CounterDropout, set_position

    inputs = keras.Input((3, 5))
    layer = CounterDropout(0.3, 12345678901, name="dropout1")
    model = keras.Model(inputs, layer(inputs))
    x = np.ones((7, 3, 5))
    set_position(model, 4)
    whole = np.asarray(model(x, training=True))
    set_position(model, 4, 3)
    rest = np.asarray(model(x[3:], training=True))
    assert (whole[3:] == rest).all()
    assert 0 < (whole == 0).mean() < 0.6
    set_position(model, 4)
    assert (np.asarray(_graph(model)(x)) == whole).all()
    set_position(model, 5)
    assert (np.asarray(_graph(model)(x)) != whole).any()
    assert model.count_params() == 0
    assert model.weights == []


def _graph(model: Any) -> Any:
    import tensorflow as tf

    return tf.function(lambda x: model(x, training=True))


def test_one_traced_function_follows_the_position() -> None:
    from cnnspec.backends.keras.helpers.dropout import CounterDropout, set_position

    inputs = keras.Input((40,))
    model = keras.Model(inputs, CounterDropout(0.5, 1, name="d")(inputs))
    function = _graph(model)
    x = keras.ops.ones((2, 40))
    found = []
    for step in range(3):
        set_position(model, step)
        found.append(np.asarray(function(x)))
    assert function.experimental_get_tracing_count() == 1
    assert not (found[0] == found[1]).all()
    assert not (found[1] == found[2]).all()


def test_padding_modes_are_numpys() -> None:
    from cnnspec.backends.keras.helpers.conv import Pad

    x = np.random.default_rng(0).standard_normal((2, 4, 5, 3))
    for mode, theirs in (("reflect", "reflect"), ("replicate", "edge"), ("circular", "wrap")):
        found = np.asarray(Pad(((3, 2), (1, 4)), mode)(x))
        expected = np.pad(x, ((0, 0), (3, 2), (1, 4), (0, 0)), theirs)  # type: ignore[call-overload]
        assert (found == expected).all(), mode


INITIAL = """
cnnspec: 1
name: initial
input: [8, 6, 5]
layers:
  - conv: {name: c, filters: 400, kernel: 3, weight_init: INIT}
  - global_avg_pool
  - flatten
  - dense: {name: d, units: 300, weight_init: INIT, bias_init: {constant: {value: 0.1}}}
  - rbf: {name: r, units: 50, weight_init: INIT}
"""


@pytest.mark.parametrize(
    "init",
    [
        "he_normal",
        "{he_normal: {mode: fan_out}}",
        "{he_normal: {slope: 0.5}}",
        "{he_normal: {truncated: true}}",
        "he_uniform",
        "glorot_normal",
        "{glorot_normal: {gain: 2.0}}",
        "glorot_uniform",
        "lecun_normal",
        "{lecun_normal: {truncated: true}}",
        "lecun_uniform",
        "torch_default",
        "{normal: {std: 0.3, mean: 0.5}}",
        "{uniform: {low: -0.3, high: 0.1}}",
        "{truncated_normal: {std: 0.3}}",
        "{constant: {value: 0.7}}",
        "orthogonal",
    ],
)
def test_initial_values(init: str) -> None:
    """The framework's own generator, the spec's distribution."""
    from cnnspec.ops import initializer as meaning

    graph = build(read_spec(parse(INITIAL.replace("INIT", init), "spec.yaml"))).graph
    session = get("keras").open(get("keras").emit(graph, Style()))
    weights = session.weights()
    assert (weights["d.bias"] == 0.1).all()
    for name in ("c.weight", "d.weight", "r.weight"):
        param = graph.params()[name]
        value, made = weights[name], param.init
        if isinstance(made, meaning.Orthogonal):
            matrix = value.reshape(len(value), -1)
            short = matrix if len(matrix) <= matrix.shape[1] else matrix.T
            assert np.abs(short @ short.T - np.eye(len(short))).max() < 1e-12
            continue
        mean, std = _moments(made, param)
        assert value.mean() == pytest.approx(mean, abs=std * 5 / math.sqrt(value.size) + 1e-15)
        assert value.std() == pytest.approx(std, rel=0.03, abs=1e-15)
        if isinstance(made, meaning.HeNormal) and made.truncated:
            assert np.abs(value).max() <= 2 * std / 0.87962566103423978
    session.close()


def _moments(made: Any, param: Any) -> tuple[float, float]:
    from cnnspec.ops import initializer as meaning

    if isinstance(made, meaning.Normal):
        return made.mean, made.std
    if isinstance(made, meaning.TruncatedNormal):
        return made.mean, made.std * 0.87962566103423978
    if isinstance(made, meaning.Uniform):
        return (made.low + made.high) / 2, (made.high - made.low) / math.sqrt(12)
    if isinstance(made, meaning.Constant):
        return made.value, 0.0
    assert isinstance(made, meaning.Scaled)
    return 0.0, made.std(param.fan_in, param.fan_out)


def test_layers_of_one_shape_start_differently() -> None:
    text = "cnnspec: 1\nname: two\ninput: [5]\nlayers:\n" + "  - dense: {units: 5}\n" * 2
    graph = build(read_spec(parse(text, "spec.yaml"))).graph
    weights = get("keras").open(get("keras").emit(graph)).weights()
    assert not np.allclose(weights["dense1.weight"], weights["dense2.weight"])


NAMES = """
cnnspec: 1
name: names
input: {image: [3, 6, 5], permute: [2, 6, 5]}
layers:
  - concat: {name: x, from: [image, permute]}
  - conv: {name: initializers, filters: 4, kernel: 3, padding: [[1, 0], [0, 1]]}
  - sequence: {name: tap, layers: [relu, {sequence: {layers: [tanh, {flatten: {}}]}}]}
  - dense: {name: get_item, units: 4}
  - rescale: {name: ops, scale: 0.1, from: tap}
  - add: {name: np, from: [get_item, get_item]}
  - dense: {name: inputs, units: 3}
  - concat: {name: cat, from: [inputs, np, ops]}
"""


def test_awkward_names_survive(tmp_path: Path) -> None:
    graph = build(read_spec(parse(NAMES, "spec.yaml"))).graph
    session: Any = get("keras").open(get("keras").emit(graph))
    rng = np.random.default_rng(0)
    inputs = {i.name: rng.standard_normal((2, *i.shape)) for i in graph.inputs}
    expected = session.forward(inputs)
    assert (session.trace(inputs).outputs["output"] == expected["output"]).all()
    session.model.save(tmp_path / "names.keras")
    session.model = keras.saving.load_model(tmp_path / "names.keras")
    assert (session.forward(inputs)["output"] == expected["output"]).all()
