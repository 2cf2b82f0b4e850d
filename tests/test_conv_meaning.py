"""What numbers of transposed, depthwise and separable convolutions mean, and mistakes in them."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cnnspec.backends import Style, get
from cnnspec.check import samples
from cnnspec.explain import explain
from cnnspec.initializers import initial_weights
from cnnspec.ops.base import Op, Shape
from cnnspec.ops.conv_transpose import ConvTranspose
from cnnspec.ops.depthwise_conv import DepthwiseConv, SeparableConv
from cnnspec.window import TransposedWindow, resolve_crops
from tests.conv_networks import case, computed, graph_of
from tests.networks import BACKENDS, distance, layers
from tests.spec_errors import built, check_marked, spec

each_op = pytest.mark.parametrize(
    "op", [ConvTranspose, DepthwiseConv, SeparableConv], ids=lambda op: op.key
)
each_backend = pytest.mark.parametrize("backend", BACKENDS)


# --- the meaning of the numbers -----------------------------------------------------------------


@pytest.mark.parametrize("rank", [1, 2, 3])
@pytest.mark.parametrize(
    ("kernel", "stride", "padding", "more", "dilation"),
    [(3, 2, 1, 1, 1), (4, 2, 1, 0, 1), (3, 1, 2, 0, 1), (2, 3, 0, 2, 1), (3, 2, 1, 1, 2)],
)
def test_numbers_are_those_of_torch(
    rank: int, kernel: int, stride: int, padding: int, more: int, dilation: int
) -> None:
    torch = pytest.importorskip("torch")
    fields = {"kernel": kernel, "stride": stride, "padding": padding, "output_padding": more}
    shape = (4, 5, 4, 3)[: rank + 1]
    network = graph_of(
        ConvTranspose, shape, {"filters": 6, "groups": 2, "dilation": dilation, **fields}
    )
    weights = {k: torch.tensor(v) for k, v in samples.weights(network, 0).items()}
    x = torch.tensor(samples.sample(network, 0, 0, 3).inputs["input"])
    convolve = getattr(torch.nn.functional, f"conv_transpose{rank}d")
    wanted = convolve(
        x, weights["layer.weight"], weights["layer.bias"], stride, padding, more, 2, dilation
    )
    found = computed(network, "numpy", "float64")["output"]
    assert distance(wanted.numpy(), found) < 1e-14
    text = get("torch").emit(network).text
    assert f"self.layer = nn.ConvTranspose{rank}d(" in text


@pytest.mark.parametrize("rank", [1, 2, 3])
@pytest.mark.parametrize("padding", ["same", "valid"])
@pytest.mark.parametrize(
    ("kernel", "stride", "more"),
    [(3, 2, None), (4, 2, None), (2, 3, None), (3, 1, None), (5, 3, 1), (1, 2, 0), (2, 2, 1)],
)
def test_words_are_those_of_keras(
    rank: int, padding: str, kernel: int, stride: int, more: int | None
) -> None:
    pytest.importorskip("torch")  # before TensorFlow, which does not bear the other order
    keras = pytest.importorskip("keras")
    fields: dict[str, Any] = {"kernel": kernel, "stride": stride, "padding": padding}
    if more is not None:
        fields["output_padding"] = more
    network = graph_of(ConvTranspose, (2, 5, 4, 3)[: rank + 1], {"filters": 3, **fields})
    weights = samples.weights(network, 0)
    layer = getattr(keras.layers, f"Conv{rank}DTranspose")(
        3, kernel, stride, padding, output_padding=more, dtype="float64"
    )
    x = np.moveaxis(samples.sample(network, 0, 0, 3).inputs["input"], 1, -1)
    layer.build(x.shape)
    layer.set_weights(
        [np.moveaxis(weights["layer.weight"], (0, 1), (-1, -2)), weights["layer.bias"]]
    )
    wanted = np.moveaxis(np.asarray(layer(keras.ops.convert_to_tensor(x, "float64"))), -1, 1)
    assert distance(wanted, computed(network, "numpy", "float64")["output"]) < 1e-14
    if more is None:
        assert "output_padding" not in get("keras").emit(network).text
        assert "Cropping" not in get("keras").emit(network).text


def test_a_shift_of_one_between_torch_and_keras() -> None:
    """Padding 1 and output padding 1 have the shape of `same`, and other values."""
    torch = TransposedWindow((3,), (2,), (1,), resolve_crops(1, (1,), (3,), (2,), (1,)))
    keras = TransposedWindow((3,), (2,), (1,), resolve_crops("same", None, (3,), (2,), (1,)))
    assert torch.output((5,)) == keras.output((5,)) == (10,)
    assert (torch.crops, keras.crops) == (((1, 0),), ((0, 1),))
    with pytest.raises(ValueError, match="full"):
        resolve_crops("full", None, (3,), (2,), (1,))


@pytest.mark.parametrize(
    ("layer", "input", "shapes", "macs"),
    [
        ("conv_transpose: {filters: 6, kernel: [3, 5], groups: 2}", "[4, 5, 6]",
         {"weight": (4, 3, 3, 5), "bias": (6,)}, 4 * 5 * 6 * 3 * 15),
        ("depthwise_conv: {kernel: [3, 5], multiplier: 2}", "[3, 5, 6]",
         {"weight": (6, 1, 3, 5), "bias": (6,)}, 6 * 3 * 2 * 15),
        ("separable_conv: {filters: 7, kernel: [3, 5], multiplier: 2}", "[3, 5, 6]",
         {"depthwise.weight": (6, 1, 3, 5), "pointwise.weight": (7, 6, 1, 1),
          "pointwise.bias": (7,)}, 6 * 3 * 2 * 15 + 7 * 3 * 2 * 6),
    ],
)  # fmt: skip
def test_parameters_and_work(layer: str, input: str, shapes: dict[str, Shape], macs: int) -> None:
    network = layers(layer, input=input)
    (node,) = network.nodes
    assert {param.name: param.shape for param in node.params} == shapes
    assert network.macs(node) == macs


def test_fans_are_those_that_torch_sees() -> None:
    network = layers(
        "conv_transpose: {filters: 6, kernel: [3, 5]}",
        "depthwise_conv: {kernel: [3, 5], multiplier: 2}",
        "separable_conv: {filters: 7, kernel: [3, 5], multiplier: 2}",
        input="[4, 9, 8]",
    )
    fans = {name: (p.fan_in, p.fan_out) for name, p in network.params().items()}
    assert fans["conv_transpose1.weight"] == (90, 60)
    assert fans["depthwise_conv1.weight"] == (15, 12 * 15)
    assert fans["separable_conv1.depthwise.weight"] == (15, 24 * 15)
    assert fans["separable_conv1.pointwise.weight"] == (24, 7)


INITIAL = (
    "conv_transpose: {name: t, filters: 64, kernel: 3, weight_init: INIT}",
    "depthwise_conv: {name: d, kernel: 3, multiplier: 8, weight_init: INIT}",
    "separable_conv: {name: s, filters: 96, kernel: 3, multiplier: 2, depthwise_init: INIT, "
    "pointwise_init: INIT}",
    "separable_conv: {name: u, filters: 40, kernel: 5, stride: [1, 2], weight_init: INIT}",
)


@each_backend
@pytest.mark.parametrize("init", ["he_normal", "glorot_uniform", "torch_default", "orthogonal"])
def test_initial_values(backend: str, init: str) -> None:
    """The framework's own generator, the spec's distribution."""
    network = layers(*(line.replace("INIT", init) for line in INITIAL), input="[48, 9, 8]")
    session = get(backend).open(get(backend).emit(network))
    found, drawn = session.weights(), initial_weights(network)
    session.close()
    for name, param in network.params().items():
        if not name.endswith("weight"):
            assert (found[name] == 0).all()
            continue
        value, wanted = found[name], drawn[name]
        if init == "orthogonal":
            matrix = value.reshape(len(value), -1)
            short = matrix if len(matrix) <= matrix.shape[1] else matrix.T
            assert np.abs(short @ short.T - np.eye(len(short))).max() < 1e-6, name
            continue
        assert value.std() == pytest.approx(wanted.std(), rel=0.08), name
        assert abs(value.mean()) < 6 * value.std() / math.sqrt(param.size), name
        if init != "he_normal":  # uniform
            assert np.abs(value).max() == pytest.approx(np.abs(wanted).max(), rel=0.05), name


# --- Keras --------------------------------------------------------------------------------------


def test_keras_uses_its_own_layers_where_they_are_exact() -> None:
    text = (
        get("keras")
        .emit(
            layers(
                "conv_transpose: {filters: 6, kernel: 3, stride: 2, padding: same}",
                "conv_transpose: {filters: 6, kernel: 4, stride: 2, padding: 1}",
                "conv_transpose: {filters: 6, kernel: 3, stride: 2, padding: 1, output_padding: 1}",
                "depthwise_conv: {kernel: 3, multiplier: 2, stride: 2, padding: same}",
                "separable_conv: {filters: 6, kernel: 3, padding: 1}",
                "conv: {filters: 6, kernel: 1, groups: 2}",
            )
        )
        .text
    )
    body = "".join(text.partition("def build_model")[2].split())
    for wanted in (
        'layers.Conv2DTranspose(6,3,strides=2,padding="same",',
        'layers.Conv2DTranspose(6,4,strides=2,padding="same",',
        'layers.Cropping2D(((1,0),(1,0)),name="conv_transpose3.crop")',
        'layers.DepthwiseConv2D(3,strides=2,padding="same",depth_multiplier=2,',
        'layers.SeparableConv2D(6,3,padding="same",',
        "GroupedConv2D(6,1,groups=2,",
    ):
        assert wanted in body, wanted
    native = get("keras").emit(
        layers("conv: {filters: 6, kernel: 1, groups: 2}", input="[4, 9, 8]"),
        Style(layers="native"),
    )
    assert "layers.Conv2D(" in native.text
    assert "GroupedConv2D" not in native.text


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
@pytest.mark.parametrize(
    "name",
    [
        "strides and dilation with groups",
        "few channels in a group",
        "flipped groups in one axis",
        "depthwise in depth",
        "separable with unequal strides",
    ],
)
def test_helper_layers_are_saved_with_the_model(name: str, tmp_path: Path) -> None:
    pytest.importorskip("torch")  # before TensorFlow, which does not bear the other order
    keras = pytest.importorskip("keras")
    network = case(name)
    session: Any = get("keras").open(get("keras").emit(network))
    inputs = dict(samples.sample(network, 0, 0, 3).inputs)
    wanted = session.forward(inputs)["output"]
    session.model.save(tmp_path / "model.keras")
    session.model = keras.saving.load_model(tmp_path / "model.keras")
    assert (session.forward(inputs)["output"] == wanted).all()
    session.close()


# --- explanations and remarks -------------------------------------------------------------------


def explained(layer: str, input: str) -> list[str]:
    network = built(spec(layer, input=input)).graph
    return [line.strip() for line in explain(network, network.nodes[0].id).splitlines()]


@pytest.mark.parametrize(
    ("layer", "line"),
    [
        ("conv_transpose: {filters: 6, kernel: 3, stride: 2, padding: 1, output_padding: 1}",
         "(5 - 1) * 2 + 3 - 1 - 0 = 10"),
        ("conv_transpose: {filters: 6, kernel: 3, stride: 2, padding: 1, output_padding: 1}",
         "1               1      10  n * s  <- this layer"),
        ("conv_transpose: {filters: 6, kernel: 3, stride: 2, padding: 1, output_padding: 1}",
         "kernel: 1 -> 8, 2 -> 9, 4 -> 11, 5 -> 12"),
        ("conv_transpose: {filters: 6, kernel: 3, stride: 2, padding: 1, output_padding: 1}",
         "stride: 1 -> 6, 3 -> 14, 4 -> 18"),
        ("conv_transpose: {filters: 6, kernel: 2, stride: 3, padding: valid}",
         "(5 - 1) * 3 + 2 - 0 + 1 = 15"),
        ("conv_transpose: {filters: 6, kernel: 2, stride: 3, padding: valid}",
         "appended: 1 at the end, which no window writes"),
        ("conv_transpose: {filters: 6, kernel: 2, stride: 3, padding: valid}",
         "the windows leave gaps of 1 between them, as the stride is above their span"),
        ("conv_transpose: {filters: 6, kernel: 5, stride: 2, padding: same}",
         "`same` wants n * s = 5 * 2 = 10"),
        ("conv_transpose: {filters: 6, kernel: 5, stride: 2, padding: same}",
         "cropped: 1 at the start and 2 at the end"),
        ("conv_transpose: {filters: 6, kernel: 3, groups: 2}",
         "2 groups: each of 4 channels adds to 3 of 6 filters"),
        ("conv_transpose: {filters: 6, kernel: 3}",
         "multiply-accumulates for each sample: 360 = 4 * 5 inputs, 3 * 6 each"),
        ("conv_transpose: {filters: 6, kernel: 3, stride: 2}",
         "receptive field: 2 of `input`, moving by 1/2, the first from -1 (1 of it without the "
         "padding)"),
        ("depthwise_conv: {kernel: 3, multiplier: 2}", "2 filters for each of 4 channels"),
        ("depthwise_conv: {kernel: 3}", "floor((5 + 0 + 0 - 3) / 1) + 1 = 3"),
        ("separable_conv: {filters: 7, kernel: 3, multiplier: 2}",
         "each of 4 channels is convolved by itself, and 7 filters read the 4 * 2 = 8 channels "
         "in between"),
        ("separable_conv: {filters: 7, kernel: 3, multiplier: 2}",
         "multiply-accumulates for each sample: 240 = 8 * 3 values in between, 3 each, and 7 * 3 "
         "outputs, 8 each"),
    ],
)  # fmt: skip
def test_explanations(layer: str, line: str) -> None:
    assert line in explained(layer, "[4, 5]")


def test_a_bias_in_front_of_a_batch_norm_is_pointless() -> None:
    """That of a separable convolution has a longer name."""
    for layer, name in (
        ("separable_conv: {name: c, filters: 4, kernel: 3}", "c.pointwise.bias"),
        ("depthwise_conv: {name: c, kernel: 3}", "c.bias"),
        ("conv_transpose: {name: c, filters: 4, kernel: 3}", "c.bias"),
    ):
        found = built(spec(layer, "batch_norm", "relu"))
        assert found.graph.null_gradients() == {name}
        (warning,) = found.warnings
        assert (warning.code, warning.help) == ("bias-before-norm", "`bias: false`")
        assert "`c`" in warning.message


def test_unread_elements_warn() -> None:
    found = built(spec("separable_conv: {filters: 4, kernel: 3, stride: 2}", input="[3, 6]"))
    assert [w.code for w in found.warnings] == ["unread"]


# --- mistakes -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("layer", "code", "message", "help"),
    [
        ("conv_transpose: {filters: 4, kernel: 3, stride: 2, output_padding: @@2}",
         "shape-mismatch",
         "output padding of 2 along height, where the stride is 2 and the dilation 1",
         "it has to be below one of them, so at most 1"),
        ("conv_transpose: {filters: 4, kernel: 3, stride: [2, 3], output_padding: @@[1, 3]}",
         "shape-mismatch",
         "output padding of 3 along width, where the stride is 3 and the dilation 1",
         "it has to be below one of them, so at most 2"),
        ("conv_transpose: {filters: 4, kernel: 3, output_padding: @@[0]}", "shape-mismatch",
         "`output_padding` has 1 entry, and the input has 2 spatial axes", "give one number, or 2"),
        ("conv_transpose: {filters: 4, kernel: 3, padding: @@4}", "shape-mismatch",
         "padding crops 4 and 4 of the 7 elements along height (input 5x9: (5 - 1) * 1 + 3 = 7)",
         "crop at most 6 of them altogether"),
        ("conv_transpose: {filters: 4, kernel: 1, padding: @@[[5, 0], 0]}", "bad-value",
         "`padding` of `conv_transpose`: expected a word, a number, one number per axis, or one "
         "[before, after] pair per axis", ""),
        ("conv_transpose: {filters: 4, kernel: 3, padding: @@full}", "bad-value",
         "`padding` of `conv_transpose`: unknown padding `full`",
         "there is `valid`, `same`, a number, one number per axis, or one [before, after] pair "
         "per axis"),
        ("conv_transpose: {filters: 4, kernel: 3, output_padding: @@-1}", "out-of-range",
         "`output_padding` of `conv_transpose`: -1 is below 0", ""),
        ("conv_transpose: {filters: 4, kernel: 3, groups: @@2}", "shape-mismatch",
         "the input's 3 channels cannot be divided into 2 groups",
         "3 and 4 can both be divided by 1"),
        ("depthwise_conv: {kernel: @@6}", "shape-mismatch",
         "kernel 6 does not fit into 5 (input 5x9, height: 5 + 0 + 0 padding)",
         "padding: 1 gives an output, or a kernel that spans at most 5"),
        ("depthwise_conv: {kernel: 3, padding: 6, padding_mode: @@reflect}", "shape-mismatch",
         "reflect padding of 6 on an axis of 5",
         "reflect padding reaches at most 4 beyond this axis"),
        ("separable_conv: {filters: 2, kernel: @@[3, 10]}", "shape-mismatch",
         "kernel 10 does not fit into 9 (input 5x9, width: 9 + 0 + 0 padding)",
         "padding: 1 gives an output, or a kernel that spans at most 9"),
        ("separable_conv: {filters: 2, kernel: 3, bias_init: @@orthogonal}", "shape-mismatch",
         "`orthogonal` starts a matrix, and this `bias` is a vector",
         "`normal` or `uniform` start a vector at random"),
    ],
)  # fmt: skip
def test_mistakes(layer: str, code: str, message: str, help: str) -> None:
    found = check_marked(spec(layer, input="[3, 5, 9]"), code)
    assert (found.message, found.help) == (message, help)


@each_op
def test_vectors_have_no_space(op: type[Op]) -> None:
    fields = "filters: 2, kernel: 1" if "filters" in op.model_fields else "kernel: 1"
    found = check_marked(spec(f"@@{op.key}: {{{fields}}}", input="[3]"), "shape-mismatch")
    assert "needs an input with 1 to 3 spatial axes" in found.message


def test_everything_may_be_cropped_but_one_element() -> None:
    network = layers(
        "conv_transpose: {name: layer, filters: 2, kernel: 3, padding: [[6, 0]]}", input="[3, 5]"
    )
    assert network.nodes[0].shape == (2, 1)
    wanted = computed(network, "numpy", "float64")
    for backend in ("torch", "keras"):
        found = computed(network, backend, "float64")
        assert all(distance(value, found[key]) < 1e-13 for key, value in wanted.items())


def test_zeros_alone_are_no_output() -> None:
    """Here the appended element would be all that is left."""
    layer = (
        "conv_transpose: {filters: 2, kernel: 1, stride: 2, padding: @@[[5, 0]], output_padding: 1}"
    )
    check_marked(spec(layer, input="[3, 3]"), "shape-mismatch")


def test_too_many_channels_are_refused() -> None:
    text = spec("@@depthwise_conv: {kernel: 1, multiplier: 2147483647}", input="[3, 5]")
    check_marked(text, "too-large")


@pytest.mark.parametrize(
    "layer",
    [
        "conv: {filters: 2, kernel: 3, stride: 2, padding: same",
        "depthwise_conv: {kernel: 3, stride: 2, padding: same",
        "separable_conv: {filters: 2, kernel: 3, stride: 2, padding: same",
    ],
)
def test_pads_that_follow_the_size_are_not_shared(layer: str) -> None:
    text = spec(
        f"{layer}, name: one, from: left}}",
        f"{layer}, name: two, from: right, share: @@one}}",
        input="{left: [3, 6], right: [3, 7]}",
        more="outputs: {a: one, b: two}\n",
    )
    found = check_marked(text, "cannot-share")
    assert found.message == (
        "`one` pads [0, 1], and this layer would pad [1, 1], as its input has another size"
    )
