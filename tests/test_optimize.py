"""Networks for inference: what is left out, and that they compute what their originals do."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings

import cnnspec
from cnnspec.api import read
from cnnspec.check import samples
from cnnspec.cli import main
from cnnspec.diagnostics import DataError, SpecError
from cnnspec.expand import expand
from cnnspec.graph import Graph
from cnnspec.passes import fold as folds
from cnnspec.testing.blocks import block_networks
from cnnspec.testing.networks import specs, text_of
from cnnspec.weights import read_weights, write_weights
from tests.networks import BACKENDS, GOLDEN, SPECS, graph, graph_of, layers


def share(part: float) -> int:
    """So many of the profile's examples."""
    assert settings.default is not None
    return max(1, round(settings.default.max_examples * part))


def ids(network: Graph) -> list[str]:
    return [node.id for node in network.nodes]


def left(network: Graph) -> list[str]:
    """The layers of the optimized network, which is a network that a spec can say."""
    made = cnnspec.optimize(network)
    again = read(expand(made)).graph
    assert [(n.id, n.op, n.shape) for n in again.nodes] == [
        (n.id, n.op, n.shape) for n in made.nodes
    ]
    return ids(made)


def agree(network: Graph, *backends: str) -> None:
    """The optimized network is the same in these back ends, and what the original is."""
    report = cnnspec.check(
        network,
        backends=backends or ("numpy", "torch"),
        dtype="float64",
        steps=0,
        optimize="inference",
        in_process=True,
    )
    found = [c for c in report.specs[0].comparisons if c.mode == "optimized"]
    assert report, report.specs[0].first_difference
    assert {o.value.id for o in cnnspec.optimize(network).outputs} <= {c.node for c in found}


# --- what goes -----------------------------------------------------------------------------------

FOLDING = {
    "rank 2": (
        "[4, 9, 8]",
        [
            "conv: {filters: 6, kernel: 3, padding: same, stride: 2, groups: 2}",
            "batch_norm",
            "relu",
            "conv: {filters: 4, kernel: [1, 2], flip: true, bias: false, padding_mode: reflect,"
            " padding: [1, 0]}",
            "batch_norm: {affine: false, eps: 0.01}",
            "tanh",
            "conv_transpose: {filters: 6, kernel: 3, stride: 2, groups: 2, output_padding: 1}",
            "dropout",
            "batch_norm",
            "tanh",
            "depthwise_conv: {kernel: 2, multiplier: 2, bias: false}",
            "batch_norm",
            "layer_scale",
            "tanh",
            "separable_conv: {filters: 5, kernel: 2, multiplier: 3}",
            "batch_norm",
            "batch_norm: {eps: 0.5}",
            "flatten",
            "dense: {units: 7, bias: false}",
            "batch_norm",
        ],
    ),
    "rank 1": (
        "[4, 9]",
        [
            "conv: {filters: 6, kernel: 3, padding: causal, dilation: 2, groups: 2}",
            "batch_norm",
            "conv_transpose: {filters: 6, kernel: 2, stride: 3, groups: 3, padding: valid}",
            "batch_norm",
            "separable_conv: {filters: 3, kernel: 2, bias: false, stride: 2}",
            "batch_norm",
        ],
    ),
    "rank 3": (
        "[4, 3, 5, 4]",
        [
            "conv: {filters: 6, kernel: [1, 3, 2], groups: 2}",
            "batch_norm",
            "tanh",
            "conv_transpose: {filters: 4, kernel: 2, groups: 2, bias: false}",
            "batch_norm",
            "depthwise_conv: {kernel: [2, 2, 1]}",
            "batch_norm",
        ],
    ),
}


@pytest.mark.parametrize("name", FOLDING)
def test_norms_go_into_every_kind_of_layer(name: str) -> None:
    shape, lines = FOLDING[name]
    network = layers(*lines, input=shape)
    assert not any("norm" in id or "scale" in id or "dropout" in id for id in left(network))
    agree(network, *(BACKENDS if name == "rank 2" else ("numpy", "torch")))


