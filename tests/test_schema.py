from __future__ import annotations

import pytest

from cnnspec import graph
from cnnspec.diagnostics import SpecError
from cnnspec.document import parse
from cnnspec.faults import MOST_FAULTS
from cnnspec.schema import read_spec
from cnnspec.spec import Layer
from cnnspec.training import Adam, Constant, CrossEntropy, Exponential, MeanSquaredError
from tests.spec_errors import check_error, check_marked, errors, place, spec

LOSS = spec("relu", more="train: {loss: %s, optimizer: {sgd: {lr: 0.1}}}\n")
TRAIN = "train: {loss: cross_entropy, optimizer: {sgd: {lr: 0.1}}%s}\n"


def test_every_part_of_a_spec() -> None:
    read = read_spec(
        parse(
            "cnnspec: 1\nname: net\ninput: {image: [3, 8, 8], extra: [2]}\n"
            "layers:\n"
            "- conv: {name: c, from: image, filters: 4, kernel: 3, expect: [4, 6, 6]}\n"
            "- sequence: {name: s, layers: [relu, flatten]}\n"
            "- concat: {from: [s, extra]}\n"
            "- dense: {units: 2}\n"
            "outputs: {a: concat1, b: {from: dense1}}\n"
            "train:\n"
            "  loss: {a: mean_squared_error, b: {cross_entropy: {weight: 2}}}\n"
            "  optimizer: {adam: {lr: 1e-3, betas: [0, 0.9]}}\n"
            "  schedule: {exponential: {gamma: 0.5}}\n"
            "  batch: 7\n"
            "seed: 5\n",
            "spec",
        )
    )
    assert read.name == "net"
    assert read.inputs == (("image", (3, 8, 8)), ("extra", (2,)))
    assert [layer.key for layer in read.layers] == ["conv", "sequence", "concat", "dense"]
    conv, sequence, concat, _ = read.layers
    assert (conv.name, conv.sources, conv.expect) == ("c", ("image",), (4, 6, 6))
    assert [layer.key for layer in sequence.layers] == ["relu", "flatten"]
    assert concat.sources == ("s", "extra")
    assert read.outputs is not None
    assert [(o.name, o.layer) for o in read.outputs] == [("a", "concat1"), ("b", "dense1")]
    assert read.train is not None
    assert read.train.loss == {"a": MeanSquaredError(), "b": CrossEntropy(weight=2)}
    assert read.train.optimizer == Adam(lr=1e-3, betas=(0, 0.9))
    assert read.train.schedule == Exponential(gamma=0.5, every="epoch")
    assert (read.train.batch, read.train.epochs, read.seed) == (7, 1, 5)


def test_defaults() -> None:
    read = read_spec(parse(spec("flatten", more=TRAIN % ""), "spec"))
    assert (read.name, read.inputs, read.outputs, read.seed) == (
        "network",
        (("input", (3, 12, 16)),),
        None,
        0,
    )
    assert read.layers == (Layer("flatten", ("layers", 0), read.layers[0].op),)
    assert read.train is not None
    assert (read.train.schedule, read.train.batch, read.train.epochs) == (Constant(), 32, 1)


