"""The lp and adaptive pools, norms and means: shapes, faults, null gradients and explanations."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cnnspec.backends import get
from cnnspec.check import check, samples
from cnnspec.explain import explain
from cnnspec.receptive_field import Reach, receptive_fields
from tests.networks import BACKENDS, STYLES, graph, layers
from tests.spec_errors import built, check_marked, place, spec
from tests.test_pool_norm_ops import SHAPES, opened

# --- batch norm --------------------------------------------------------------------------------


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("convention", ["unbiased", "biased"])
@pytest.mark.parametrize("rank", SHAPES)
def test_running_variance_of_both_conventions(rank: int, convention: str, style: str) -> None:
    """In what is compiled and in what is checked, the formula itself, in every back end."""
    network = layers(
        f"batch_norm: {{running_var: {convention}, momentum: 0.3}}",
        "dropout: {p: 0}",  # so that the two styles differ
        input=SHAPES[rank],
    )
    weights = samples.weights(network, 0)
    mean, variance = (weights[f"batch_norm1.{k}"] for k in ("running_mean", "running_var"))
    x = samples.sample(network, 0, 0, 3).inputs["input"]
    values = np.moveaxis(x, 1, 0).reshape(4, -1)
    wanted = {
        "batch_norm1.running_mean": 0.7 * mean + 0.3 * values.mean(1),
        "batch_norm1.running_var": 0.7 * variance
        + 0.3 * values.var(1, ddof=int(convention == "unbiased")),
    }
    for name in BACKENDS:
        session = get(name).open(get(name).emit(network, STYLES[style]), dtype="float64")
        session.assign(weights)
        session.forward({"input": x}, training=True)
        moved = session.weights()
        for key, value in wanted.items():
            np.testing.assert_allclose(moved[key], value, rtol=0, atol=1e-14, err_msg=name)
        session.close()


# --- shapes ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("layer", "input", "shape"),
    [
        ("adaptive_avg_pool: {size: 4}", "[3, 9, 2]", (3, 4, 4)),
        ("adaptive_max_pool: {size: [2, 5]}", "[3, 9, 8]", (3, 2, 5)),
        ("lp_pool: {kernel: 3, ceil_mode: true}", "[3, 8, 9]", (3, 3, 3)),
        ("mean: {axes: CHW}", "[3, 8, 9]", (1, 1, 1)),
        ("mean: {axes: [space]}", "[3, 8, 9]", (3, 1, 1)),
        ("mean: {axes: [channels, depth, width]}", "[3, 4, 8, 9]", (1, 1, 8, 1)),
        ("mean: {axes: length}", "[3, 8]", (3, 1)),
    ],
)
def test_shapes(layer: str, input: str, shape: tuple[int, ...]) -> None:
    assert layers(layer, input=input).nodes[0].shape == shape


@pytest.mark.parametrize(
    ("layer", "input", "shape", "layout"),
    [
        ("layer_norm", "[3, 8, 9]", (3, 8, 9), "CHW"),
        ("layer_norm", "[3]", (3,), "C"),
        ("layer_norm: {axes: C}", "[3, 8, 9]", (3,), "C"),
        ("layer_norm: {axes: [width, channels]}", "[3, 8, 9]", (3, 9), "CW"),
        ("layer_norm: {axes: space}", "[3, 4, 8, 9]", (4, 8, 9), "DHW"),
        ("group_norm: {groups: 3}", "[6, 8]", (6,), "C"),
        ("instance_norm: {affine: true}", "[3, 8]", (3,), "C"),
    ],
)
def test_parameters(layer: str, input: str, shape: tuple[int, ...], layout: str) -> None:
    weight, bias = layers(layer, input=input).nodes[0].params
    assert (weight.name, weight.shape, weight.layout) == ("weight", shape, layout)
    assert (bias.name, bias.shape, bias.layout) == ("bias", shape, layout)


@pytest.mark.parametrize(
    "layer",
    ["layer_norm: {affine: false}", "group_norm: {groups: 1, affine: false}", "instance_norm"],
)
def test_no_parameters(layer: str) -> None:
    assert layers(layer).nodes[0].params == ()


def test_weights_of_many_axes_start_as_said() -> None:
    """Fans and starting values of a weight of shape CHW, in the frameworks' own start."""
    line = "layer_norm: {weight_init: {normal: {mean: 2, std: 0.5}}, bias_init: he_normal}"
    network = layers(line, input="[30, 20, 10]")
    weight, bias = network.nodes[0].params
    assert (bias.fan_in, bias.fan_out) == (200, 300)
    for name in BACKENDS:
        session = get(name).open(get(name).emit(network), dtype="float64")
        found = session.weights()
        assert found["layer_norm1.weight"].shape == weight.shape
        assert abs(found["layer_norm1.weight"].mean() - 2) < 0.05
        assert abs(found["layer_norm1.bias"].std() - 0.1) < 0.005, name
        session.close()