STAYS = {
    "behind an activation": ["conv: {filters: 2, kernel: 1}", "relu", "batch_norm"],
    "where its input is read twice": [
        "conv: {name: c, filters: 3, kernel: 1}",
        "batch_norm: {name: b}",
        "add: {from: [b, c]}",
    ],
    "behind another number of channels": [
        "conv: {filters: 2, kernel: 1}",
        "flatten",
        "batch_norm",
    ],
    "in front of a layer": ["batch_norm", "conv: {filters: 2, kernel: 3, padding: 1}"],
    "behind weights that go without it elsewhere": [
        "conv: {name: c, filters: 3, kernel: 1}",
        "batch_norm",
        "tanh",
        "conv: {filters: 3, kernel: 1, share: c}",
    ],
    "behind weights that go with another": [
        "conv: {name: c, filters: 3, kernel: 1}",
        "batch_norm",
        "conv: {filters: 3, kernel: 1, share: c}",
        "batch_norm",
    ],
    "where it is used elsewhere": [
        "conv: {filters: 3, kernel: 1}",
        "batch_norm: {name: b}",
        "tanh",
        "batch_norm: {share: b}",
    ],
    "where not all instances go": [
        "conv: {name: c, filters: 3, kernel: 1}",
        "batch_norm: {name: b, repeat: 2, last: {eps: 0.1}}",
    ],
}


@pytest.mark.parametrize("name", STAYS)
def test_a_norm_stays(name: str) -> None:
    rest = "outputs: {a: c, b: b}\n" if name == "where not all instances go" else ""
    network = layers(*STAYS[name], rest=rest)
    assert left(network) == ids(network)
    agree(network)


def test_shared_layers_with_shared_norms_fold_once() -> None:
    network = layers(
        "conv: {name: c, filters: 3, kernel: 1}",
        "batch_norm: {name: b}",
        "tanh",
        "conv: {name: d, share: c, filters: 3, kernel: 1}",
        "batch_norm: {share: b}",
    )
    assert left(network) == ["c", "tanh1", "d"]
    agree(network)


IDENTITIES = [
    "dropout",
    "spatial_dropout",
    "alpha_dropout",
    "stochastic_depth: {p: 0.2}",
    "pad: {padding: 0}",
    "crop: {cropping: [0, 0]}",
    "rescale",
    "permute: {axes: [0, 1, 2]}",
    "channel_shuffle: {groups: 3}",
    "upsample: {scale: 1, mode: bilinear}",
    "pixel_shuffle: {factor: 1}",
    "pixel_unshuffle: {factor: 1}",
    "max_pool: {kernel: 1}",
    "avg_pool: {kernel: 1}",
    "sum_pool: {kernel: 1}",
    "normalize: {mean: [0.0, 0.0, 0.0], std: [1.0, 1.0, 1.0]}",
    "slice: {channels: [0, null], height: [null, null, 1]}",
]


def test_layers_that_pass_their_input_on_go() -> None:
    network = layers("tanh", *IDENTITIES, "flatten", "flatten", "sigmoid")
    assert left(network) == ["tanh1", "flatten1", "sigmoid1"]
    agree(network)


NO_IDENTITIES = [
    "lp_pool: {kernel: 1}",
    "channel_shuffle: {groups: 2}",
    "max_pool: {kernel: 1, stride: 2}",
    "rescale: {offset: 1.0}",
    "slice: {width: [0, -1]}",
    "permute: {axes: [0, 2, 1]}",
    "normalize: {mean: [0.0, 0.0, 0.0, 0.0], std: [1.0, 1.0, 1.0, 2.0]}",
    "pad: {padding: [[0, 1], [0, 0]]}",
]


@pytest.mark.parametrize("line", NO_IDENTITIES)
def test_a_layer_that_only_looks_like_it_stays(line: str) -> None:
    network = layers("tanh", line, input="[4, 5, 6]")
    assert left(network) == ids(network)


