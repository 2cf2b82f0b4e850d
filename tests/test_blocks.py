from __future__ import annotations

import pickle
import time
import tracemalloc
from typing import Any

import pytest

from cnnspec.graph import REQUIRED, Argument, Graph, Node, Scope
from cnnspec.ops.base import Op
from cnnspec.schema_fields import read_model
from tests.spec_errors import built, check_marked, errors, place

HEAD = "cnnspec: 1\ninput: [4, 8, 6]\n"
RESNET = """define:
  basic:
    parameters: {channels: required, stride: 1, project: false}
    layers:
      - conv: {name: conv1, filters: $channels, kernel: 3, stride: $stride, padding: 1, bias: false}
      - batch_norm: {name: bn1}
      - relu
      - conv: {name: conv2, filters: $channels, kernel: 3, padding: 1, bias: false}
      - batch_norm: {name: bn2}
      - sequence:
          name: downsample
          from: input
          when: $project
          layers:
            - conv: {filters: $channels, kernel: 1, stride: $stride, bias: false}
            - batch_norm
      - add: {from: [bn2, downsample]}
      - relu
"""


def graph(text: str) -> Graph:
    return built(HEAD + text).graph


def ids(text: str) -> list[str]:
    return [node.id for node in graph(text).nodes]


def scope_at(found: Graph, path: str, kind: str) -> Scope:
    stack = [found.root]
    while stack:
        scope = stack.pop()
        if (scope.path, scope.kind) == (path, kind):
            return scope
        stack += [child for child in scope.children if isinstance(child, Scope)]
    raise KeyError(path)


def reads(node: Node[Op]) -> list[str]:
    return [value.id for value in node.inputs]


# --- what the graph has --------------------------------------------------------------------------


def test_a_block_is_a_scope() -> None:
    found = graph(RESNET + "layers:\n- basic: {name: b, channels: 8, project: true, stride: 2}\n")
    scope = scope_at(found, "b", "block")
    assert scope.block == "basic"
    assert scope.arguments == (
        Argument("channels", 8, None, REQUIRED),
        Argument("stride", 2, None, 1),
        Argument("project", True, None, False),
    )
    assert [node.id for node in scope.nodes()] == [
        "b.conv1", "b.bn1", "b.relu1", "b.conv2", "b.bn2", "b.downsample.0", "b.downsample.1",
        "b.add1", "b.relu2",
    ]  # fmt: skip
    assert found.node("b.conv1").expressions == {"filters": "channels", "stride": "stride"}
    assert found.node("b.conv2").expressions == {"filters": "channels"}
    assert found.node("b.add1").shape == (8, 4, 3)
    downsample = scope_at(found, "b.downsample", "sequence")
    assert downsample.when == "project"
    assert scope.absent == ()
    assert [name for name, _ in scope.inputs] == ["input"]
    assert scope.outputs == (("output", found.node("b.relu2")),)


def test_what_is_left_out_is_recorded() -> None:
    found = graph(RESNET + "layers:\n- basic: {name: b, channels: 4}\n")
    (absent,) = scope_at(found, "b", "block").absent
    assert (absent.name, absent.key, absent.when) == ("downsample", "sequence", "project")
    assert (absent.value, absent.position) == (found.inputs[0], 5)
    assert reads(found.node("b.add1")) == ["b.bn2", "input"]


@pytest.mark.parametrize("when", ["false", "$off", "$(width > 9)"])
def test_what_is_constant_leaves_no_trace(when: str) -> None:
    found = graph(
        "parameters: {off: false, width: 4}\n"
        f"layers: [{{relu: {{name: a, when: {when}}}}}, {{tanh: {{from: a}}}}, relu]\n"
    )
    assert [node.id for node in found.nodes] == ["tanh1", "relu1"]
    assert found.root.absent == ()
    assert reads(found.nodes[0]) == ["input"]


@pytest.mark.parametrize("when", ["true", "$on", "$(not off)"])
def test_a_constant_condition_is_no_expression(when: str) -> None:
    found = graph(f"parameters: {{on: true, off: false}}\nlayers: [{{relu: {{when: {when}}}}}]\n")
    assert found.nodes[0].when is None


