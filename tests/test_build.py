from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

from cnnspec import graph as limits
from cnnspec.build import build
from cnnspec.diagnostics import SpecError
from cnnspec.document import parse, read
from cnnspec.graph import Node, Scope
from cnnspec.schema import read_spec
from cnnspec.training import CrossEntropy
from tests.spec_errors import built, check_error, check_marked, errors, place, spec

SPECS = sorted((Path(__file__).parent.parent / "specs").glob("*.yaml"))
CONV = "conv: {filters: 4, kernel: 3}"
TWO = "{a: [3, 12, 16], b: [3, 12, 16]}"


def shapes(text: str) -> dict[str, tuple[int, ...]]:
    return {node.id: node.shape for node in built(text).graph.nodes}


# What is built


def test_names_and_shapes() -> None:
    inside = "[relu, {max_pool: {kernel: 2}}, {flatten: {name: flat}}]"
    text = spec(
        CONV,
        "conv: {name: c, filters: 6, kernel: 3, padding: same, stride: 2}",
        "relu",
        "conv: {filters: 2, kernel: 1}",
        "relu",
        f"sequence: {{name: s, layers: {inside}}}",
        "sequence: {layers: [relu]}",
    )
    assert shapes(text) == {
        "conv1": (4, 10, 14),
        "c": (6, 5, 7),
        "relu1": (6, 5, 7),
        "conv2": (2, 5, 7),
        "relu2": (2, 5, 7),
        "s.0": (2, 5, 7),
        "s.1": (2, 2, 3),
        "s.flat": (12,),
        "sequence1.0": (12,),
    }


def test_the_scope_tree() -> None:
    text = spec(
        "relu: {name: r}", "sequence: {name: s, layers: [relu, {sequence: {layers: [tanh]}}]}"
    )
    root = built(text).graph.root
    relu, outer = root.children
    assert isinstance(relu, Node)
    assert isinstance(outer, Scope)
    _, inner = outer.children
    assert isinstance(inner, Scope)
    assert (outer.path, outer.kind, inner.path) == ("s", "sequence", "s.1")
    assert outer.inputs == (("input", relu),)
    assert outer.outputs[0][1] is inner.outputs[0][1]
    assert outer.outputs[0][1].id == "s.1.0"


def test_from_reaches_names_above_inputs_and_sequences() -> None:
    graph = built(
        spec(
            "sequence: {name: s, layers: [relu, tanh]}",
            "relu: {name: r, from: input}",
            "add: {from: [s, r, input]}",
        )
    ).graph
    assert [value.id for value in graph.node("add1").inputs] == ["s.1", "r", "input"]


def test_the_only_input_goes_by_its_name_and_as_input() -> None:
    text = spec("relu: {from: image}", "add: {from: [relu1, input]}", input="{image: [3]}")
    graph = built(text).graph
    assert [value.id for value in graph.node("add1").inputs] == ["relu1", "image"]


def test_names_of_inputs_and_outputs_are_no_attributes() -> None:
    text = spec("relu", input="{state: [3]}", more="outputs: {forward: relu1}\nname: half\n")
    graph = built(text).graph
    assert (graph.inputs[0].name, graph.outputs[0].name, graph.name) == ("state", "forward", "half")


def test_sharing_goes_to_the_first_owner() -> None:
    layer = "conv: {{name: {}, filters: 3, kernel: 3, padding: 1{}}}"
    graph = built(
        spec(
            layer.format("a", ""), layer.format("b", ", share: a"), layer.format("c", ", share: b")
        )
    ).graph
    a, b, c = graph.nodes
    assert b.owner is a
    assert c.owner is a
    assert list(graph.params()) == ["a.weight", "a.bias"]


def test_losses_by_output() -> None:
    more = "outputs: {a: prelu1, b: tanh1}\ntrain: {loss: {b: cross_entropy, a: cross_entropy}, "
    training = built(
        spec("prelu", "tanh", input="[3]", more=more + "optimizer: {sgd: {lr: 1}}}\n")
    ).graph.training
    assert training is not None
    assert list(training.losses.items()) == [("a", CrossEntropy()), ("b", CrossEntropy())]