WEIGHTS = """\
cnnspec: 1
name: net
input: [4, 5, 6]
layers:
- layer_norm
- layer_norm: {axes: space}
- layer_norm: {axes: C}
- layer_norm: {axes: [channels, height]}
- group_norm: {groups: 2}
- conv: {filters: 3, kernel: 3}
"""


def test_weight_files_are_the_same_in_every_back_end(tmp_path: Path) -> None:
    network = graph(WEIGHTS)
    sessions: dict[str, Any] = opened(network, "float32")
    x = samples.sample(network, 0, 0, 3).inputs
    wanted = sessions["numpy"].forward(x)["output"]
    for name, session in sessions.items():
        path = str(tmp_path / f"{name}.safetensors")
        if name == "keras":
            session.module.save_weights(session.model, path)
        else:
            session.model.save_weights(path)
    for name, session in sessions.items():
        for other in BACKENDS:
            session.assign({k: 0 * v for k, v in session.weights().items()})
            path = str(tmp_path / f"{other}.safetensors")
            if name == "keras":
                session.module.load_weights(session.model, path)
            else:
                session.model.load_weights(path)
            np.testing.assert_allclose(session.forward(x)["output"], wanted, atol=1e-5)
        session.close()


# --- bad input ---------------------------------------------------------------------------------

BAD = [
    ("adaptive_avg_pool: {size: @@0}", "[3, 8, 9]", "out-of-range"),
    ("adaptive_max_pool: {size: @@[2, 0]}", "[3, 8, 9]", "out-of-range"),
    ("adaptive_max_pool: {size: @@[2, 2, 2]}", "[3, 8, 9]", "shape-mismatch"),
    ("@@adaptive_avg_pool: {size: 2}", "[3]", "shape-mismatch"),
    ("lp_pool: {kernel: 2, p: @@0.5}", "[3, 8, 9]", "out-of-range"),
    ("lp_pool: {kernel: 2, p: @@.inf}", "[3, 8, 9]", "number-not-finite"),
    ("lp_pool: {kernel: @@9}", "[3, 8, 9]", "shape-mismatch"),
    ("group_norm: {groups: @@4}", "[6, 8, 9]", "shape-mismatch"),
    ("group_norm: {groups: @@0}", "[6, 8, 9]", "out-of-range"),
    ("@@group_norm: {groups: 6}", "[6]", "shape-mismatch"),
    ("@@group_norm", "[6, 2]", "missing-field"),
    ("@@instance_norm", "[3]", "shape-mismatch"),
    ("@@instance_norm", "[3, 1, 1]", "shape-mismatch"),
    ("@@layer_norm", "[1]", "shape-mismatch"),
    ("@@layer_norm: {axes: C}", "[1, 8, 9]", "shape-mismatch"),
    ("layer_norm: {axes: @@HW}", "[3, 8, 9]", "bad-value"),
    ("layer_norm: {axes: @@length}", "[3, 8, 9]", "shape-mismatch"),
    ("layer_norm: {axes: @@[space, width]}", "[3, 8, 9]", "shape-mismatch"),
    ("layer_norm: {eps: @@0}", "[3, 8, 9]", "out-of-range"),
    ("local_response_norm: {size: @@0}", "[3, 8, 9]", "out-of-range"),
    ("local_response_norm: {k: @@0}", "[3, 8, 9]", "out-of-range"),
    ("@@local_response_norm", "[3]", "shape-mismatch"),
    ("normalize: {mean: @@[0.5], std: [1, 1, 1]}", "[3, 8, 9]", "shape-mismatch"),
    ("normalize: {mean: [0, 0, 0], std: @@[1, 1]}", "[3, 8, 9]", "shape-mismatch"),
    ("normalize: {mean: [0, 0, 0], std: [1, @@0, 1]}", "[3, 8, 9]", "out-of-range"),
    ("normalize: {mean: [0, 0, 0], std: [1, @@-1, 1]}", "[3, 8, 9]", "out-of-range"),
    ("normalize: {mean: @@0.5, std: [1, 1, 1]}", "[3, 8, 9]", "wrong-type"),
    ("normalize: {mean: @@[], std: [1]}", "[1, 8, 9]", "bad-value"),
    ("@@mean", "[3, 8, 9]", "missing-field"),
    ("mean: {axes: @@batch}", "[3, 8, 9]", "bad-value"),
    ("mean: {axes: @@[width, width]}", "[3, 8, 9]", "bad-value"),
    ("mean: {axes: @@[]}", "[3, 8, 9]", "bad-value"),
    ("mean: {axes: @@1}", "[3, 8, 9]", "bad-value"),
    ("mean: {axes: @@space}", "[3]", "shape-mismatch"),
]