def test_unnamed_layers_keep_their_ordinals() -> None:
    block = "define: {b: {parameters: {p: true}, layers: [relu, {relu: {when: $p}}, relu]}}\n"
    found = graph(block + "layers: [b, {b: {p: false}}]\n")
    assert [node.id for node in found.nodes] == [
        "b1.relu1", "b1.relu2", "b1.relu3", "b2.relu1", "b2.relu3",
    ]  # fmt: skip
    assert found.node("b1.relu2").when == "p"
    assert reads(found.node("b2.relu3")) == ["b2.relu1"]


def test_positions_count_what_is_there() -> None:
    block = (
        "define: {b: {parameters: {p: true, n: 2}, layers: [{sequence: {name: s, layers: ["
        "{tanh: {when: $p}}, relu, {tanh: {when: false}}, {relu: {repeat: $n}}, "
        "{relu: {repeat: 1, name: r}}, silu]}}]}}\n"
    )
    found = graph(block + "layers: [b, {b: {p: false, n: 0}}]\n")
    assert [node.id for node in found.nodes] == [
        "b1.s.0", "b1.s.1", "b1.s.2", "b1.s.3", "b1.s.r.0", "b1.s.5",
        "b2.s.0", "b2.s.r.0", "b2.s.2",
    ]  # fmt: skip
    absent = scope_at(found, "b2.s", "sequence").absent
    assert [(a.name, a.key, a.when, a.position) for a in absent] == [
        ("0", "tanh", "p", 0),
        ("1", "relu", "n", 1),
    ]


def test_repeats() -> None:
    found = graph(
        RESNET
        + "layers:\n- basic: {name: a, repeat: 3, channels: 4}\n- basic: {repeat: 1, channels: 4}\n"
    )
    scope = scope_at(found, "a", "repeat")
    assert scope.arguments == (Argument("repeat", 3),)
    assert [child.path for child in scope.children if isinstance(child, Scope)] == [
        "a.0", "a.1", "a.2",
    ]  # fmt: skip
    assert reads(found.node("a.1.conv1")) == ["a.0.relu2"]
    assert scope.inputs == (("input", found.inputs[0]),)
    assert scope.outputs == (("output", found.node("a.2.relu2")),)
    assert reads(found.node("basic1.0.conv1")) == ["a.2.relu2"]


def test_repeats_of_ops_and_sequences() -> None:
    found = graph(
        "layers:\n- conv: {repeat: 2, filters: $(index + count), kernel: 1}\n"
        "- sequence: {name: s, repeat: 2, layers: [relu, {conv: {filters: $(index + 5), kernel: "
        "1}}]}\n"
    )
    assert [node.id for node in found.nodes] == [
        "conv1.0", "conv1.1", "s.0.0", "s.0.1", "s.1.0", "s.1.1",
    ]  # fmt: skip
    assert [node.shape[0] for node in found.nodes] == [2, 3, 3, 5, 5, 6]
    assert found.node("s.1.1").expressions == {"filters": "index + 5"}
    assert found.node("conv1.1").expressions == {"filters": "index + count"}


def test_first_and_last() -> None:
    text = RESNET + (
        "layers:\n"
        "- basic: {name: a, repeat: 3, channels: 8, first: {stride: 2, project: true},"
        " last: {channels: 8}}\n"
        "- basic: {name: b, repeat: 1, channels: 8, first: {project: true, stride: 4},"
        " last: {stride: 2}}\n"
        "- conv: {name: c, repeat: 3, filters: 2, kernel: 1, last: {bias: false}}\n"
    )
    found = graph(text)

    def values(path: str) -> list[object]:
        return [argument.value for argument in scope_at(found, path, "block").arguments]

    assert values("a.0") == [8, 2, True]
    assert values("a.1") == values("a.2") == [8, 1, False]
    assert values("b.0") == [8, 2, True]  # last over first
    assert [found.node(f"c.{i}").op.fields()["bias"] for i in range(3)] == [True, True, False]