def test_origin_knows_the_fields() -> None:
    node = built(spec("relu", "conv: {filters: 4, kernel: 3}")).graph.nodes[1]
    assert node.origin is not None
    assert (node.origin.span.line, node.origin.span.column) == (5, 3)
    assert (node.origin.fields["kernel"].line, node.origin.fields["kernel"].column) == (5, 30)


@pytest.mark.parametrize("path", SPECS, ids=lambda p: p.stem)
def test_specs_are_valid(path: Path) -> None:
    found = [warning.code for warning in build(read_spec(read(path))).warnings]
    assert found == (["unread"] if path.stem in ("cifar10_deep", "squeezenet1_1") else [])


# Faults


@pytest.mark.parametrize(
    ("text", "code"),
    [
        # names
        (spec("relu: {from: @@conv}"), "unknown-name"),
        (spec(CONV, "relu: {from: @@con1}"), "unknown-name"),
        (spec(CONV, "add: {from: [conv1, @@conv2]}"), "unknown-name"),
        (spec("relu: {from: @@input}", input=TWO), "unknown-name"),
        (spec("sequence: {name: s, layers: [relu]}", "relu: {from: @@s.0}"), "unknown-name"),
        (spec("relu", more="outputs: @@relu2\n"), "unknown-name"),
        (spec("relu", more="outputs: {a: @@relu2}\n"), "unknown-name"),
        (spec("relu: {from: @@t}", "tanh: {name: t}"), "later-name"),
        (spec("relu: {name: r, from: @@r}"), "later-name"),
        (spec("relu: {name: a}", "tanh: {name: @@a}"), "duplicate-name"),
        (spec("relu: {name: tanh1}", "@@tanh"), "duplicate-name"),
        (spec("relu", "tanh: {name: @@relu1}"), "duplicate-name"),
        (spec("relu: {name: @@a, from: b}", "add: {from: [a, b]}", input=TWO), "duplicate-name"),
        (spec("@@relu", input=TWO), "from-required"),
        (spec("@@relu: {name: r}", input=TWO), "from-required"),
        (spec("sequence: {layers: [{relu: {@@from: input}}]}"), "from-in-sequence"),
        # numbers of inputs
        (spec("@@add"), "wrong-arity"),
        (spec("add: {from: @@input}"), "wrong-arity"),
        (spec(CONV, "relu: {from: @@[conv1, conv1]}"), "wrong-arity"),
        (spec("sequence: {from: @@[input, input], layers: [relu]}"), "wrong-arity"),
        (spec("sequence: {layers: [@@add]}"), "wrong-arity"),
        # shapes
        (spec("conv: {filters: 4, kernel: @@[3, 17]}"), "shape-mismatch"),
        (spec("conv: {filters: 4, kernel: @@[3, 3, 3]}"), "shape-mismatch"),
        (spec("conv: {filters: 4, kernel: 3, stride: @@[1]}"), "shape-mismatch"),
        (spec("conv: {filters: 4, kernel: 3, padding: @@[[0, 1]]}"), "shape-mismatch"),
        (spec("conv: {filters: 4, kernel: 3, padding: @@causal}"), "shape-mismatch"),
        (spec("conv: {filters: 4, kernel: 3, groups: @@2}"), "shape-mismatch"),
        (spec("conv: {filters: 4, kernel: 3, groups: @@3}"), "shape-mismatch"),
        (
            spec("conv: {filters: 4, kernel: 3, padding: 12, padding_mode: @@reflect}"),
            "shape-mismatch",
        ),
        (spec("max_pool: {kernel: @@13}"), "shape-mismatch"),
        (spec("max_pool: {kernel: 2, padding: @@2}"), "shape-mismatch"),
        (spec("@@dense: {units: 3}"), "shape-mismatch"),
        (spec("@@rbf: {units: 3}"), "shape-mismatch"),
        (spec("flatten", "@@conv: {filters: 4, kernel: 3}"), "shape-mismatch"),
        (spec("flatten", "@@global_avg_pool"), "shape-mismatch"),
        (spec(CONV, "add: {from: @@[conv1, input]}"), "shape-mismatch"),
        (spec(CONV, "concat: {from: @@[conv1, input]}"), "shape-mismatch"),
        (spec("conv: {filters: 4, kernel: 3, expect: @@[4, 10, 15]}"), "unexpected-shape"),
        (spec("sequence: {layers: [flatten], expect: @@[575]}"), "unexpected-shape"),
        # sizes
        (spec("relu", input="@@[65536, 32768]"), "too-large"),
        (spec("relu: {from: a}", input="{a: @@[65536, 32768]}"), "too-large"),
        (spec("@@dense: {units: 2147483647}", input="[2]"), "too-large"),
        (spec("@@conv: {filters: 2147483647, kernel: 1}", input="[1, 2]"), "too-large"),
        (
            spec("@@conv: {filters: 1, kernel: 1000000, padding: full}", input="[1, 1, 1]"),
            "too-large",
        ),
        # sharing
        (spec("relu: {share: @@conv1}"), "unknown-name"),
        (spec("relu", "relu: {share: @@relu1}"), "cannot-share"),
        (spec("relu: {share: @@input}"), "cannot-share"),
        (spec(CONV, "conv: {filters: 4, kernel: 1, share: @@conv1}"), "cannot-share"),
        (
            spec("global_avg_pool", "batch_norm: {name: a}", "flatten", "batch_norm: {share: @@a}"),
            "cannot-share",
        ),
        (spec(CONV, "conv: {filters: 4, kernel: 3, share: @@conv1}"), "cannot-share"),
        (spec("prelu", "sequence: {@@share: prelu1, layers: [relu]}"), "cannot-share"),
        (spec("prelu", "sequence: {layers: [{prelu: {@@share: prelu1}}]}"), "cannot-share"),
        (spec("sequence: {name: s, layers: [prelu]}", "prelu: {share: @@s}"), "cannot-share"),
        # outputs
        (spec("relu", more="outputs: @@input\n"), "output-is-input"),
        (spec("@@relu: {name: dead}", "tanh: {from: input}"), "unused-layer"),
        (
            spec("@@prelu: {name: a}", "prelu: {from: input, share: a}"),
            "unused-layer",
        ),
        (spec("relu: {from: a}", input="{a: [3], b: @@[4]}"), "unused-input"),
    ],
)
def test_faults(text: str, code: str) -> None:
    check_marked(text, code)


