"""The published architectures: their figures, and the state-dict keys of torchvision 0.28.

The keys are written down from the definitions there, with nothing taken from cnnspec: a published
state dict, less `num_batches_tracked`, loads with no renaming.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

import pytest

from cnnspec import backends
from cnnspec.backends import program
from cnnspec.cli import main
from cnnspec.ops.dropout import Dropout
from cnnspec.ops.norm import BatchNorm
from cnnspec.ops.pool import AvgPool
from cnnspec.summary import summarize
from tests.networks import SPECS, graph_of


class Figures(NamedTuple):
    """Scalars that are trained, running statistics, and MACs for one image in inference."""

    trainable: int
    statistics: int
    macs: int


PUBLISHED = {
    "alexnet": Figures(61_100_840, 0, 714_188_480),
    "vgg16": Figures(138_357_544, 0, 15_470_264_320),
    "googlenet": Figures(13_004_888, 15_072, 1_498_376_192),
    "inception_v3": Figures(27_161_264, 36_224, 5_713_216_096),
    "resnet18": Figures(11_689_512, 9_600, 1_814_073_344),
    "resnet34": Figures(21_797_672, 17_024, 3_663_761_408),
    "resnet50": Figures(25_557_032, 53_120, 4_089_184_256),
    "resnet101": Figures(44_549_160, 105_344, 7_801_405_440),
    "resnet152": Figures(60_192_808, 151_424, 11_513_626_624),
    "squeezenet1_1": Figures(1_235_496, 0, 349_151_936),
    "densenet121": Figures(7_978_856, 83_648, 2_834_161_664),
    "densenet161": Figures(28_681_000, 219_936, 7_727_907_072),
    "shufflenet_v2_x1_0": Figures(2_278_604, 16_180, 144_907_992),
    "mobilenet_v2": Figures(3_504_872, 34_112, 300_774_272),
    "mobilenet_v3_small": Figures(2_542_856, 12_112, 56_510_400),
    "alphago_zero": Figures(22_827_877, 19_974, 8_105_976_564),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_figures(name: str) -> None:
    found = summarize(graph_of(SPECS[name])).totals
    assert (found.trainable, found.running_statistics, found.macs) == PUBLISHED[name]


def test_alexnet_as_in_the_table() -> None:
    # 96 11x11 on 227x227, 55x55 positions; 256 5x5 over 27x27; 384, 384, 256 3x3 over 13x13.
    convolutions = (55**2 * 96 * 3 * 121) + (27**2 * 256 * 96 * 25)
    convolutions += 13**2 * 9 * (256 * 384 + 384 * 384 + 384 * 256)
    dense = 256 * 36 * 4096 + 4096 * 4096 + 4096 * 1000
    found = summarize(graph_of(SPECS["alexnet_table"])).totals
    assert (found.trainable, found.running_statistics) == (62_378_344, 0)
    assert found.macs == convolutions + dense


@pytest.mark.parametrize(
    ("name", "without", "macs_with"),
    [
        ("googlenet", Figures(6_624_904, 14_560, 1_498_376_192), 1_506_748_416),
        ("inception_v3", Figures(23_834_568, 34_432, 5_713_216_096), 5_718_899_296),
    ],
)
def test_auxiliary_heads_count_in_training_only(
    name: str, without: Figures, macs_with: int
) -> None:
    found = summarize(graph_of(SPECS[name]))
    inference = found.inference
    assert (inference.trainable, inference.running_statistics, inference.macs) == without
    trainable, statistics, _ = PUBLISHED[name]
    training = found.training
    assert (training.trainable, training.running_statistics) == (trainable, statistics)
    assert training.macs == macs_with


def test_command_prints_the_figures_of_resnet152(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["summary", str(SPECS["resnet152"]), "--format", "json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["trainable"] == 60_192_808
    assert found["running_statistics"] == 151_424
    assert found["macs"] == 11_513_626_624


@pytest.mark.parametrize("name", PUBLISHED)
def test_conventions_that_no_count_shows(name: str) -> None:
    nodes = graph_of(SPECS[name]).nodes
    eps = 1e-5
    if name.startswith(("googlenet", "inception", "mobilenet_v3")):
        eps = 1e-3
    momentum = 0.01 if name == "mobilenet_v3_small" else 0.1
    norms = [node.op for node in nodes if isinstance(node.op, BatchNorm)]
    assert {(op.eps, op.momentum) for op in norms} <= {(eps, momentum)}
    dropped = {
        "alexnet": [0.5, 0.5],
        "vgg16": [0.5, 0.5],
        "googlenet": [0.2, 0.7, 0.7],
        "inception_v3": [0.5],
        "squeezenet1_1": [0.5],
        "mobilenet_v2": [0.2],
        "mobilenet_v3_small": [0.2],
    }
    assert [n.op.p for n in nodes if isinstance(n.op, Dropout)] == dropped.get(name, [])
    # Padding counts in the averages of Inception v3; the other averages have none.
    for node in nodes:
        if isinstance(node.op, AvgPool):
            pads = node.op.pads(node.input_shapes[0])
            assert node.op.count_include_pad == any(map(any, pads)), node.id


def test_small_networks_are_small() -> None:
    figures = {
        name: summarize(graph_of(SPECS[name])).totals.trainable
        for name in ("unet", "resnet1d", "resnet3d")
    }
    # Of the residual network for time series: convolutions of 8, 5 and 3, norms, and 5 classes.
    wide = 128 * 128
    first = 64 * 8 + 64 * 64 * (5 + 3) + 64 + 4 * 2 * 64
    second = 64 * 128 * 8 + wide * (5 + 3) + 64 * 128 + 4 * 2 * 128
    third = wide * (8 + 5 + 3) + 4 * 2 * 128
    assert figures["resnet1d"] == first + second + third + 128 * 5 + 5
    assert figures["unet"] == 1_942_306
    assert figures["resnet3d"] == 2_082_564


# --- names -------------------------------------------------------------------------------------


def layer(*names: str, bias: bool = True) -> Iterator[str]:
    """Keys of convolutions and dense layers."""
    for name in names:
        yield f"{name}.weight"
        if bias:
            yield f"{name}.bias"


def norm(*names: str) -> Iterator[str]:
    """Keys of batch norms."""
    for name in names:
        for key in ("weight", "bias", "running_mean", "running_var"):
            yield f"{name}.{key}"


def conv_norm(*names: str) -> Iterator[str]:
    """Keys of `BasicConv2d`, and of Sequential(conv, norm) with `0` and `1` for its names."""
    for name in names:
        yield from layer(f"{name}.conv", bias=False)
        yield from norm(f"{name}.bn")


def pair(name: str, start: int = 0) -> Iterator[str]:
    """Keys of a convolution without bias and its norm, at two positions of a Sequential."""
    yield from layer(f"{name}.{start}", bias=False)
    yield from norm(f"{name}.{start + 1}")


def alexnet() -> Iterator[str]:
    yield from layer(*(f"features.{i}" for i in (0, 3, 6, 8, 10)))
    yield from layer(*(f"classifier.{i}" for i in (1, 4, 6)))


def vgg16() -> Iterator[str]:
    position = 0
    for convolutions in (2, 2, 3, 3, 3):
        for _ in range(convolutions):
            yield from layer(f"features.{position}")
            position += 2
        position += 1
    yield from layer("classifier.0", "classifier.3", "classifier.6")


def resnet(depths: tuple[int, ...], convolutions: int) -> Iterator[str]:
    yield from layer("conv1", bias=False)
    yield from norm("bn1")
    for stage, depth in enumerate(depths, start=1):
        for i in range(depth):
            block = f"layer{stage}.{i}"
            for j in range(1, convolutions + 1):
                yield from layer(f"{block}.conv{j}", bias=False)
                yield from norm(f"{block}.bn{j}")
            # A basic block of the first stage gets the 64 channels that it has.
            if i == 0 and (stage > 1 or convolutions == 3):
                yield from pair(f"{block}.downsample")
    yield from layer("fc")


def googlenet() -> Iterator[str]:
    yield from conv_norm("conv1", "conv2", "conv3")
    for name in ("3a", "3b", "4a", "4b", "4c", "4d", "4e", "5a", "5b"):
        for branch in ("branch1", "branch2.0", "branch2.1", "branch3.0", "branch3.1", "branch4.1"):
            yield from conv_norm(f"inception{name}.{branch}")
    for head in ("aux1", "aux2"):
        yield from conv_norm(f"{head}.conv")
        yield from layer(f"{head}.fc1", f"{head}.fc2")
    yield from layer("fc")


def inception_v3() -> Iterator[str]:
    for stem in ("1a_3x3", "2a_3x3", "2b_3x3", "3b_1x1", "4a_3x3"):
        yield from conv_norm(f"Conv2d_{stem}")
    doubled = ["branch3x3dbl_1", "branch3x3dbl_2", "branch3x3dbl_3"]
    a = ["branch1x1", "branch5x5_1", "branch5x5_2", *doubled, "branch_pool"]
    b = ["branch3x3", *doubled]
    sevens = [f"branch7x7_{i}" for i in (1, 2, 3)] + [f"branch7x7dbl_{i}" for i in range(1, 6)]
    c = ["branch1x1", *sevens, "branch_pool"]
    d = ["branch3x3_1", "branch3x3_2"] + [f"branch7x7x3_{i}" for i in (1, 2, 3, 4)]
    splits = [f"{branch}{half}" for branch in ("branch3x3_2", "branch3x3dbl_3") for half in "ab"]
    e = ["branch1x1", "branch3x3_1", "branch3x3dbl_1", "branch3x3dbl_2", *splits, "branch_pool"]
    blocks = {"5b": a, "5c": a, "5d": a, "6a": b, "6b": c, "6c": c, "6d": c, "6e": c}
    for name, branches in (blocks | {"7a": d, "7b": e, "7c": e}).items():
        yield from conv_norm(*(f"Mixed_{name}.{branch}" for branch in branches))
    yield from conv_norm("AuxLogits.conv0", "AuxLogits.conv1")
    yield from layer("AuxLogits.fc", "fc")


def squeezenet1_1() -> Iterator[str]:
    yield from layer("features.0")
    for i in (3, 4, 6, 7, 9, 10, 11, 12):
        yield from layer(
            *(f"features.{i}.{part}" for part in ("squeeze", "expand1x1", "expand3x3"))
        )
    yield from layer("classifier.1")


def densenet(depths: tuple[int, ...]) -> Iterator[str]:
    yield from layer("features.conv0", bias=False)
    yield from norm("features.norm0", "features.norm5")
    for block, depth in enumerate(depths, start=1):
        for i in range(1, depth + 1):
            for part in (1, 2):
                name = f"features.denseblock{block}.denselayer{i}"
                yield from norm(f"{name}.norm{part}")
                yield from layer(f"{name}.conv{part}", bias=False)
        if block < len(depths):
            yield from norm(f"features.transition{block}.norm")
            yield from layer(f"features.transition{block}.conv", bias=False)
    yield from layer("classifier")


def shufflenet_v2_x1_0() -> Iterator[str]:
    yield from pair("conv1")
    yield from pair("conv5")
    for stage, repeats in ((2, 4), (3, 8), (4, 4)):
        for i in range(repeats):
            unit = f"stage{stage}.{i}"
            if i == 0:
                yield from itertools.chain(pair(f"{unit}.branch1"), pair(f"{unit}.branch1", 2))
            for start in (0, 3, 5):
                yield from pair(f"{unit}.branch2", start)
    yield from layer("fc")


def mobilenet_v2() -> Iterator[str]:
    yield from pair("features.0")
    # The first unit has no 1x1 convolution in front.
    yield from itertools.chain(pair("features.1.conv.0"), pair("features.1.conv", 1))
    for i in range(2, 18):
        unit = f"features.{i}.conv"
        yield from itertools.chain(pair(f"{unit}.0"), pair(f"{unit}.1"), pair(unit, 2))
    yield from pair("features.18")
    yield from layer("classifier.1")


def mobilenet_v3_small() -> Iterator[str]:
    yield from pair("features.0")
    for i in range(1, 12):
        parts = ["depthwise", "project"]
        if i not in (2, 3):
            parts.insert(1, "squeeze")
        if i != 1:
            parts.insert(0, "expand")
        for position, part in enumerate(parts):
            unit = f"features.{i}.block.{position}"
            yield from layer(f"{unit}.fc1", f"{unit}.fc2") if part == "squeeze" else pair(unit)
    yield from pair("features.12")
    yield from layer("classifier.0", "classifier.3")


KEYS: dict[str, Callable[[], Iterable[str]]] = {
    "alexnet": alexnet,
    "vgg16": vgg16,
    "googlenet": googlenet,
    "inception_v3": inception_v3,
    "resnet18": lambda: resnet((2, 2, 2, 2), 2),
    "resnet34": lambda: resnet((3, 4, 6, 3), 2),
    "resnet50": lambda: resnet((3, 4, 6, 3), 3),
    "resnet101": lambda: resnet((3, 4, 23, 3), 3),
    "resnet152": lambda: resnet((3, 8, 36, 3), 3),
    "squeezenet1_1": squeezenet1_1,
    "densenet121": lambda: densenet((6, 12, 24, 16)),
    "densenet161": lambda: densenet((6, 12, 36, 24)),
    "shufflenet_v2_x1_0": shufflenet_v2_x1_0,
    "mobilenet_v2": mobilenet_v2,
    "mobilenet_v3_small": mobilenet_v3_small,
}


@pytest.mark.parametrize("name", KEYS)
def test_names_are_those_of_published_state_dicts(name: str) -> None:
    keys = list(KEYS[name]())
    assert len(keys) == len(set(keys))
    assert set(graph_of(SPECS[name]).params()) == set(keys)


@pytest.mark.parametrize("name", KEYS)
def test_emitted_torch_module_has_the_same_names(name: str) -> None:
    torch = pytest.importorskip("torch")
    network = graph_of(SPECS[name])
    emitted = backends.get("torch").emit(network)
    own = program.Program(emitted.text, f"{name} torch")
    try:
        with torch.device("meta"):  # which allocates and draws nothing
            state = getattr(own.run(), emitted.entry)().state_dict()
    finally:
        own.close()
    shapes = {key: tuple(value.shape) for key, value in state.items()}
    shapes = {k: v for k, v in shapes.items() if not k.endswith("num_batches_tracked")}
    assert shapes == {key: param.shape for key, param in network.params().items()}