def test_instances_with_names_of_their_own() -> None:
    block = "define: {d: {parameters: {c: required}, layers: [{conv: {filters: $c, kernel: 1}}]}}\n"
    found = graph(
        block + "layers:\n- relu\n- d: {name: layer$(index + 1), repeat: 3, c: $(2 * index + 1)}\n"
        "- add: {from: [layer3, layer3]}\n- concat: {from: [add1, layer1]}\n"
    )
    scope = scope_at(found, "", "instances")
    assert scope.named == "layer{index + 1}"
    assert [child.path for child in scope.children if isinstance(child, Scope)] == [
        "layer1", "layer2", "layer3",
    ]  # fmt: skip
    last = scope_at(found, "layer3", "block")
    assert last.arguments == (Argument("c", 5, "2 * index + 1", REQUIRED),)
    assert reads(found.node("concat1")) == ["add1", "layer1.conv1"]


def test_a_name_may_depend_on_a_parameter() -> None:
    block = (
        "define: {b: {parameters: {n: 1}, layers: "
        "[{relu: {name: act$n}}, {tanh: {from: act$n}}]}}\n"
    )
    assert ids(block + "layers: [b, {b: {n: 2}}]\n") == [
        "b1.act1", "b1.tanh1", "b2.act2", "b2.tanh1",
    ]  # fmt: skip


def test_no_repeat_is_the_input() -> None:
    block = (
        "define: {b: {parameters: {n: 0}, layers: "
        "[{relu: {name: r, repeat: $n}}, {tanh: {from: r}}]}}\n"
    )
    found = graph(block + "layers: [{relu: {repeat: 0}}, b, {b: {n: 1}}]\n")
    assert [node.id for node in found.nodes] == ["b1.tanh1", "b2.r.0", "b2.tanh1"]
    (absent,) = scope_at(found, "b1", "block").absent
    assert (absent.name, absent.when, absent.value.id) == ("r", "n", "input")
    assert scope_at(found, "b2.r", "repeat").arguments == (Argument("repeat", 1, "n"),)
    assert found.root.absent == ()


def test_several_inputs_and_outputs() -> None:
    block = (
        "define:\n  up:\n    inputs: [x, skip]\n    outputs: {main: relu1, low: concat1}\n"
        "    layers: [{concat: {from: [skip, x]}}, relu]\n"
    )
    found = graph(
        block + "layers: [{conv: {name: c, filters: 2, kernel: 1}}, "
        "{up: {name: u, from: [c, input]}}, {add: {from: [u.low, u.main]}}, {add: {from: [u, "
        "add1]}}]\n"
    )
    scope = scope_at(found, "u", "block")
    assert [(name, value.id) for name, value in scope.inputs] == [("x", "c"), ("skip", "input")]
    assert [(name, value.id) for name, value in scope.outputs] == [
        ("main", "u.relu1"),
        ("low", "u.concat1"),
    ]
    assert reads(found.node("u.concat1")) == ["input", "c"]
    assert reads(found.node("add1")) == ["u.concat1", "u.relu1"]
    assert reads(found.node("add2")) == ["u.relu1", "add1"]


def test_outputs_of_the_network() -> None:
    found = graph(
        "define: {b: {outputs: {a: relu1, b: tanh1}, layers: [relu, tanh]}}\n"
        "layers: [b, {conv: {filters: 2, kernel: 1}}]\n"
        "outputs: {main: conv1, early: {from: b1.b, training_only: true}}\n"
        "train: {loss: {main: mean_squared_error, early: {mean_squared_error: {weight: 0.3}}},"
        " optimizer: {sgd: {lr: 0.1}}}\n"
    )
    assert [(o.name, o.value.id, o.training_only) for o in found.outputs] == [
        ("main", "conv1", False),
        ("early", "b1.tanh1", True),
    ]
    assert found.training is not None
    assert list(found.training.losses) == ["main", "early"]


def test_splits() -> None:
    block = (
        "define: {b: {parameters: {n: 2}, layers: "
        "[{split: {name: s, into: $n}}, {concat: {from: [s.1, s.0]}}]}}\n"
    )
    found = graph(
        block
        + "layers: [{b: {name: x}}, {split: {sizes: [1, 3]}}]\n"
        + "outputs: {a: split1.0, b: split1.1}\n"
    )
    scope = scope_at(found, "x.s", "split")
    assert [(name, value.id) for name, value in scope.outputs] == [("0", "x.s.0"), ("1", "x.s.1")]
    assert all(reads(child) == ["input"] for child in scope.children if isinstance(child, Node))
    assert reads(found.node("x.concat1")) == ["x.s.1", "x.s.0"]
    assert found.node("x.s.0").expressions == {"into": "n"}
    assert [output.value.id for output in found.outputs] == ["split1.0", "split1.1"]


