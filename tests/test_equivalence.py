"""Random networks: all backends agree, and gradients are those of finite differences."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from scipy import stats

from cnnspec.api import read
from cnnspec.backends import BUILT_IN, Style, get
from cnnspec.diagnostics import SpecError
from cnnspec.ops.conv import Conv
from cnnspec.ops.norm import BatchNorm
from cnnspec.ops.pool import AvgPool, MaxPool
from cnnspec.testing import check_backend, check_gradients, check_op, nearly_valid, networks
from cnnspec.testing.blocks import block_networks
from cnnspec.testing.laws import agree, check_network, check_session
from tests.networks import layers
from tests.night import share

ALL = tuple(BUILT_IN)
NIGHTLY = 1000
"""Examples of the nightly profile."""


NETWORKS = {
    # test: networks that it checks, for each example of the default profile, and of the nightly
    "test_numpy_and_torch_agree": (1.5, 3.8),
    "test_all_backends_agree": (0.2, 0.2),
    "test_numpy_and_torch_agree_on_blocks": (0.4, 0.9),
    "test_all_backends_agree_on_blocks": (0.1, 0.1),
}
"""None of these may be accused; docs/proof.md says what that shows."""


def drawn(test: str) -> int:
    """How many networks a test checks in this profile."""
    assert settings.default is not None
    default, nightly = NETWORKS[test]
    return share(nightly if settings.default.max_examples >= NIGHTLY else default)


@settings(max_examples=share(3))
@given(networks())
def test_gradients_are_those_of_finite_differences(text: str) -> None:
    check_gradients(read(text).graph)


@pytest.mark.timeout(3600)
@settings(max_examples=drawn("test_numpy_and_torch_agree"))
@given(networks())
def test_numpy_and_torch_agree(text: str) -> None:
    agree(read(text).graph, ("numpy", "torch"))


@pytest.mark.timeout(3600)
@settings(max_examples=drawn("test_all_backends_agree"))
@given(networks(train=True))
def test_all_backends_agree(text: str) -> None:
    agree(read(text).graph, ALL)


@pytest.mark.timeout(3600)
@settings(max_examples=drawn("test_numpy_and_torch_agree_on_blocks"))
@given(block_networks())
def test_numpy_and_torch_agree_on_blocks(text: str) -> None:
    agree(read(text).graph, ("numpy", "torch"))


@pytest.mark.timeout(3600)
@settings(max_examples=drawn("test_all_backends_agree_on_blocks"))
@given(block_networks())
def test_all_backends_agree_on_blocks(text: str) -> None:
    agree(read(text).graph, ALL)


def test_the_rate_of_false_alarms_is_what_the_docs_say() -> None:
    count = sum(round(NIGHTLY * nightly) for _, nightly in NETWORKS.values())
    text = (Path(__file__).parents[1] / "docs" / "proof.md").read_text()
    row = re.search(r"^\| ([0-9,]+) \| ([0-9]+) \| ([0-9.e-]+) \|", text, re.MULTILINE)
    assert row is not None
    networks_, accused = (int(cell.replace(",", "")) for cell in row.groups()[:2])
    assert networks_ == count == 5000
    bound = stats.beta.ppf(0.95, accused + 1, networks_ - accused)
    assert float(row[3]) == pytest.approx(bound, rel=0.05)
    assert bound == pytest.approx(3 / count, rel=0.01) or accused


@settings(max_examples=share(10))
@given(nearly_valid())
def test_nearly_valid_specs_are_built_or_refused_with_a_place(text: str) -> None:
    try:
        graph = read(text).graph
    except SpecError as fault:
        lines = text.split("\n")
        for diagnostic in fault.diagnostics:
            assert diagnostic.primary is not None, diagnostic
            span = diagnostic.primary.span
            assert 1 <= span.line <= span.end_line <= len(lines)
            assert 1 <= span.column <= len(lines[span.line - 1]) + 1
        return
    for name in ALL:
        try:
            ast.parse(get(name).emit(graph, Style()).text)
        except SpecError as fault:
            if not {d.code for d in fault.diagnostics} <= {"unsupported-op", "name-clash"}:
                raise


# --- the laws that third parties call ----------------------------------------------------------


@pytest.mark.parametrize("op", [Conv, AvgPool, MaxPool, BatchNorm], ids=lambda op: op.key)
def test_laws_of_an_op(op: type[Conv]) -> None:
    check_op(op, backends=("numpy", "torch"), examples=share(0.2))


@pytest.mark.parametrize("backend", ALL)
def test_laws_of_a_backend(backend: str) -> None:
    check_backend(backend, examples=share(0.1 if backend == "keras" else 0.5))


@pytest.mark.parametrize("backend", ALL)
def test_a_product_of_a_part_of_a_tensor_keeps_the_laws(backend: str) -> None:
    """It lies in memory in another way than a copy of it, and its sums have another order."""
    lines = (
        "split: {name: parts, sizes: [2, 1]}",
        "flatten: {from: parts.0}",
        "dense: {name: a, units: 2}",
        "flatten: {from: parts.1}",
        "dense: {name: b, units: 2}",
    )
    network = layers(*lines, input="[3, 5]", rest="outputs: {out0: a, out1: b}\n")
    session = get(backend).open(get(backend).emit(network, Style(random="counter")))
    check_session(network, session)
    session.close()


# --- what random networks have found -----------------------------------------------------------

FOUND = {
    # The loop over layers set the bias of a layer that has none.
    "a layer without bias beside others": """\