BOTH = "outputs: {a: relu1, b: tanh1}\n"
CHANNEL = ["flatten", "dense: {units: 1}"]


@pytest.mark.parametrize(
    ("layers", "more", "loss", "code"),
    [
        (["relu", "tanh"], BOTH, "loss: @@cross_entropy", "loss-per-output"),
        (["relu", "tanh"], BOTH, "@@loss: {a: cross_entropy}", "loss-per-output"),
        (["relu"], "", "loss: {output: cross_entropy, @@out: cross_entropy}", "unknown-output"),
        (CHANNEL, "", "loss: @@cross_entropy", "loss-does-not-fit"),
        (CHANNEL, "", "loss: {output: @@cross_entropy}", "loss-does-not-fit"),
        (CHANNEL, "", "loss: @@multi_margin", "loss-does-not-fit"),
        (CHANNEL, "", "loss: {output: @@kl_divergence}", "loss-does-not-fit"),
        (
            ["relu"],
            "",
            "loss: {cross_entropy: {weight_norm: batch, class_weights: @@[1, 2]}}",
            "loss-does-not-fit",
        ),
        (
            ["relu"],
            "",
            "loss: {output: {binary_cross_entropy: {pos_weight: @@[1, 2, 3, 4]}}}",
            "loss-does-not-fit",
        ),
    ],
)
def test_faults_of_losses(layers: list[str], more: str, loss: str, code: str) -> None:
    train = f"train: {{{loss}, optimizer: {{sgd: {{lr: 1}}}}}}\n"
    check_marked(spec(*layers, more=more + train), code)