def test_lists_and_words_with_expressions() -> None:
    block = (
        "define: {b: {parameters: {k: 1, s: 0.5, ks: [1, 1], pads: same}, layers: [{conv: "
        "{filters: 2, "
        "kernel: [1, $k], stride: $ks, padding: $pads, weight_init: {normal: {std: $s}}}}]}}\n"
    )
    found = graph(block + "layers: [{b: {k: 3}}]\n")
    assert found.nodes[0].expressions == {
        "kernel": "(1, k)",
        "stride": "ks",
        "padding": "pads",
        "weight_init.std": "s",
    }
    assert found.nodes[0].op.fields()["kernel"] == (1, 3)


def test_top_level_parameters_are_constants() -> None:
    text = (
        "cnnspec: 1\nname: net$n\ninput: [$n, $size, 6]\n"
        "parameters: {n: 4, size: 8, wide: $(n * 2), rate: 0.5}\n"
        "define: {b: {parameters: {c: $wide}, layers: [{conv: {filters: $(c * wide + n), kernel: "
        "1}}]}}\n"
        "layers: [{conv: {name: l$n, filters: $wide, kernel: 1, expect: [$wide, $size, 6]}}, b, "
        "{b: {c: 1}}]\n"
        "seed: $n\ntrain: {loss: mean_squared_error, optimizer: {sgd: {lr: $rate}}, batch: $size}\n"
    )
    found = built(text).graph
    assert (found.name, found.seed, found.inputs[0].shape) == ("net4", 4, (4, 8, 6))
    assert found.node("l4").expressions == {}
    assert found.node("b1.conv1").expressions == {"filters": "c * 8 + 4"}
    assert [node.shape[0] for node in found.nodes] == [8, 68, 12]
    assert scope_at(found, "b1", "block").arguments == (Argument("c", 8, None, 8),)
    assert found.training is not None
    assert (found.training.batch, found.training.optimizer.lr) == (8, 0.5)


def test_arguments_have_expressions_over_the_block_around() -> None:
    text = (
        "define:\n"
        "  inner: {parameters: {c: required, k: 1}, layers: [{conv: {filters: $c, kernel: $k}}]}\n"
        "  outer: {parameters: {c: required, d: 1}, layers: [{inner: {repeat: 2, c: $(c * d), "
        "last: {k: $d, c: 3}}}]}\n"
        "layers: [{outer: {c: 2}}]\n"
    )
    found = graph(text)
    assert scope_at(found, "outer1.inner1.0", "block").arguments == (
        Argument("c", 2, "c * d", REQUIRED),
        Argument("k", 1, None, 1),
    )
    assert scope_at(found, "outer1.inner1.1", "block").arguments == (
        Argument("c", 3, None, REQUIRED),
        Argument("k", 1, "d", 1),
    )


def test_places() -> None:
    text = HEAD + RESNET + "layers:\n- basic: {name: a, repeat: 2, channels: 4}\n"
    found = built(text).graph
    origin = found.node("a.1.conv2").origin
    assert origin is not None
    assert (origin.span.line, origin.fields["filters"].line) == (10, 10)
    assert [(span.line, span.column) for span in origin.expanded] == [(22, 3)]
    outer = scope_at(found, "a.1", "block").origin
    assert outer is not None
    assert (outer.span.line, outer.expanded) == (22, ())


def test_numbers_keep_their_types() -> None:
    """1, 1.0 and true are equal in Python, and are different arguments."""
    block = "define: {b: {parameters: {p: 0.0}, layers: [{dropout: {p: $p}}]}}\n"
    found = graph(block + "layers: [{b: {p: 0}}, {b: {p: 0.0}}, b]\n")
    kinds = [type(scope_at(found, f"b{i}", "block").arguments[0].value) for i in (1, 2, 3)]
    assert kinds == [int, float, float]
    check_marked(
        HEAD + "define: {b: {parameters: {p: 0}, layers: [{dropout: {p: @@$p}}]}}\n"
        "layers: [{b: {p: 0}}, {b: {p: 0.0}}, {b: {p: false}}]\n",
        "wrong-type",
    )


# --- sharing -------------------------------------------------------------------------------------