@pytest.mark.parametrize(
    ("text", "code"),
    [
        # the top level
        ("@@[1, 2]\n", "not-a-spec"),
        ("@@text\n", "not-a-spec"),
        ("@@cnnspec: 1\ninput: [3]\n", "missing-key"),
        ("@@input: [3]\nlayers: [relu]\n", "missing-key"),
        ("cnnspec: @@2\ninput: [3]\nlayers: [relu]\n", "unknown-version"),
        ("cnnspec: @@true\ninput: [3]\nlayers: [relu]\n", "unknown-version"),
        ("cnnspec: @@'1'\ninput: [3]\nlayers: [relu]\n", "unknown-version"),
        (spec("relu", more="@@inputs: [3]\n"), "unknown-key"),
        (spec("relu", more="define: @@[]\n"), "wrong-type"),
        (spec("relu", more="parameters: @@3\n"), "wrong-type"),
        (spec("relu", more="@@include: [a.yaml]\n"), "include-of-text"),
        (spec("relu", more="seed: @@-1\n"), "out-of-range"),
        (spec("relu", more="seed: @@1.5\n"), "wrong-type"),
        (spec("relu", more="seed: @@true\n"), "wrong-type"),
        (spec("relu", more="seed: @@null\n"), "wrong-type"),
        (spec("relu", more="name: @@3\n"), "wrong-type"),
        (spec("relu", more="name: @@a b\n"), "bad-name"),
        (spec("relu", more="name: @@null\n"), "wrong-type"),
        # inputs
        (spec("relu", input="@@3"), "wrong-type"),
        (spec("relu", input="@@{}"), "wrong-type"),
        (spec("relu", input="@@[]"), "bad-shape"),
        (spec("relu", input="@@[1, 2, 3, 4, 5]"), "bad-shape"),
        (spec("relu", input="[3, @@null, 8]"), "size-not-fixed"),
        (spec("relu", input="[3, @@'8', 8]"), "wrong-type"),
        (spec("relu", input="[3, @@8.0, 8]"), "wrong-type"),
        (spec("relu", input="[3, @@true, 8]"), "wrong-type"),
        (spec("relu", input="[@@0, 8, 8]"), "out-of-range"),
        (spec("relu", input="[@@-3, 8, 8]"), "out-of-range"),
        (spec("relu", input="[3, @@2147483648, 8]"), "out-of-range"),
        (spec("relu", input="{@@a b: [3]}"), "bad-name"),
        (spec("relu", input="{@@class: [3]}"), "bad-name"),
        (spec("relu", input="{@@index: [3]}"), "bad-name"),
        (spec("relu: {from: a}", input="{a: [3], @@input: [3]}"), "bad-name"),
        # outputs
        (spec("relu", more="outputs: @@[relu1]\n"), "wrong-type"),
        (spec("relu", more="outputs: @@{}\n"), "wrong-type"),
        (spec("relu", more="outputs: {a: @@3}\n"), "wrong-type"),
        (spec("relu", more="outputs: {a: {from: @@3}}\n"), "wrong-type"),
        (spec("relu", more="outputs: {@@a-b: relu1}\n"), "bad-name"),
        (spec("relu", more="outputs: {a: {from: relu1, training_only: @@3}}\n"), "wrong-type"),
        (spec("relu", more="outputs: {a: {from: relu1, @@only: true}}\n"), "unknown-field"),
        (spec("relu", more="outputs: {@@a: {training_only: true}}\n"), "missing-field"),
        (
            spec("relu", more="@@outputs: {a: {from: relu1, training_only: true}}\n"),
            "training-only-outputs",
        ),
        # layers
        ("cnnspec: 1\ninput: [3]\nlayers: @@relu\n", "wrong-type"),
        ("cnnspec: 1\ninput: [3]\n@@layers: []\n", "no-layers"),
        (spec("@@3"), "wrong-type"),
        (spec("@@{}"), "wrong-type"),
        (spec("@@{relu: {}, tanh: {}}"), "wrong-type"),
        (spec("@@convolution: {filters: 3}"), "unknown-op"),
        (spec("@@Relu"), "unknown-op"),
        (spec("{@@: {}}".replace("{@@:", "{@@'':")), "unknown-op"),
        (spec("relu: @@3"), "wrong-type"),
        (spec("conv: {filters: 8, kernel: 3, @@kernal: 3}"), "unknown-field"),
        (spec("@@conv: {filters: 8}"), "missing-field"),
        (spec("@@dense"), "missing-field"),
        (spec("@@sequence"), "missing-field"),
        (spec("sequence: {layers: [relu], @@kernel: 3}"), "unknown-field"),
        (spec("sequence: {@@layers: []}"), "no-layers"),
        (spec("sequence: {layers: @@relu}"), "wrong-type"),
        (spec("relu: {repeat: @@3.0}"), "wrong-type"),
        (spec("relu: {repeat: @@true}"), "wrong-type"),
        (spec("relu: {repeat: @@-1}"), "out-of-range"),
        (spec("relu: {when: @@1}"), "wrong-type"),
        (spec("relu: {name: @@3}"), "wrong-type"),
        (spec("relu: {name: @@null}"), "wrong-type"),
        (spec("relu: {from: @@3}"), "wrong-type"),
        (spec("relu: {from: @@[]}"), "wrong-type"),
        (spec("relu: {from: @@[a, 3]}"), "wrong-type"),
        (spec("relu: {share: @@[a]}"), "wrong-type"),
        (spec("relu: {expect: @@3}"), "wrong-type"),
        (spec("relu: {expect: [3, @@-1]}"), "out-of-range"),
        # fields
        (spec("conv: {filters: @@0, kernel: 3}"), "out-of-range"),
        (spec("conv: {filters: @@2147483648, kernel: 3}"), "out-of-range"),
        (spec("conv: {filters: @@8.0, kernel: 3}"), "wrong-type"),
        (spec("conv: {filters: @@'8', kernel: 3}"), "wrong-type"),
        (spec("conv: {filters: 8, kernel: @@0}"), "out-of-range"),
        (spec("conv: {filters: 8, kernel: @@-3}"), "out-of-range"),
        (spec("conv: {filters: 8, kernel: @@1000001}"), "out-of-range"),
        (spec("conv: {filters: 8, kernel: @@big}"), "wrong-type"),
        (spec("conv: {filters: 8, kernel: @@[]}"), "wrong-type"),
        (spec("conv: {filters: 8, kernel: @@[3, true]}"), "wrong-type"),
        (spec("conv: {filters: 8, kernel: 3, stride: @@0}"), "out-of-range"),
        (spec("conv: {filters: 8, kernel: 3, padding: @@-1}"), "out-of-range"),
        (spec("conv: {filters: 8, kernel: 3, padding: @@sam}"), "bad-value"),
        (spec("conv: {filters: 8, kernel: 3, padding: @@[[1, 2, 3]]}"), "bad-value"),
        (spec("conv: {filters: 8, kernel: 3, bias: @@no}"), "wrong-type"),
        (spec("conv: {filters: 8, kernel: 3, bias: @@1}"), "wrong-type"),
        (spec("conv: {filters: 8, kernel: 3, padding_mode: @@zero}"), "bad-value"),
        (spec("conv: {filters: 8, kernel: 3, weight_init: @@he}"), "bad-value"),
        (spec("conv: {filters: 8, kernel: 3, weight_init: @@{normal: {std: 0}}}"), "bad-value"),
        (spec("conv: {filters: 8, kernel: 3, weight_init: @@{normal: 3}}"), "bad-value"),
        (spec("conv: {filters: 8, kernel: 3, weight_init: @@[zeros]}"), "bad-value"),
        (
            spec("conv: {filters: 8, kernel: 3, weight_init: @@{uniform: {low: 1, high: 1}}}"),
            "bad-value",
        ),
        (spec("dropout: {p: @@1.5}"), "out-of-range"),
        (spec("dropout: {p: @@half}"), "wrong-type"),
        (spec("batch_norm: {eps: @@0}"), "out-of-range"),
        # training
        (spec("relu", more="train: @@3\n"), "wrong-type"),
        (spec("relu", more="@@train: {loss: cross_entropy}\n"), "missing-field"),
        (spec("relu", more="@@train: {optimizer: {sgd: {lr: 1}}}\n"), "missing-field"),
        (spec("relu", more=TRAIN % ", @@epoch: 3"), "unknown-field"),
        (spec("relu", more=TRAIN % ", batch: @@0"), "out-of-range"),
        (spec("relu", more=TRAIN % ", epochs: @@many"), "wrong-type"),
        (spec("relu", more=TRAIN % ", schedule: @@cosines"), "unknown-schedule"),
        (spec("relu", more=TRAIN % ", schedule: @@3"), "wrong-type"),
        (spec("relu", more=TRAIN % ", schedule: {@@exponential: {}}"), "missing-field"),
        (spec("relu", more=TRAIN % ", schedule: {exponential: @@0.5}"), "wrong-type"),
        (spec("relu", more=TRAIN % ", schedule: {exponential: {gamma: @@0}}"), "out-of-range"),
        (spec("relu", more=TRAIN % ", schedule: {step: {size: @@0}}"), "out-of-range"),
        (spec("relu", more=TRAIN % ", schedule: {constant: {warmup: @@-1}}"), "out-of-range"),
        (spec("relu", more=TRAIN % ", schedule: {constant: {every: @@batch}}"), "bad-value"),
        (spec("relu", more=TRAIN % ", schedule: {cosine: {end: @@-0.1}}"), "out-of-range"),
        (spec("relu", more=TRAIN % ", schedule: {cosine: {length: @@2.5}}"), "wrong-type"),
        (spec("relu", more=TRAIN % ", schedule: {polynomial: {power: @@0}}"), "out-of-range"),
        (spec("relu", more=TRAIN % ", schedule: {one_cycle: {rise: @@1}}"), "out-of-range"),
        (
            spec("relu", more=TRAIN % ", schedule: {multi_step: {milestones: @@[]}}"),
            "bad-value",
        ),
        (
            spec(
                "relu", more=TRAIN % ", epochs: 9, schedule: {multi_step: @@{milestones: [3, 3]}}"
            ),
            "bad-value",
        ),
        (
            spec("relu", more=TRAIN % ", epochs: 9, schedule: {cosine: {warmup: 1, length: @@9}}"),
            "schedule-too-long",
        ),
        (
            spec(
                "relu", more=TRAIN % ", epochs: 9, schedule: {multi_step: {milestones: @@[3, 9]}}"
            ),
            "schedule-too-long",
        ),
        (spec("relu", more=TRAIN % ", schedule: {constant: {warmup: @@2}}"), "schedule-too-long"),
        (
            spec("relu", more="train: {loss: @@crossentropy, optimizer: {sgd: {lr: 1}}}\n"),
            "unknown-loss",
        ),
        (
            spec("relu", more="train: {loss: {@@cross_entropi: {}}, optimizer: {sgd: {lr: 1}}}\n"),
            "unknown-loss",
        ),
        (
            spec("relu", more="train: {loss: {output: @@mse}, optimizer: {sgd: {lr: 1}}}\n"),
            "unknown-loss",
        ),
        (spec("relu", more="train: {loss: @@{}, optimizer: {sgd: {lr: 1}}}\n"), "wrong-type"),
        (LOSS % "{binary_cross_entropy: {pos_weight: @@x}}", "wrong-type"),
        (LOSS % "{binary_cross_entropy: {pos_weight: @@[1, -1, 2]}}", "out-of-range"),
        (LOSS % "{binary_cross_entropy: {label_smoothing: @@1}}", "out-of-range"),
        (LOSS % "{cross_entropy: @@{class_weights: [1, 2, 3]}}", "bad-value"),
        (LOSS % "{cross_entropy: @@{weight_norm: sum_w}}", "bad-value"),
        (LOSS % "{cross_entropy: {targets: @@values}}", "bad-value"),
        (LOSS % "{cross_entropy: {weight_norm: batch, class_weights: [1, @@0]}}", "out-of-range"),
        (LOSS % "{huber: {delta: @@0}}", "out-of-range"),
        (LOSS % "{hinge: {@@margin: 1}}", "unknown-field"),
        (
            spec("relu", more="train: {loss: cross_entropy, optimizer: {@@adamm: {lr: 1}}}\n"),
            "unknown-optimizer",
        ),
        (
            spec("relu", more="train: {loss: cross_entropy, optimizer: @@sgd}\n"),
            "missing-field",
        ),
        (
            spec("relu", more="train: {loss: cross_entropy, optimizer: {sgd: {lr: @@0}}}\n"),
            "out-of-range",
        ),
        *(
            (
                spec("relu", more=f"train: {{loss: cross_entropy, optimizer: {optimizer}}}\n"),
                code,
            )
            for optimizer, code in (
                ("{sgd: {lr: @@-0.1}}", "out-of-range"),
                ("{adadelta: {lr: @@-1}}", "out-of-range"),
                ("{sgd: {lr: 1, weight_decay: @@-0.1}}", "out-of-range"),
                ("{sgd: @@{lr: 1, decoupled: true}}", "bad-value"),
                ("{sgd: {lr: 1, momentum: @@-0.9}}", "out-of-range"),
                ("{adagrad: {lr: 1, eps: @@0}}", "out-of-range"),
                ("{rmsprop: {lr: 1, eps: @@0}}", "out-of-range"),
                ("{rmsprop: {lr: 1, alpha: @@1}}", "out-of-range"),
                ("{adam: {lr: 1, eps: @@0}}", "out-of-range"),
                ("{adam: {lr: 1, betas: [0.9, @@1]}}", "out-of-range"),
                ("{adam: {lr: 1, amsgrad: @@1}}", "wrong-type"),
                ("{adamw: {lr: 1, eps: @@0}}", "out-of-range"),
                ("{adadelta: {eps: @@0}}", "out-of-range"),
                ("{adadelta: {rho: @@-0.1}}", "out-of-range"),
                ("{nadam: {lr: 1, eps: @@0}}", "out-of-range"),
                ("{nadam: {lr: 1, momentum_decay: @@-1}}", "out-of-range"),
                ("{adamax: {lr: 1, eps: @@0}}", "out-of-range"),
            )
        ),
        (
            spec(
                "relu",
                more="train: {loss: cross_entropy, optimizer: {sgd: @@{lr: 1, nesterov: true}}}\n",
            ),
            "bad-value",
        ),
        (
            spec(
                "relu",
                more="train: {loss: cross_entropy, optimizer: {adam: {lr: 1, betas: [0, @@1]}}}\n",
            ),
            "out-of-range",
        ),
    ],
)
def test_faults(text: str, code: str) -> None:
    check_marked(text, code)