def test_a_network_without_parameters_cannot_be_trained() -> None:
    more = "@@train: {loss: mean_squared_error, optimizer: {sgd: {lr: 1}}}\n"
    check_marked(spec("relu", more=more), "nothing-to-train")


def test_a_later_name_shows_both_places() -> None:
    fault = check_error(spec("relu: {from: t}", "tanh: {name: t}"), 4, 16, "later-name")
    (other,) = fault.secondary
    assert (other.span.line, other.span.column) == (5, 16)


def test_a_duplicate_name_shows_both_places() -> None:
    fault = check_error(spec("relu", "tanh: {name: relu1}"), 5, 16, "duplicate-name")
    assert [(label.span.line, label.span.column) for label in fault.secondary] == [(4, 3)]
    assert "an unnamed layer" in fault.message


def test_a_shape_error_shows_the_shapes_up_to_it() -> None:
    fault = check_error(
        spec(CONV, "relu", "conv: {filters: 3, kernel: 15}"), 6, 30, "shape-mismatch"
    )
    (note,) = fault.notes
    assert note.splitlines() == [
        "shapes up to here:",
        "input  input  3x12x16",
        "conv1  conv   4x10x14",
        "relu1  relu   4x10x14",
    ]
    assert fault.help == "padding: 3 gives an output, or a kernel that spans at most 10"


def test_the_shape_table_is_short() -> None:
    fault = check_error(spec(*["relu"] * 50, "dense: {units: 1}"), 54, 3, "shape-mismatch")
    assert len(fault.notes[0].splitlines()) == 22
    assert "... 31 more" in fault.notes[0]


def test_inputs_of_different_shape_are_shown() -> None:
    fault = check_error(spec(CONV, "add: {from: [conv1, input]}"), 5, 15, "shape-mismatch")
    assert [label.message for label in fault.secondary] == [
        "`conv1` is 4x10x14",
        "`input` is 3x12x16",
    ]


def test_what_depends_on_a_fault_is_not_reported() -> None:
    text = spec("conv: {filters: 4, kernel: 20}", "relu", "add: {from: [relu1, conv1]}", "flatten")
    assert [d.code for d in errors(text)] == ["shape-mismatch"]


def test_several_faults_are_reported_together() -> None:
    text = spec(
        "conv: {name: a, filters: 4, kernel: 20}",
        "relu: {name: a, from: b}",
        "prelu: {from: input, expect: [3]}",
        "dense: {units: 3, from: input}",
        more="outputs: prelu2\n",
    )
    assert [(d.code, *place(d)) for d in errors(text)] == [
        ("shape-mismatch", 4, 39),
        ("duplicate-name", 5, 16),
        ("unknown-name", 5, 25),
        ("unexpected-shape", 6, 32),
        ("shape-mismatch", 7, 3),
        ("unknown-name", 8, 10),
    ]


def test_did_you_mean() -> None:
    assert check_marked(spec(CONV, "relu: {from: @@con1}"), "unknown-name").help == (
        "did you mean `conv1`?"
    )
    help = check_marked(spec("relu: {name: s}", "relu: {from: @@s.0}"), "unknown-name").help
    assert help == "what is inside `s` cannot be seen from here; its value is `s`"


def test_wrong_names_among_many_are_found_quickly() -> None:
    layers = [f"relu: {{name: layer{i}, from: layr{i - 1}}}" for i in range(3000)]
    start = time.process_time()
    assert {d.code for d in errors(spec(*layers))} == {"unknown-name"}
    assert time.process_time() - start < 30


def test_too_many_layers_in_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MOST_NODES", 3)
    assert len(shapes(spec("sequence: {layers: [relu, relu]}", "relu"))) == 3
    check_error(
        spec("sequence: {layers: [relu, relu]}", "sequence: {layers: [relu, relu]}"),
        3,
        1,
        "too-many-layers",
    )


# Warnings


def test_unread_elements() -> None:
    text = spec("max_pool: {kernel: 3, stride: 2}", input="[3, 12, 12]")
    (warning,) = built(text).warnings
    assert (warning.code, warning.severity, *place(warning)) == ("unread", "warning", 4, 33)
    assert warning.message == (
        "the last element along height and width is never read: floor((12 + 0 + 0 - 3) / 2) + 1 = 5"
    )
    assert warning.help == "padding of 1 after the data gives 6 and reads all of it"