def test_a_shared_block_shares_every_layer() -> None:
    found = graph(
        "define:\n"
        "  i: {layers: [{conv: {name: c, filters: 4, kernel: 1}}, batch_norm]}\n"
        "  b: {layers: [i, {conv: {name: e, filters: 4, kernel: 1}}, relu,"
        " {conv: {name: d, share: e, filters: 4, kernel: 1}}]}\n"
        "layers: [{b: {name: x}}, {b: {name: y, share: x}}, {b: {name: z, share: y, repeat: 2}}]\n"
    )
    assert list(found.params()) == [
        "x.i1.c.weight", "x.i1.c.bias", "x.i1.batch_norm1.weight", "x.i1.batch_norm1.bias",
        "x.i1.batch_norm1.running_mean", "x.i1.batch_norm1.running_var", "x.e.weight", "x.e.bias",
    ]  # fmt: skip
    owners = {node.id: node.owner.id for node in found.nodes if node.owner is not None}
    assert owners["y.i1.c"] == owners["z.1.i1.c"] == "x.i1.c"
    assert owners["y.d"] == owners["x.d"] == owners["z.0.d"] == "x.e"
    assert owners["y.relu1"] == "x.relu1"
    assert scope_at(found, "y", "block").owner is scope_at(found, "x", "block")
    assert scope_at(found, "z.1", "block").owner is scope_at(found, "x", "block")
    assert scope_at(found, "z.0.i1", "block").owner is scope_at(found, "x.i1", "block")


def test_instances_may_share_one_layer() -> None:
    found = graph(
        "layers: [{conv: {name: c, filters: 4, kernel: 1}},"
        " {conv: {repeat: 3, share: c, filters: 4, kernel: 1}}]\n"
    )
    assert [node.weights_id for node in found.nodes] == ["c"] * 4


# --- limits --------------------------------------------------------------------------------------

CUBE = """define:
  a: {parameters: {n: 1}, layers: [{conv: {filters: $n, kernel: 1}}]}
  b: {layers: [{a: {repeat: 1000%s}}]}
  c: {layers: [{b: {repeat: 1000}}]}
@@layers: [{c: {repeat: 1000}}]
"""


@pytest.mark.parametrize(
    "text",
    [
        CUBE % "",
        CUBE % ", n: $(index + 1)",
        CUBE.replace("repeat: 1000}}]}\n@@", "name: d$(index), repeat: 1000}}]}\n@@") % "",
        "@@layers: [{relu: {repeat: 1000001}}]\n",
        "@@layers: [{relu: {repeat: 9223372036854775807}}]\n",
        "@@layers: [{relu: {repeat: $(2 * 4503599627370496)}}]\n",
        "define: {e: {layers: [{relu: {when: false}}]}}\n@@layers: [{e: {repeat: 999999, name: "
        "e$index}}, {e: {repeat: 999999}}, {e: {repeat: 999999}}]\n",
        "@@layers: [{sequence: {repeat: 999, layers: [{sequence: {repeat: 999, layers: [relu, "
        "tanh]}}]}}]\n",
        "define: {"
        + ", ".join(
            f"b{i}: {{layers: [{inner}, {inner}]}}"
            for i, inner in enumerate([*(f"b{i}" for i in range(1, 31)), "relu"])
        )
        + "}\n@@layers: [b0]\n",
    ],
)  # fmt: skip
def test_more_than_a_million_layers_are_refused_at_once(text: str) -> None:
    start = time.perf_counter()
    check_marked(HEAD + text, "too-many-layers")
    assert time.perf_counter() - start < 1


def test_a_split_into_too_many_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cnnspec.graph.MOST_NODES", 3)
    check_marked(
        HEAD + "layers: [{@@split: {into: 4}}]\noutputs: {a: split1.0}\n", "too-many-layers"
    )


def nested(depth: int) -> str:
    """So many blocks inside each other."""
    blocks = "".join(f"  b{i}: {{layers: [b{i + 1}]}}\n" for i in range(depth - 1))
    return f"{HEAD}define:\n{blocks}  b{depth - 1}: {{layers: [relu]}}\nlayers: [b0]\n"