@pytest.mark.parametrize(
    "name",
    [
        '"x\\"; import os"',
        "'x\"; import os'",
        "class",
        "None",
        "__init__",
        "_x",
        "half",
        "forward",
        "self",
        "input",
        "index",
        "count",
        "größe",
        "x y",
        "a.b",
        "''",
        "'0'",
        "x" * 65,
        '"x\\n"',
    ],
)
def test_names_that_would_not_survive_in_source(name: str) -> None:
    fault = check_error(spec(f"relu: {{name: {name}}}"), 4, 16, "bad-name")
    assert fault.message.isascii()
    assert fault.message.isprintable()


def test_longest_name() -> None:
    read = read_spec(parse(spec(f"relu: {{name: {'x' * 64}}}"), "spec"))
    assert read.layers[0].name == "x" * 64


@pytest.mark.parametrize(
    ("text", "help"),
    [
        (spec("@@convv: {}"), "did you mean `conv`?"),
        (spec("conv: {filters: 8, kernel: 3, @@strides: 2}"), "did you mean `stride`?"),
        (spec("relu: {@@form: x}"), "did you mean `from`?"),
        (spec("relu", more="@@trian: {}\n"), "did you mean `train`?"),
        (
            spec("conv: {filters: 8, kernel: 3, weight_init: @@he_norml}"),
            "did you mean `he_normal`?",
        ),
    ],
)
def test_did_you_mean(text: str, help: str) -> None:
    clean = text.replace("@@", "")
    (fault,) = errors(clean)
    assert fault.help == help