def test_an_output_is_the_value_of_a_layer() -> None:
    network = layers("dropout")
    assert left(network) == ["dropout1"]
    assert left(layers("tanh", "dropout", rest="outputs: {a: tanh1, b: dropout1}\n")) == ["tanh1"]


PADS = {
    "zeros into a convolution": (
        ["pad: {padding: [[1, 2], [0, 1]]}", "conv: {filters: 2, kernel: 3, padding: 1}"],
        ((2, 3), (1, 2)),
    ),
    "a pad into a pad": (
        [
            "pad: {padding: 1}",
            "dropout",
            "pad: {padding: [2, 0], mode: constant}",
            "depthwise_conv: {kernel: 3}",
        ],
        (3, 1),
    ),
    "same, which is no word for it any more": (
        ["pad: {padding: 1}", "separable_conv: {filters: 2, kernel: 3, padding: same}"],
        2,
    ),
    "a mirror where there was nothing": (
        ["pad: {padding: 2, mode: reflect}", "conv: {filters: 2, kernel: 3}"],
        2,
    ),
    "an edge and its edge": (
        [
            "pad: {padding: 2, mode: replicate}",
            "conv: {filters: 2, kernel: 3, padding: 1, padding_mode: replicate}",
        ],
        3,
    ),
}


@pytest.mark.parametrize("name", PADS)
def test_a_pad_goes_into_what_reads_it(name: str) -> None:
    lines, padding = PADS[name]
    network = layers(*lines)
    (node,) = cnnspec.optimize(network).nodes
    assert node.op.fields()["padding"] == padding
    assert left(network) == [node.id]
    agree(network, *(BACKENDS if name == "zeros into a convolution" else ()))


PADS_STAY = {
    "in front of a maximum": ["pad: {padding: 1}", "max_pool: {kernel: 2}"],
    "of ones": [
        "pad: {padding: 1, mode: constant, value: 1.0}",
        "conv: {filters: 2, kernel: 1}",
    ],
    "of another mode": [
        "pad: {padding: 1, mode: reflect}",
        "conv: {filters: 2, kernel: 3, padding: 1}",
    ],
    "a mirror in a mirror": [
        "pad: {padding: 1, mode: reflect}",
        "conv: {filters: 2, kernel: 3, padding: 1, padding_mode: reflect}",
    ],
    "what separable convolutions lack": [
        "pad: {padding: 1, mode: circular}",
        "separable_conv: {filters: 2, kernel: 3}",
    ],
    "that fits one size only": [
        "pad: {padding: 1}",
        "conv: {filters: 2, kernel: 3, stride: 2, padding: same}",
    ],
    "that others read": [
        "pad: {name: p, padding: 1}",
        "conv: {filters: 3, kernel: 1}",
        "add: {from: [p, conv1]}",
    ],
    "in front of shared weights": [
        "pad: {padding: 1}",
        "conv: {name: c, filters: 3, kernel: 3}",
        "conv: {filters: 3, kernel: 3, share: c}",
    ],
}


@pytest.mark.parametrize("name", PADS_STAY)
def test_a_pad_stays(name: str) -> None:
    network = layers(*PADS_STAY[name])
    assert left(network) == ids(network)


HEADS = """\
cnnspec: 1
name: heads
input: [3, 6, 6]
define:
  aux:
    layers: [flatten, {dense: {name: fc, units: 4}}]
layers:
  - conv: {name: stem, filters: 4, kernel: 3, bias: false}
  - batch_norm: {name: norm}
  - relu
  - aux: {name: side}
  - sequence:
      name: body
      from: relu1
      layers:
        - dropout
        - conv: {filters: 2, kernel: 2}
        - batch_norm
        - relu
        - sequence: {layers: [dropout, alpha_dropout]}
        - flatten
        - dense: {units: 5}
outputs: {main: body, side: {from: side, training_only: true}}
train: {loss: {main: cross_entropy, side: cross_entropy}, optimizer: {sgd: {lr: 0.1}}}
"""


