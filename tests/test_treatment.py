"""`trainable`, `regularize` and `constrain` of layers, and `groups`, `clip` and `average`."""

from __future__ import annotations

from typing import Any

import pytest

import cnnspec
from cnnspec import expand
from cnnspec.backends import training as common
from cnnspec.graph import Graph
from cnnspec.training import Clip, Group, Regularize
from cnnspec.training.groups import matches
from tests.spec_errors import check_marked

HEAD = "cnnspec: 1\ninput: [2, 8, 7]\n"
TRAIN = "train: {{loss: mean_squared_error, optimizer: {{sgd: {{lr: 0.1}}}}{}}}\n"


def graph(layers: str, more: str = "", define: str = "", train: str = "") -> Graph:
    return cnnspec.load(HEAD + define + f"layers:\n{layers}" + (train or TRAIN.format(more)))


BLOCK = """\
define:
  pair:
    parameters: {frozen: false, decay: 0.5}
    layers:
      - conv: {name: a, filters: 2, kernel: 3, padding: 1, trainable: $(not frozen)}
      - conv: {name: b, filters: 2, kernel: 3, padding: 1, regularize: {l2: $decay}}
"""


def test_what_is_said_of_a_block_holds_for_its_layers() -> None:
    made = graph(
        "- pair: {name: p, trainable: false}\n"
        "- pair: {name: q, frozen: true, decay: 0.25}\n"
        "- pair: {name: r, repeat: 2, regularize: {l1: 0.125}}\n",
        define=BLOCK,
    )
    names = {"p.a.weight", "p.a.bias", "p.b.weight", "p.b.bias", "q.a.weight", "q.a.bias"}
    assert made.frozen() == names
    assert common.penalties(made) == {
        "q.b.weight": Regularize(l2=0.25),
        "r.0.a.weight": Regularize(l1=0.125),
        "r.0.b.weight": Regularize(l2=0.5),
        "r.1.a.weight": Regularize(l1=0.125),
        "r.1.b.weight": Regularize(l2=0.5),
    }
    again = cnnspec.load(expand.expand(made))
    assert again.frozen() == names
    assert common.penalties(again) == common.penalties(made)


def test_a_shared_layer_costs_once() -> None:
    made = graph(
        "- conv: {name: a, filters: 2, kernel: 3, padding: 1, regularize: {l2: 1.0}, "
        "constrain: {max_norm: 2}}\n- conv: {filters: 2, kernel: 3, padding: 1, share: a}\n"
    )
    assert list(common.penalties(made)) == ["a.weight"]
    assert common.constraints(made) == {"a.weight": (2, "OIHW")}


@pytest.mark.parametrize(
    ("pattern", "name", "found"),
    [
        ("conv1", "conv1.weight", True),
        ("conv1", "conv10.weight", False),
        ("conv1.weight", "conv1.weight", True),
        ("*.bias", "a.b.bias", True),
        ("*.bias", "a.bias.weight", False),
        ("features.*", "features.0.weight", True),
        ("f*.0.*t", "features.0.weight", True),
        ("*", "x", True),
        ("a.b", "axb", False),
    ],
)
def test_a_pattern_means_a_name(pattern: str, name: str, found: bool) -> None:
    assert matches(pattern, name) is found


LAYERS = """\
- conv: {name: one, filters: 3, kernel: 3, bias: false, regularize: {l2: 0.1},
         constrain: {max_norm: 0.7}}
- batch_norm: {name: bn}
- tanh
- conv: {name: wide, filters: 6, kernel: 3, groups: 3, constrain: {max_norm: 0.3},
         regularize: {l1: 0.01, l2: 0.02}}
- conv_transpose: {name: up, filters: 2, kernel: 3, constrain: {max_norm: 0.5}}
- separable_conv: {name: sep, filters: 3, kernel: 3, constrain: {max_norm: 0.4}}
- flatten
- dense: {name: fc, units: 4, trainable: false}
- dense: {name: out, units: 3, constrain: {max_norm: 1.0}, regularize: {l2: 0.5}}
"""
TRAININGS = {
    "sgd": "{loss: cross_entropy, optimizer: {sgd: {lr: 0.1, momentum: 0.9, weight_decay: 0.1}}, "
    "clip: {norm: 0.5}, average: {decay: 0.9}, "
    'groups: [{match: "*.bias", weight_decay: 0}, {match: [one, "s*t"], lr_scale: 0.5}]}',
    "adamw": "{loss: cross_entropy, optimizer: {adamw: {lr: 0.01}}, clip: {value: 0.01}, "
    'groups: [{match: bn, trainable: false}, {match: "*weight", weight_decay: 0.5}]}',
    "rmsprop": "{loss: mean_squared_error, average: {decay: 0.5}, "
    "optimizer: {rmsprop: {lr: 0.01, weight_decay: 0.1, decoupled: true}}}",
}