cnnspec: 1
name: net
input: [2, 6]
layers:
- conv: {filters: 2, kernel: 1}
- conv: {filters: 2, kernel: 1}
- conv: {filters: 2, kernel: 2, bias: false}
""",
    # An optimizer refuses an empty list of parameters.
    "no parameters": """\
cnnspec: 1
name: net
input: [3]
layers: [tanh]
""",
    # Native 3-D average pooling refuses inputs smaller than its kernel, whatever the padding.
    "a kernel larger than a 3-D input": """\
cnnspec: 1
name: net
input: [2, 3, 4, 2]
layers:
- avg_pool: {name: ceil, kernel: [1, 3, 3], stride: [1, 1, 2], ceil_mode: true}
- avg_pool: {name: padded, from: input, kernel: 3, stride: 1, padding: 1}
- sum_pool: {name: summed, from: input, kernel: 3, stride: 1, padding: 1}
outputs: {a: ceil, b: padded, c: summed}
""",
    # Updates that cancel leave a small weight with the rounding of larger ones.
    "a weight that an update makes small": """\
cnnspec: 1
name: net
input: [4]
layers: [{dense: {units: 200, weight_init: {uniform: {low: -0.02, high: 0.02}}}}]
train: {loss: mean_squared_error, optimizer: {adam: {lr: 0.01, weight_decay: 0.5}}}
""",
    # Instances of a repeat are positions, which a layer that is left out in front of them moves.
    "a named layer left out in front of a repeat": """\
cnnspec: 1
name: net
input: [4, 1, 2]
define:
  part:
    parameters: {drop: required}
    layers:
      - sequence:
          name: body
          layers:
            - dropout: {name: first, when: $drop, p: 0.5}
            - prelu: {repeat: 2}
layers: [{part: {drop: true}}, {part: {drop: false}}, {conv: {filters: 2, kernel: 1}}]
""",
    # Where both inputs are one value, nothing says which of them a layer reads.
    "a block whose inputs are one value in one instance": """\
cnnspec: 1
name: net
input: [3]
define:
  block:
    inputs: [left, right]
    outputs: {main: concat1, side: tanh1}
    layers: [{tanh: {from: left}}, {tanh: {from: right}}, {concat: {from: [tanh1, tanh2]}}]
layers:
- block: {from: [input, input]}
- block: {from: [input, block1.side]}
- concat: {from: [block1, block2]}
- dense: {units: 1}
""",
    # A container gives one value.
    "a block of one repeated layer with two outputs": """\
cnnspec: 1
name: net
input: [6, 4, 5]
define:
  block:
    outputs: {main: own_2, side: own_2}
    layers: [{conv: {name: own_$(index + 1), filters: 3, kernel: 1, repeat: 2}}]
layers:
- block
- {concat: {from: [block1, block1.side]}}
""",
    # Its rounded means are common to what the mean behind it is taken over, and are large as the
    # transposed convolutions' biases are the same everywhere.
    "a mean behind an instance norm": """\
cnnspec: 1
name: net
input: {left: [3, 4, 9], right: [3, 4, 9]}
layers:
- conv_transpose: {from: left, filters: 3, kernel: 1, groups: 3, stride: 2, padding: 1, dilation: 2}
- {tanh: {from: right}}
- {adaptive_avg_pool: {size: [1, 3]}}
- conv_transpose: {from: conv_transpose1, share: conv_transpose1, filters: 3, kernel: 1, groups: 3,
    stride: 2, padding: 1, dilation: 2}
- {separable_conv: {filters: 2, kernel: 1, pointwise_init: {constant: {value: 0.1}}}}
- instance_norm
- tanh
- {flatten: {from: adaptive_avg_pool1}}
- {dense: {units: 2}}
- {global_avg_pool: {from: tanh2}}
- flatten
- {dense: {units: 2}}
outputs: {out0: dense1, out1: dense2}
""",
    # A split stands in two passes where a loss reads what goes into a softmax that is read again.
    "a split behind a softmax that is an output": """\
cnnspec: 1
name: net
input: [4, 5]
layers:
- {conv: {filters: 6, kernel: 1}}
- softmax
- {split: {name: parts, into: 2}}
outputs: {a: parts.0, b: parts.1, tapped: softmax1}
train:
  loss: {a: mean_squared_error, b: mean_squared_error, tapped: cross_entropy}
  optimizer: {sgd: {lr: 0.01}}
""",
    # The mean of a norm on the network's input cancels, and nothing on the way moves it.
    "a norm on the input with momentum 1": """\
cnnspec: 1
name: net
input: [3, 6, 3]
layers: [{batch_norm: {momentum: 1}}]
""",
}


@pytest.mark.parametrize("initializer", ["orthogonal", "{orthogonal: {gain: 2}}"])
def test_a_vector_cannot_start_orthogonal(initializer: str) -> None:
    layer = f"dense: {{units: 3, bias_init: {initializer}}}"
    with pytest.raises(SpecError, match=r"4:39: `orthogonal` starts a matrix"):
        read(f"cnnspec: 1\nname: net\ninput: [4]\nlayers: [{layer}]\n")


def test_nothing_to_train_is_a_fault_of_the_spec() -> None:
    text = "cnnspec: 1\ninput: [4]\nlayers: [tanh]\n"
    train = "train: {loss: mean_squared_error, optimizer: {sgd: {lr: 0.1}}}\n"
    with pytest.raises(SpecError, match="4:1: the network has no parameters to train") as caught:
        read(text + train)
    assert [d.code for d in caught.value.diagnostics] == ["nothing-to-train"]


@pytest.mark.parametrize("text", FOUND.values(), ids=FOUND)
def test_what_was_found_stays_right(text: str) -> None:
    check_network(text, ALL)