def test_heads_for_training_go_and_positions_are_counted_again() -> None:
    network = graph(HEADS)
    assert left(network) == ["stem", "relu1", "body.0", "body.1", "body.2", "body.3"]
    made = cnnspec.optimize(network)
    assert made.training is None
    assert "body.3.weight" in made.params()
    agree(network, *BACKENDS)


def test_weights_of_a_head_that_goes_are_refused() -> None:
    network = layers(
        "conv: {name: c, filters: 3, kernel: 1}",
        "conv: {name: d, from: input, filters: 3, kernel: 1, share: c}",
        rest="outputs: {main: d, side: {from: c, training_only: true}}\n",
    )
    with pytest.raises(SpecError) as caught:
        cnnspec.optimize(network)
    (fault,) = caught.value.diagnostics
    assert fault.code == "optimize-shared"
    assert fault.primary is not None
    assert (fault.primary.span.line, fault.primary.span.column) == (6, 5)


# --- blocks --------------------------------------------------------------------------------------

WHEN = """\
cnnspec: 1
name: net
input: [3, 6, 6]
define:
  part:
    parameters: {norm: true, drop: 0.5, channels: required}
    layers:
      - conv: {name: conv, filters: $channels, kernel: 3, padding: 1, bias: $(not norm)}
      - batch_norm: {name: norm1, when: $norm}
      - dropout: {p: $drop, when: $(drop > 0)}
      - relu
layers:
  - part: {name: a, channels: 4}
  - part: {name: b, channels: 5, norm: false, drop: 0.0}
  - part: {name: c, channels: 6, drop: 0.0}
"""


def test_instances_whose_norms_have_gone_share_a_class() -> None:
    network = graph(WHEN)
    assert left(network) == [f"{x}.{y}" for x in "abc" for y in ("conv", "relu1")]
    text = cnnspec.emit(cnnspec.optimize(network), "torch").text
    assert text.count("(nn.Module):") == 2  # the block's and the network's
    assert "self.conv = nn.Conv2d(in_channels, channels, 3, padding=1)" in text
    agree(network, *BACKENDS)


@pytest.mark.parametrize(
    "name",
    [
        "mobilenet_v2",
        *(
            pytest.param(name, marks=pytest.mark.nightly)
            for name in ("resnet50", "densenet121", "googlenet")
        ),
    ],
)
def test_published_networks_keep_their_classes(name: str) -> None:
    network = graph_of(SPECS[name])
    made = cnnspec.optimize(network)
    for backend in BACKENDS:
        before = cnnspec.emit(network, backend).text.splitlines()
        after = cnnspec.emit(made, backend).text.splitlines()
        kinds = ("class ", "def ")
        heads = [line.partition("(")[0] for line in before if line.startswith(kinds)]
        assert [h for h in (line.partition("(")[0] for line in after) if h.startswith(kinds)] == [
            head for head in heads if any(line.partition("(")[0] == head for line in after)
        ]
        assert len(after) < len(before)
    if name != "densenet121":  # its norms come first
        assert not any(node.op.key == "batch_norm" for node in made.nodes)


@pytest.mark.parametrize(
    ("name", "backend"),
    [*(("mini_resnet", backend) for backend in BACKENDS), ("resnet50", "torch")],
)
def test_text(name: str, backend: str, golden: Callable[[Path, str], None]) -> None:
    made = cnnspec.optimize(graph_of(SPECS[name]))
    golden(GOLDEN / "optimized" / f"{name}.{backend}.py", cnnspec.emit(made, backend).text)


# --- memory --------------------------------------------------------------------------------------


def in_place(network: Graph) -> list[str]:
    """The layers that may take their input's memory; what they overwrite is checked as well."""
    agree(network)
    return [node.id for node in cnnspec.optimize(network).nodes if node.in_place]