def test_nesting_has_a_limit() -> None:
    assert len(built(nested(63)).graph.nodes) == 1
    for depth in (65, 5000):
        (found,) = errors(nested(depth))
        assert found.code == "nesting-too-deep"
    (found,) = errors(nested(63).replace("[b0]", "[{sequence: {layers: [{b0: {repeat: 2}}]}}]"))
    assert (found.code, place(found)) == ("nesting-too-deep", (67, 11))


def test_time_and_memory_grow_linearly() -> None:
    def text(count: int) -> str:
        return HEAD + RESNET + "layers:\n" + "".join(
            f"- basic: {{name: b{i}, repeat: 10, channels: {4 + i % 3}, "
            "first: {project: true}}\n"
            for i in range(count // 72)
        )  # fmt: skip

    seconds, peaks = [], []
    for count in (1000, 4000):
        tracemalloc.start()
        start = time.perf_counter()
        nodes = len(built(text(count)).graph.nodes)
        seconds.append((time.perf_counter() - start) / nodes)
        peaks.append(tracemalloc.get_traced_memory()[1] / nodes)
        tracemalloc.stop()
    assert peaks[1] < 1.5 * peaks[0]
    assert seconds[1] < 3 * seconds[0]


def test_fields_are_checked_once_for_the_same_arguments(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []

    def counted(*arguments: Any, what: str, **more: Any) -> object:
        calls.append(what)
        return read_model(*arguments, what=what, **more)

    monkeypatch.setattr("cnnspec.instances.read_model", counted)
    graph(
        RESNET + "layers:\n- basic: {repeat: 50, channels: 4}\n"
        "- basic: {repeat: 50, channels: 5, first: {project: true}}\n"
    )
    assert calls == ["`conv`"] * 5  # two for each number of channels, and the projection


def test_graphs_can_be_sent_to_another_process() -> None:
    found = pickle.loads(pickle.dumps(graph(RESNET + "layers:\n- basic: {channels: 4}\n")))  # noqa: S301 - made here
    (argument, *_) = scope_at(found, "basic1", "block").arguments
    assert argument.default is REQUIRED


def test_ten_thousand_layers_are_read_in_seconds() -> None:
    text = HEAD + RESNET + "layers:\n- basic: {repeat: 1430, channels: 4}\n"
    start = time.process_time()
    assert len(built(text).graph.nodes) > 10_000
    assert time.process_time() - start < 5


# --- layers with several inputs that are left out ------------------------------------------------

MERGES = """\
define:
  mix:
    inputs: [left, right]
    layers: [{add: {from: [right, left]}}]
  unit:
    parameters: {residual: true, mixed: true}
    layers:
      - conv: {name: conv, filters: 4, kernel: 1}
      - add: {name: sum, from: [conv, input], when: $residual}
      - mix: {name: mix, from: [sum, conv], when: $(mixed and residual)}
      - relu
"""


def test_a_layer_that_is_left_out_stands_for_its_first_input() -> None:
    found = graph(MERGES + "layers: [unit, {unit: {residual: false}}, {unit: {mixed: false}}]\n")
    assert [node.id for node in found.nodes] == [
        "unit1.conv", "unit1.sum", "unit1.mix.add1", "unit1.relu1",
        "unit2.conv", "unit2.relu1",
        "unit3.conv", "unit3.sum", "unit3.relu1",
    ]  # fmt: skip
    assert found.node("unit1.sum").when == "residual"
    assert scope_at(found, "unit1.mix", "block").when == "mixed and residual"
    assert reads(found.node("unit1.relu1")) == ["unit1.mix.add1"]
    assert reads(found.node("unit2.relu1")) == ["unit2.conv"]
    assert reads(found.node("unit3.relu1")) == ["unit3.sum"]
    absent = scope_at(found, "unit2", "block").absent
    assert [(a.name, a.key, a.when, a.value.id, a.position) for a in absent] == [
        ("sum", "add", "residual", "unit2.conv", 1),
        ("mix", "mix", "mixed and residual", "unit2.conv", 1),
    ]


def test_whatever_merges_can_be_left_out() -> None:
    for layer in ("add", "concat", "multiply", "average", "maximum", "subtract"):
        found = graph(f"layers: [relu, {{{layer}: {{from: [relu1, input], when: false}}}}, tanh]\n")
        assert [node.id for node in found.nodes] == ["relu1", "tanh1"]
        assert reads(found.node("tanh1")) == ["relu1"]