@pytest.mark.parametrize(("layer", "input", "code"), BAD)
def test_bad_input(layer: str, input: str, code: str) -> None:
    check_marked(spec(layer, input=input), code)


@pytest.mark.parametrize(
    ("layer", "input", "message", "help"),
    [
        (
            "group_norm: {groups: @@4}",
            "[6, 8]",
            "4 groups do not divide 6 channels",
            "these do: 1, 2, 3, 6",
        ),
        (
            "normalize: {mean: @@[0.5], std: [1]}",
            "[3, 8]",
            "`mean` has 1 entry, and the input has 3 channels",
            "one for each",
        ),
        (
            "@@group_norm: {groups: 6}",
            "[6]",
            "`group_norm` of 6 would take each variance over one element, so that it is 0 and "
            "nothing of the input is left",
            "fewer than 6 groups have several channels each",
        ),
        (
            "mean: {axes: @@length}",
            "[3, 8, 9]",
            "`axes` names `length`, which the input does not have",
            "its axes are `channels` and `height` and `width`",
        ),
    ],
)
def test_messages(layer: str, input: str, message: str, help: str) -> None:
    found = check_marked(spec(layer, input=input), "shape-mismatch")
    assert (found.message, found.help) == (message, help)


# --- gradients that are zero by construction ---------------------------------------------------

CONV = "conv: {filters: 4, kernel: 3}"


@pytest.mark.parametrize(
    ("before", "norm", "null"),
    [
        (CONV, "batch_norm", True),
        (CONV, "instance_norm", True),
        (CONV, "instance_norm: {affine: true}", True),
        (CONV, "group_norm: {groups: 4}", True),
        (CONV, "group_norm: {groups: 2}", False),
        (CONV, "layer_norm", False),
        (CONV, "layer_norm: {axes: C}", False),
        (CONV, "layer_norm: {axes: space}", True),
        (CONV, "layer_norm: {axes: width}", True),
        ("conv: {filters: 1, kernel: 3}", "layer_norm", True),
        ("layer_norm: {axes: width}", "layer_norm: {axes: C}", True),
        ("layer_norm: {axes: width}", "layer_norm: {axes: height}", True),
        ("layer_norm: {axes: width}", "instance_norm", False),
        ("layer_norm: {axes: width}", "batch_norm", False),
        ("instance_norm: {affine: true}", "batch_norm", True),
        ("group_norm: {groups: 1}", "instance_norm", True),
        ("conv: {filters: 4, kernel: 3, bias: false}", "instance_norm", False),
    ],
)
def test_a_bias_that_a_norm_takes_away(before: str, norm: str, null: bool) -> None:
    """The rule, the warning, and the gradient itself."""
    found = built(spec(before, norm, "tanh", input="[3, 9, 8]"))
    network = found.graph
    name = f"{network.nodes[0].id}.bias"
    assert network.null_gradients() == (frozenset({name}) if null else frozenset())
    assert [w.code for w in found.warnings] == (["bias-before-norm"] if null else [])
    if name not in network.params():
        return
    session = opened(network)["numpy"]
    sample = samples.sample(network, 0, 0, 5)
    gradients = session.gradients(sample.inputs, cotangents=sample.cotangents).parameters
    # Where the second norm takes the first one's scale away, the weight's gradient is small too.
    assert (np.abs(gradients[name]).max() < 1e-12) == null