def test_a_relu_takes_the_memory_of_what_nothing_else_reads() -> None:
    found = in_place(
        layers(
            "relu: {name: of_input}",
            "conv: {name: c, filters: 3, kernel: 1}",
            "batch_norm",
            "relu: {name: of_conv}",
            "max_pool: {kernel: 2}",
            "relu: {name: of_pool}",
            "conv: {name: d, filters: 3, kernel: 1}",
            "add: {name: sum, from: [d, of_pool]}",
            "relu6: {name: of_sum}",
            "conv: {name: twice, filters: 3, kernel: 1}",
            "relu: {name: first}",
            "tanh: {name: second, from: twice}",
            "add: {from: [first, second]}",
            "tanh: {name: of_add}",
        )
    )
    assert found == ["of_conv", "of_sum"]


def test_an_output_is_not_overwritten() -> None:
    text = "conv: {name: c, filters: 3, kernel: 1}", "relu: {name: r}"
    assert in_place(layers(*text)) == ["r"]
    assert in_place(layers(*text, rest="outputs: {both: r, first: c}\n")) == []


def test_what_a_block_is_given_is_not_overwritten() -> None:
    head = "cnnspec: 1\nname: net\ninput: [3, 4, 4]\n"
    conv, relu = "conv: {name: c, filters: 3, kernel: 1}", "relu: {name: r}"
    block = f"define:\n  b:\n    layers: [{relu}, {conv}]\n"
    assert in_place(graph(f"{head}{block}layers: [conv: {{filters: 3, kernel: 1}}, b]\n")) == []
    inside = (
        "define:\n  b:\n    layers: [conv: {name: c, filters: 3, kernel: 1}, relu: {name: r}]\n"
    )
    found = in_place(graph(f"{head}{inside}layers: [b: {{name: x, repeat: 2}}]\n"))
    assert found == ["x.0.r", "x.1.r"]


def test_all_instances_of_a_block_overwrite_or_none() -> None:
    text = """\
cnnspec: 1
name: net
input: [3, 4, 4]
define:
  b:
    parameters: {more: false}
    layers:
      - conv: {name: c, filters: 3, kernel: 1}
      - relu: {name: r}
      - add: {name: s, from: [r, c], when: $more}
layers:
  - b: {name: x}
  - b: {name: y, more: %s}
"""
    assert in_place(graph(text % "false")) == ["x.r", "y.r"]
    assert in_place(graph(text % "true")) == []


# --- random networks -----------------------------------------------------------------------------

TAKES = ("conv", "conv_transpose", "dense", "depthwise_conv", "separable_conv")


def with_norms(spec: dict[str, Any]) -> str:
    """A network with a norm behind each layer that could take it in."""
    made: list[Any] = []
    entries = copy.deepcopy(spec["layers"])
    for place, entry in enumerate(entries):
        made.append(entry)
        (key,) = entry if isinstance(entry, dict) else (entry,)
        after = entries[place + 1] if place + 1 < len(entries) else {"": {"from": ""}}
        fields = next(iter(after.values())) if isinstance(after, dict) else {}
        if key in TAKES and "from" not in fields:
            made.append({"batch_norm": {"name": f"norm_of_{place}"}})
    return text_of({**spec, "layers": made})


@pytest.mark.timeout(3600)
@settings(max_examples=share(0.15))
@given(specs().map(with_norms))
def test_random_networks(text: str) -> None:
    network = read(text).graph
    left(network)
    agree(network)


@pytest.mark.timeout(3600)
@settings(max_examples=share(0.1))
@given(block_networks())
def test_random_blocks(text: str) -> None:
    network = read(text).graph
    left(network)
    agree(network)


# --- weights -------------------------------------------------------------------------------------


def small() -> Graph:
    return layers("conv: {name: c, filters: 2, kernel: 3, bias: false}", "batch_norm: {name: b}")