@pytest.mark.parametrize(
    ("layer", "unread"),
    [
        ("max_pool: {kernel: 2}", False),
        ("max_pool: {kernel: 5}", True),
        ("max_pool: {kernel: 5, ceil_mode: true}", False),
        ("conv: {filters: 1, kernel: 1, stride: 3}", False),  # subsampling is meant
        ("conv: {filters: 1, kernel: 3, stride: 2, padding: same}", False),
        ("conv: {filters: 1, kernel: 3, stride: 2, padding: 1}", False),  # only padding is unread
    ],
)
def test_only_real_elements_count_as_unread(layer: str, unread: bool) -> None:
    warnings = built(spec(layer, input="[3, 12, 12]")).warnings
    assert [w.code for w in warnings] == (["unread"] if unread else [])


def test_bias_in_front_of_a_batch_norm() -> None:
    (warning,) = built(spec(CONV, "batch_norm")).warnings
    assert (warning.code, *place(warning), warning.help) == (
        "bias-before-norm",
        4,
        3,
        "`bias: false`",
    )
    assert not built(spec(CONV, "relu", "batch_norm")).warnings


def test_warnings_are_in_the_order_of_the_text() -> None:
    layers = [CONV, "batch_norm", "max_pool: {kernel: 3}", CONV, "batch_norm"]
    found = built(spec(*layers, input="[3, 12, 12]")).warnings
    assert [place(w)[0] for w in found] == [4, 6, 7]


# Size and speed


def test_ten_thousand_layers() -> None:
    layers = ["relu", "conv: {filters: 3, kernel: 1}"] * 5000
    start = time.process_time()
    graph = built(spec(*layers)).graph
    assert len(graph.nodes) == 10_000
    assert time.process_time() - start < 20


def test_an_attack_by_sizes_is_refused_quickly() -> None:
    start = time.process_time()
    pool = "max_pool: {kernel: 2, dilation: 1000000, padding: 1000000}"
    errors(spec(*[pool] * 200, input="[1, 1, 1]"))
    errors(spec("conv: {filters: 2147483647, kernel: 1000000}", input="[1, 2147483647]"))
    assert time.process_time() - start < 5


def test_no_framework_is_imported() -> None:
    code = (
        "import sys\n"
        "from cnnspec.document import read\n"
        "from cnnspec.schema import read_spec\n"
        "from cnnspec.build import build\n"
        "from cnnspec.summary import summarize\n"
        "from cnnspec.summary_text import render_summary\n"
        "from cnnspec.explain import explain\n"
        "from cnnspec.expand import expand\n"
        "from cnnspec.json_schema import json_schema\n"
        "graph = build(read_spec(read(sys.argv[1]))).graph\n"
        "render_summary(summarize(graph)), explain(graph), expand(graph), json_schema()\n"
        "heavy = {'numpy', 'torch', 'tensorflow', 'keras', 'rich', 'scipy', 'safetensors'}\n"
        "print(sorted(heavy & set(sys.modules)))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(SPECS[0])], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


def test_files_are_read_as_text_is() -> None:
    path = SPECS[0]
    assert read_spec(read(path)).layers == read_spec(parse(path.read_text(), "x")).layers


def test_a_fault_in_an_outputs_layer_is_told_once() -> None:
    text = (
        "cnnspec: 1\ninput: [2, 5, 5]\nlayers:\n"
        "  - conv: {name: a, filters: 1, kernel: 9}\n  - relu: {name: b, from: input}\n"
        "outputs: {a: a, b: b}\n"
        "train: {loss: {a: mean_squared_error, b: mean_squared_error}, "
        "optimizer: {sgd: {lr: 0.1}}}\n"
    )
    with pytest.raises(SpecError) as refused:
        build(read_spec(parse(text, "spec.yaml")))
    assert [d.code for d in refused.value.diagnostics] == ["shape-mismatch"]