def test_the_warning_names_the_norm() -> None:
    (warning,) = built(spec(CONV, "instance_norm")).warnings
    assert warning.message == (
        "the bias of `conv1` has no effect: the instance norm behind it takes it away"
    )
    assert (warning.code, *place(warning), warning.help) == (
        "bias-before-norm",
        4,
        3,
        "`bias: false`",
    )


def test_adaptive_steps_of_a_null_bias_are_named_and_not_judged() -> None:
    train = "train: {loss: mean_squared_error, optimizer: {adam: {lr: 0.01}}}\n"
    network = graph(spec(CONV, "instance_norm", "flatten", input="[3, 6, 5]", more=train))
    report = check(network, backends=BACKENDS, in_process=True, dtype="float64", steps=2)
    assert report
    (only,) = report.specs
    assert "not comparable after steps: `conv1.bias`" in only.notes


# --- words and reaches -------------------------------------------------------------------------


def test_explain_shows_the_bins() -> None:
    network = layers("adaptive_avg_pool: {size: [3, 4]}", input="[2, 7, 8]")
    short = explain(network)
    assert "height: bins [floor(i * 7 / 3), ceil((i + 1) * 7 / 3)): 0-2, 2-4, 4-6" in short
    assert "width: bins [floor(i * 8 / 4), ceil((i + 1) * 8 / 4)): 0-1, 2-3, 4-5, 6-7" in short
    long = explain(network, "adaptive_avg_pool1")
    assert "along height, 3 bins of 7 elements: bin i goes from floor(i * 7 / 3)" in long
    assert "up to, not including, ceil((i + 1) * 7 / 3)" in long
    assert "bin 1: floor(7 / 3) = 2 to ceil(14 / 3) - 1 = 4, 3 elements" in long
    assert "neighbouring bins share elements" in long
    assert "8 / 4 = 2: 2 elements in each bin, none in two" in long


def test_explain_of_many_bins_is_short() -> None:
    network = layers("adaptive_max_pool: {size: 1000}", input="[1, 3]")
    assert len(explain(network).splitlines()) < 8
    assert len(explain(network, "adaptive_max_pool1")) < 2500


@pytest.mark.parametrize(
    ("layer", "words"),
    [
        ("layer_norm: {axes: C}", "over 3 elements, 72 times in each sample"),
        ("layer_norm", "over 3 * 8 * 9 = 216 elements, once in each sample"),
        ("group_norm: {groups: 3}", "over 1 * 8 * 9 = 72 elements, 3 times in each sample"),
        ("instance_norm", "over 8 * 9 = 72 elements, 3 times in each sample"),
        ("local_response_norm: {size: 4}", "divided by what c - 2 to c + 1 have"),
        ("mean: {axes: [channels, width]}", "each 3 * 9 = 27 elements become one"),
    ],
)
def test_explain_says_what_is_put_together(layer: str, words: str) -> None:
    network = layers(layer, input="[3, 8, 9]")
    assert words in explain(network, network.nodes[0].id)


def reach(layer: str, input: str) -> tuple[Reach | None, ...]:
    network = layers(layer, input=input)
    return receptive_fields(network)[network.nodes[0].id]["input"]


def test_receptive_fields() -> None:
    assert reach("adaptive_avg_pool: {size: 4}", "[1, 8]") == (Reach(2, 2, 0),)
    (uneven,) = reach("adaptive_max_pool: {size: 3}", "[1, 7]")
    assert uneven is not None
    assert (uneven.size, uneven.start) == (3, 0)
    assert reach("mean: {axes: height}", "[1, 7, 5]") == (Reach(7, 0, 0), Reach(1, 1, 0))
    assert reach("layer_norm: {axes: C}", "[2, 7, 5]") == (Reach(1, 1, 0), Reach(1, 1, 0))
    assert reach("instance_norm", "[1, 7, 5]") == (Reach(7, 0, 0), Reach(5, 0, 0))
    assert reach("group_norm: {groups: 2}", "[2, 7]") == (Reach(7, 0, 0),)