def test_several_faults_are_reported_together_in_order() -> None:
    text = spec(
        "conv: {filters: 0, kernel: 3, padding: -1, colour: red}",
        "rellu",
        "relu: {name: half}",
        more="seed: x\n",
    )
    assert [(d.code, *place(d)) for d in errors(text)] == [
        ("out-of-range", 4, 19),
        ("out-of-range", 4, 42),
        ("unknown-field", 4, 46),
        ("unknown-op", 5, 3),
        ("bad-name", 6, 16),
        ("wrong-type", 7, 7),
    ]


def test_a_phase_ends_after_many_faults() -> None:
    found = errors(spec(*["rellu"] * 5000))
    assert len(found) == MOST_FAULTS


def test_too_many_layers_in_a_list(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(graph, "MOST_NODES", 3)
    check_marked("cnnspec: 1\ninput: [3]\n@@layers: [relu, relu, relu, relu]\n", "too-many-layers")


def test_a_fault_below_an_alias_is_where_the_value_is() -> None:
    text = spec("conv: &c {filters: 4, kernel: @@0}", "conv: *c")
    clean = text.replace("@@", "")
    assert [place(d) for d in errors(clean)] == [(4, 33), (4, 33)]


def test_json() -> None:
    text = '{"cnnspec": 1,\n "input": [3],\n "layers": ["relu", {"dense": {"units": 0}}]}'
    with pytest.raises(SpecError, match="units") as caught:
        read_spec(parse(text, "spec.json"))
    assert "spec.json:3:41" in str(caught.value)