@pytest.mark.parametrize("name", TRAININGS)
def test_all_back_ends_agree(name: str) -> None:
    made = graph(LAYERS, train=f"train: {TRAININGS[name]}\n")
    report = cnnspec.check(made, steps=4, dtype="float64", in_process=True)
    assert report.status == "agree", report
    result: Any
    (result,) = report.specs
    steps = [c for c in result.comparisons if c.quantity == "step" and c.judged]
    averaged = {c.name for c in steps if c.name.startswith("average/")}
    assert bool(averaged) == ("average" in TRAININGS[name])
    assert not any(c.name.startswith("average/fc.") for c in steps)


def test_the_text_sorts_parameters_by_their_names() -> None:
    groups = "groups: [{match: '*.bias', weight_decay: 0}, {match: out, trainable: false}]"
    text = cnnspec.emit(graph(LAYERS, f", {groups}"), "torch").text
    assert (
        "def parameter_options(name):\n"
        '    """How the optimizer treats a parameter; None where it stays as it is."""\n'
        '    if name.startswith("fc."):\n        return None\n'
        '    if name.endswith(".bias"):\n        return {"weight_decay": 0.0}\n'
        '    if name.startswith("out."):\n        return None\n    return {}\n'
    ) in text


def test_fields_of_the_section() -> None:
    made = graph(
        "- conv: {name: a, filters: 2, kernel: 3}\n",
        ", clip: {value: 0.5}, accumulate: 3, groups: [{match: a, lr_scale: 2.0}], "
        "early_stopping: {patience: 3, monitor: test_accuracy}",
    ).training
    assert made is not None
    assert made.clip == Clip(value=0.5)
    assert made.groups == (Group(match=("a",), lr_scale=2.0),)
    assert (made.accumulate, made.average) == (3, None)
    assert made.stopping is not None
    assert (made.stopping.patience, made.stopping.monitor) == (3, "test_accuracy")


CONV = "conv: {name: a, filters: 2, kernel: 3%s}"


@pytest.mark.parametrize(
    ("layers", "train", "code"),
    [
        ("relu: {@@trainable: false}", "", "nothing-to-treat"),
        ("max_pool: {kernel: [1, 2], stride: 1, @@regularize: {l2: 1.0}}", "", "nothing-to-treat"),
        ("batch_norm: {@@constrain: {max_norm: 1}}", "", "nothing-to-treat"),
        (CONV % ", trainable: @@1", "", "wrong-type"),
        (CONV % ", regularize: @@0.1", "", "wrong-type"),
        (CONV % ", regularize: @@{}", "", "bad-value"),
        (CONV % ", regularize: {l2: @@-1}", "", "out-of-range"),
        (CONV % ", regularize: {@@l3: 1}", "", "unknown-field"),
        (CONV % ", constrain: {max_norm: @@0}", "", "out-of-range"),
        (CONV % ", @@constrain: {}", "", "missing-field"),
        (CONV % "", ", clip: @@1", "wrong-type"),
        (CONV % "", ", clip: @@{}", "bad-value"),
        (CONV % "", ", clip: @@{norm: 1, value: 1}", "bad-value"),
        (CONV % "", ", clip: {norm: @@0}", "out-of-range"),
        (CONV % "", ", average: {decay: @@1}", "out-of-range"),
        (CONV % "", ", accumulate: @@0", "out-of-range"),
        (CONV % "", ", groups: @@{match: a}", "wrong-type"),
        (CONV % "", ", groups: [@@{lr_scale: 1.0}]", "missing-field"),
        (CONV % "", ", groups: [{match: @@b, lr_scale: 2}]", "group-matches-nothing"),
        (CONV % "", ", groups: [{match: [a, @@aa*], lr_scale: 2}]", "group-matches-nothing"),
        (CONV % "", ", groups: [{match: @@'a b', lr_scale: 2}]", "bad-value"),
        (CONV % "", ", early_stopping: {patience: @@0}", "out-of-range"),
        (CONV % "", ", early_stopping: {monitor: @@loss}", "bad-value"),
    ],
)
def test_faults(layers: str, train: str, code: str) -> None:
    check_marked(HEAD + f"layers:\n- {layers}\n" + (TRAIN.format(train) if train else ""), code)


def test_nothing_is_left_to_train() -> None:
    text = HEAD + "layers:\n- " + CONV % ", trainable: false" + "\n@@" + TRAIN.format("")
    check_marked(text, "nothing-to-train")


def test_a_layer_that_shares_has_no_treatment_of_its_own() -> None:
    layers = CONV % "" + "\n- conv: {filters: 2, kernel: 3, share: a, @@trainable: false}"
    check_marked(HEAD.replace("[2, 8", "[2, 9") + f"layers:\n- {layers}\n", "cannot-share")


def test_where_all_is_frozen_no_steps_are_compared() -> None:
    text = HEAD + "layers:\n- " + CONV % ", trainable: false" + "\n"
    report = cnnspec.check(cnnspec.load(text), dtype="float64", in_process=True)
    assert report.status == "agree"
    result: Any
    (result,) = report.specs
    assert "the network trains no parameters, so no steps are compared" in result.notes