def test_weights_keep_their_type() -> None:
    network = small()
    given_ = {n: np.asarray(v, np.float32) for n, v in samples.weights(network, 0).items()}
    found = cnnspec.fold_weights(network, given_)
    assert {n: (v.dtype, v.shape) for n, v in found.items()} == {
        "c.weight": (np.dtype(np.float32), (2, 3, 3, 3)),
        "c.bias": (np.dtype(np.float32), (2,)),
    }


def test_weights_that_are_not_finite_are_refused() -> None:
    network = small()
    weights = samples.weights(network, 0)
    weights["b.running_var"][:] = -1.0
    with pytest.raises(DataError) as caught:
        cnnspec.fold_weights(network, weights)
    assert [d.code for d in caught.value.diagnostics] == ["fold-not-finite"] * 2
    assert "`c.weight` is not finite once `b` has gone into it" in str(
        caught.value.diagnostics[0].message
    )


@pytest.mark.parametrize("fault", ["eps", "mean", "shift", "one channel"])
def test_a_wrong_fold_is_found(fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    right = folds._affine

    def wrong(node: Any, weights: Any) -> Any:
        if fault == "eps":
            node = replace(node, op=node.op.model_copy(update={"eps": 1.01e-5}))
        factor, mean, shift = right(node, weights)
        if fault == "mean":
            mean = -mean
        if fault == "shift":
            shift = 0 * shift
        if fault == "one channel":
            factor[0] *= 1 + 1e-12
        return factor, mean, shift

    monkeypatch.setattr(folds, "_affine", wrong)
    report = cnnspec.check(
        small(),
        backends=("numpy", "torch"),
        dtype="float64",
        steps=0,
        optimize="inference",
        in_process=True,
    )
    assert report.status == "disagree"
    found = report.specs[0].first_difference
    assert found is not None
    assert found.comparison.backends == ("original", "optimized")
    assert (found.node, found.comparison.mode) == ("c", "optimized")
    assert found.line == 5


# --- the command line ----------------------------------------------------------------------------

SPEC = """\
cnnspec: 1
name: net
input: [3, 6, 6]
layers:
  - conv: {name: c, filters: 2, kernel: 3, bias: false}
  - batch_norm
  - dropout
  - relu
"""


def test_compile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("net.yaml").write_text(SPEC)
    network = read(SPEC).graph
    write_weights("trained.safetensors", samples.weights(network, 0))
    command = "compile net.yaml -b torch --optimize inference --weights trained.safetensors -o"
    assert main([*command.split(), "fast.py"]) == 0
    assert "BatchNorm" not in Path("fast.py").read_text()
    found = read_weights("fast.safetensors", cnnspec.optimize(network))
    for name, value in cnnspec.fold_weights(network, "trained.safetensors").items():
        assert np.array_equal(found[name], value)
    assert main([*command.split(), "fast.py", "--check"]) == 0


def test_weights_are_not_replaced_by_what_is_made_of_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("net.yaml").write_text(SPEC)
    write_weights("net.safetensors", samples.weights(read(SPEC).graph, 0))
    before = Path("net.safetensors").read_bytes()
    command = "compile net.yaml -b numpy --optimize inference --weights net.safetensors -o net.py"
    assert main([*command.split(), "--force"]) == 2
    assert "would replace those that they are" in " ".join(capsys.readouterr().err.split())
    assert Path("net.safetensors").read_bytes() == before
    assert not Path("net.py").exists()


def test_expand(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "net.yaml").write_text(SPEC)
    assert main(["expand", str(tmp_path / "net.yaml"), "--optimize", "inference"]) == 0
    assert ids(read(capsys.readouterr().out).graph) == ["c", "relu1"]


def test_check(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "net.yaml").write_text(SPEC)
    command = ["check", str(tmp_path / "net.yaml"), "--optimize", "inference", "--in-process"]
    assert main([*command, "--backends", "numpy,torch"]) == 0
    assert "original - optimized" in capsys.readouterr().out
    assert main([*command, "--self-test"]) == 2
