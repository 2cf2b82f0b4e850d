from __future__ import annotations

import pytest

from cnnspec.ops import base
from cnnspec.ops.activation import Relu
from cnnspec.render import render
from tests.spec_errors import built, check_marked, errors, place, unmark

HEAD = "cnnspec: 1\ninput: [4, 8, 6]\n"
B = "define: {b: {parameters: {n: 2}, layers: [{conv: {filters: $n, kernel: 1}}]}}\n"


@pytest.mark.parametrize(
    ("text", "code"),
    [
        # define
        ("define: {@@relu: {layers: [tanh]}}\nlayers: [tanh]\n", "block-is-op"),
        ("define: {@@sequence: {layers: [tanh]}}\nlayers: [tanh]\n", "block-is-op"),
        # Layers of this name are read as the op, which is what they can be.
        ("define: {@@gelu: {layers: [tanh]}}\nlayers: [{gelu: {name: a}}]\n", "block-is-op"),
        ("layers: [{gelu: {repeat: 2, first: {@@name: a}}}]\n", "unknown-field"),
        ("define: {@@a b: {layers: [tanh]}}\nlayers: [tanh]\n", "bad-name"),
        ("define: {@@class: {layers: [tanh]}}\nlayers: [tanh]\n", "bad-name"),
        ("define: {b: @@3}\nlayers: [tanh]\n", "wrong-type"),
        ("define: {b: {layers: [tanh], @@layer: 1}}\nlayers: [tanh]\n", "unknown-field"),
        ("define: {@@b: {}}\nlayers: [tanh]\n", "missing-field"),
        ("define: {b: {@@layers: []}}\nlayers: [tanh]\n", "no-layers"),
        ("define: {b: {layers: [@@tanhh]}}\nlayers: [tanh]\n", "unknown-op"),
        (
            "define: {b: {layers: [{conv: {filters: 1, kernel: @@0}}]}}\nlayers: [tanh]\n",
            "out-of-range",
        ),
        (
            "define: {b: {layers: [{@@conv: {filters: $n}}], parameters: {n: 1}}}\nlayers: "
            "[tanh]\n",
            "missing-field",
        ),
        (
            "define: {b: {layers: [{conv: {filters: $n, kernel: 1, @@kernal: 3}}], parameters: "
            "{n: 1}}}\nlayers: [tanh]\n",
            "unknown-field",
        ),
        # parameters
        (
            "define: {b: {parameters: {@@y_channels: 1}, inputs: [y], layers: [tanh]}}\n"
            "layers: [tanh]\n",
            "bad-name",
        ),
        (
            "define: {b: {parameters: {n: @@null}, layers: [{relu: {repeat: $n}}]}}\nlayers: "
            "[tanh]\n",
            "wrong-type",
        ),
        (
            "define: {b: {parameters: {n: @@{a: 1}}, layers: [{relu: {repeat: $n}}]}}\n"
            "layers: [tanh]\n",
            "wrong-type",
        ),
        (
            "define: {b: {parameters: {n: [1, @@[2]]}, layers: [{relu: {repeat: $n}}]}}\n"
            "layers: [tanh]\n",
            "wrong-type",
        ),
        (
            "define: {b: {parameters: {n: @@9007199254740993}, layers: [{relu: {repeat: "
            "$n}}]}}\nlayers: [tanh]\n",
            "out-of-range",
        ),
        ("define: {b: {parameters: @@[n], layers: [tanh]}}\nlayers: [tanh]\n", "wrong-type"),
        ("parameters: {n: 1, m: $@@nn}\nlayers: [tanh]\n", "unknown-parameter"),
        ("parameters: {m: $@@n, n: 1}\nlayers: [tanh]\n", "unknown-parameter"),
        ("parameters: {@@n: required}\nlayers: [{relu: {repeat: $n}}]\n", "missing-argument"),
        ("layers: [{relu: {repeat: $@@n}}]\n", "unknown-parameter"),
        ("layers: [{relu: {name: r$(@@index)}}]\n", "unknown-parameter"),
        ("layers: [{relu: {repeat: $(@@count)}}]\n", "unknown-parameter"),
        ("layers: [{relu: {repeat: 2, when: $(@@index > 0)}}]\n", "unknown-parameter"),
        (B.replace("$n", "$@@index") + "layers: [{b: {repeat: 2}}]\n", "unknown-parameter"),
        # arguments
        (B + "layers: [{b: {@@m: 1}}]\n", "unknown-argument"),
        (B.replace("2", "required") + "layers: [@@b]\n", "missing-argument"),
        (
            B.replace('2', 'required') + "layers: [{@@b: {repeat: 2, first: {n: 1}}}]\n",
            "missing-argument",
        ),
        (B + "layers: [{b: {repeat: 2, first: {@@m: 1}}}]\n", "unknown-argument"),
        (B + "layers: [{b: {n: @@null}}]\n", "wrong-type"),
        (B + "layers: [{b: {repeat: 2, last: {n: @@null}}}]\n", "wrong-type"),
        (B + "layers: [{b: {repeat: 2, last: @@3}}]\n", "wrong-type"),
        ("parameters: {l: [1]}\n" + B + "layers: [{b: {n: [@@$l]}}]\n", "wrong-type"),
        # first and last
        ("layers: [{relu: {@@first: {}}}]\n", "first-without-repeat"),
        (B + "layers: [{b: {@@last: {n: 1}}}]\n", "first-without-repeat"),
        (
            "layers: [{conv: {repeat: 2, filters: 1, kernel: 1, first: {@@strid: 2}}}]\n",
            "unknown-field",
        ),
        (
            "layers: [{conv: {repeat: 2, filters: 1, kernel: 1, first: {stride: @@0}}}]\n",
            "out-of-range",
        ),
        (
            "layers: [{conv: {repeat: 2, filters: 4, kernel: 1, last: {groups: @@3}}}]\n",
            "shape-mismatch",
        ),
        # repeat and when
        ("layers: [relu, {add: {from: [input, relu1], @@repeat: 2}}]\n", "cannot-repeat"),
        ("layers: [{split: {into: 2, @@repeat: 2}}]\n", "cannot-repeat"),
        (
            "define: {b: {layers: [{split: {into: 2, @@when: $p}}, relu], parameters: {p: "
            "true}}}\nlayers: [b]\n",
            "cannot-leave-out",
        ),
        (
            "define: {b: {outputs: {a: relu1, c: relu2}, layers: [relu, relu]}}\nlayers: [{b: "
            "{@@repeat: 2}}]\n",
            "cannot-repeat",
        ),
        (
            "define: {b: {outputs: {a: relu1, c: relu2}, layers: [relu, relu]}}\nlayers: [{b: "
            "{@@when: false}}, relu]\n",
            "cannot-leave-out",
        ),
        ("layers: [relu, {relu: {from: @@[input, relu1], when: false}}]\n", "wrong-arity"),
        ("layers: [relu, {@@add: {when: false}}]\n", "wrong-arity"),
        (
            "layers: [relu, {subtract: {from: @@[relu1, input, input], when: false}}]\n",
            "wrong-arity",
        ),
        ("layers: [{sequence: {layers: [relu, {@@add: {when: false}}]}}]\n", "wrong-arity"),
        (
            "layers: [relu, {sequence: {from: @@[input, relu1], when: false, layers: [relu]}}]\n",
            "wrong-arity",
        ),
        (
            "define: {b: {inputs: [y, z], layers: [{add: {from: [y, z]}}]}}\nlayers: [relu, {b: "
            "{from: @@[input, relu1, input], when: false}}]\n",
            "wrong-arity",
        ),
        (
            "define: {b: {inputs: [y, z], layers: [{add: {from: [y, z]}}]}}\nlayers: [relu, {@@b: "
            "{when: false}}]\n",
            "wrong-arity",
        ),
        (B.replace("kernel: 1", "kernel: 1, repeat: @@$(n / 1)") + "layers: [b]\n", "wrong-type"),
        (B.replace("kernel: 1", "kernel: 1, repeat: @@$(n - 3)") + "layers: [b]\n", "out-of-range"),
        (B.replace("kernel: 1", "kernel: 1, when: @@$n") + "layers: [b]\n", "wrong-type"),
        (
            B.replace('kernel: 1', 'kernel: 1, when: $(@@1 / (n - 2) > 0)') + "layers: [b]\n",
            "expression-value",
        ),
        (B.replace("kernel: 1", "kernel: 1, name: @@$n") + "layers: [b]\n", "wrong-type"),
        (B.replace("kernel: 1", "kernel: 1, name: @@a-$n") + "layers: [b]\n", "bad-name"),
        (
            B.replace("kernel: 1", "kernel: 1, name: @@$m").replace("n: 2", "n: 2, m: half")
            + "layers: [b]\n",
            "bad-name",
        ),
        (B.replace("kernel: 1", "kernel: 1, from: @@$n") + "layers: [b]\n", "wrong-type"),
        (
            B.replace("kernel: 1", "kernel: 1, from: @@$m").replace("n: 2", "n: 2, m: q")
            + "layers: [b]\n",
            "unknown-name",
        ),
        (
            B.replace('kernel: 1', 'kernel: 1, expect: @@[$n, 9, 6]') + "layers: [b]\n",
            "unexpected-shape",
        ),
        (
            B.replace('kernel: 1', 'kernel: 1, expect: [@@$(n / 2), 8, 6]') + "layers: [b]\n",
            "wrong-type",
        ),
        ("layers: [{relu: {repeat: 2, expect: @@[4, 8, 7]}}]\n", "unexpected-shape"),
        ("layers: [{relu: {name: a$index, repeat: 2}}, {relu: {name: @@a1}}]\n", "duplicate-name"),
        # values in the block
        (B.replace("$n", "@@$n") + "layers: [{b: {n: 2.5}}]\n", "wrong-type"),
    ],
)  # fmt: skip
def test_faults(text: str, code: str) -> None:
    check_marked(HEAD + text, code)


@pytest.mark.parametrize(
    ("text", "code"),
    [
        # wires
        (
            "define: {b: {inputs: [y, z], layers: [{add: {from: [y, z]}}]}}\nlayers: [@@b]\n",
            "wrong-arity",
        ),
        (
            "define: {b: {inputs: [y, z], layers: [{add: {from: [y, z]}}]}}\nlayers: [{b: "
            "{from: @@[input]}}]\n",
            "wrong-arity",
        ),
        (B + "layers: [{b: {from: @@[input, input]}}]\n", "wrong-arity"),
        (
            "define: {b: {inputs: [y, z], layers: [@@relu, {add: {from: [y, z]}}]}}\nlayers: "
            "[{b: {from: [input, input]}}]\n",
            "from-required",
        ),
        (
            "define: {b: {inputs: [y, z], layers: [{relu: {from: y}}, {add: {from: [@@input, "
            "z]}}]}}\nlayers: [{b: {from: [input, input]}}]\n",
            "unknown-name",
        ),
        (
            "define: {b: {inputs: [y, @@z], layers: [{relu: {from: y}}]}}\nlayers: [{b: {from: "
            "[input, input]}}]\n",
            "unused-input",
        ),
        (
            "define: {b: {inputs: [y, @@y], layers: [{relu: {from: y}}]}}\nlayers: [relu]\n",
            "duplicate-name",
        ),
        (
            "define: {b: {inputs: [y, @@input], layers: [{relu: {from: y}}]}}\nlayers: [relu]\n",
            "bad-name",
        ),
        ("define: {b: {inputs: @@y, layers: [{relu: {from: y}}]}}\nlayers: [relu]\n", "wrong-type"),
        (
            "define: {b: {inputs: [y, z], layers: [{add: {name: @@y, from: [y, z]}}]}}\n"
            "layers: [{b: {from: [input, input]}}]\n",
            "duplicate-name",
        ),
        ("layers: [relu, b]\ndefine: {b: {layers: [{relu: {from: @@relu1}}]}}\n", "later-name"),
        ("define: {b: {layers: [{tanh: {from: @@relu1}}]}}\nlayers: [relu, b]\n", "unknown-name"),
        ("define: {b: {outputs: @@tanh1, layers: [relu]}}\nlayers: [b]\n", "unknown-name"),
        ("define: {b: {outputs: {a: @@input}, layers: [relu]}}\nlayers: [b]\n", "output-is-input"),
        ("define: {b: {outputs: @@[relu1], layers: [relu]}}\nlayers: [b]\n", "wrong-type"),
        ("define: {b: {outputs: {a: @@1}, layers: [relu]}}\nlayers: [b]\n", "wrong-type"),
        (
            "define: {b: {outputs: {a: relu1, c: tanh1}, layers: [relu, tanh]}}\nlayers: [b, "
            "{add: {from: [b1, @@b1.d]}}]\n",
            "unknown-name",
        ),
        (
            "define: {b: {layers: [relu, tanh]}}\nlayers: [b, {add: {from: [b1, "
            "@@b1.relu1]}}]\n",
            "unknown-name",
        ),
        (
            "define: {b: {outputs: {a: relu1, c: tanh1}, layers: [relu, tanh]}}\nlayers: "
            "[{add: {from: [input, @@b1.c]}}, b]\n",
            "later-name",
        ),
        (
            "define: {b: {outputs: {a: relu1, c: tanh1}, layers: [relu, tanh]}}\nlayers: "
            "[{sequence: {layers: [@@b]}}]\n",
            "wrong-arity",
        ),
        ("layers: [{sequence: {layers: [{@@split: {into: 2}}]}}]\n", "wrong-arity"),
        ("layers: [{split: {into: @@3}}, relu]\n", "shape-mismatch"),
        (
            "layers: [{split: {into: 2, share: @@x}}, {add: {from: [split1.0, split1.1]}}]\n",
            "unknown-name",
        ),
        ("@@layers: [{relu: {when: false}}]\n", "output-is-input"),
        # what is not used
        (
            "define: {b: {layers: [{@@tanh: {name: dead}}, {relu: {from: input}}]}}\n"
            "layers: [b, b]\n",
            "unused-layer",
        ),
        ("layers: [{@@split: {into: 2}}, relu]\n", "unused-layer"),
        # sharing
        (B + "layers: [{b: {name: x}}, {b: {n: 3, share: @@x}}]\n", "cannot-share"),
        (
            B + "layers: [{b: {name: x}}, {conv: {filters: 2, kernel: 1, share: @@x}}]\n",
            "cannot-share",
        ),
        (
            B + "layers: [{conv: {name: x, filters: 2, kernel: 1}}, {b: {share: @@x}}]\n",
            "cannot-share",
        ),
        (
            B + "layers: [{b: {name: x}}, {conv: {filters: 3, kernel: 1}}, {b: {share: @@x}}]\n",
            "cannot-share",
        ),
        (B + "layers: [{b: {name: x, repeat: 2}}, {b: {share: @@x}}]\n", "cannot-share"),
        (
            B + "layers: [{b: {name: x}}, {sequence: {layers: [{b: {@@share: x}}]}}]\n",
            "cannot-share",
        ),
        (B + "layers: [{relu: {name: x, when: false}}, b, {b: {share: @@x}}]\n", "cannot-share"),
        (
            B + "layers: [{split: {into: 2}}, {add: {from: [split1.0, split1.1]}}, {b: {share: "
            "@@split1}}]\n",
            "cannot-share",
        ),
        (
            B + "layers: [{split: {into: 2}}, {add: {from: [split1.0, split1.1]}}, {b: {share: "
            "@@split1.0}}]\n",
            "cannot-share",
        ),
        # nesting
        ("define: {b: {layers: [@@b]}}\nlayers: [relu]\n", "block-recursion"),
        (
            "define: {b: {layers: [{sequence: {layers: [{@@b: {when: false}}]}}]}}\nlayers: "
            "[relu]\n",
            "block-recursion",
        ),
        (
            "define: {b: {layers: [c]}, c: {layers: [d]}, d: {layers: [relu, @@b]}}\nlayers: "
            "[b]\n",
            "block-recursion",
        ),
    ],
)  # fmt: skip
def test_faults_of_wires(text: str, code: str) -> None:
    check_marked(HEAD + text, code)


@pytest.mark.parametrize(
    "name",
    "self x in_channels name training repeat first expect trainable min index count input"
    " class".split(),
)
def test_names_that_parameters_cannot_have(name: str) -> None:
    text = f"define: {{b: {{parameters: {{@@{name}: 1}}, layers: [tanh]}}}}\nlayers: [tanh]\n"
    check_marked(HEAD + text, "bad-name")
    check_marked(HEAD + f"parameters: {{@@{name}: 1}}\nlayers: [tanh]\n", "bad-name")


def test_recursion_shows_the_way() -> None:
    found = check_marked(
        HEAD + "define:\n  b: {layers: [c]}\n  c: {layers: [@@b]}\nlayers: [relu]\n",
        "block-recursion",
    )
    assert found.message == "block `b` uses itself by way of `c`"
    assert [(label.span.line, label.message) for label in found.secondary] == [(4, "`b` uses `c`")]


def test_faults_inside_a_block_show_both_places() -> None:
    text, line, column = unmark(
        HEAD
        + "define:\n  inner: {parameters: {k: 1}, layers: [{conv: {filters: 2, kernel: @@$k}}]}\n"
        "  outer: {parameters: {k: 1}, layers: [{inner: {k: $k}}]}\n"
        "layers:\n- outer\n- outer: {k: 99}\n- outer: {k: 98}\n- outer: {repeat: 50, k: 97}\n"
    )
    (found,) = errors(text)  # told once
    assert (found.code, place(found)) == ("shape-mismatch", (line, column))
    assert [(label.message, label.span.line) for label in found.secondary] == [
        ("used here", 5),
        ("used here", 8),
    ]
    assert "used here" in render([found])


def test_a_list_where_a_number_is_needed() -> None:
    text, line, column = unmark(
        HEAD + "define: {b: {parameters: {c: required}, layers: [{dense: {units: @@$c}}]}}\n"
        "layers: [{b: {c: [1, 2]}}]\n"
    )
    (found,) = errors(text)
    assert (found.code, place(found)) == ("wrong-type", (line, column))
    assert found.message == "`units` of `dense`: expected a whole number"
    assert [label.span.line for label in found.secondary] == [4]


def test_unused_parameters_warn() -> None:
    text = (
        HEAD + "parameters: {a: 1, b: 2}\ndefine: {x: {parameters: {c: 1, d: 2}, "
        "layers: [{relu: {repeat: $(d + a)}}]}, y: {layers: [relu]}}\nlayers: [x]\n"
    )
    found = built(text).warnings
    assert [(w.code, place(w)) for w in found] == [
        ("unused-parameter", (3, 20)),
        ("unused-parameter", (4, 27)),
    ]
    assert all(w.severity == "warning" for w in found)


def test_warnings_inside_a_block_are_told_once() -> None:
    text, line, column = unmark(
        HEAD + "define: {b: {layers: [{@@conv: {filters: 4, kernel: 1}}, batch_norm]}}\n"
        "layers: [{b: {repeat: 9}}]\n"
    )
    (warning,) = built(text).warnings
    assert (warning.code, place(warning)) == ("bias-before-norm", (line, column))
    assert [(label.message, label.span.line) for label in warning.secondary] == [("used here", 4)]


def test_a_plug_in_loses_against_a_block(monkeypatch: pytest.MonkeyPatch) -> None:
    class Swirl(Relu):
        """A plug-in's op."""

    Swirl.__module__ = "elsewhere"
    monkeypatch.setitem(base._REGISTRY, "swirl", Swirl)
    text, line, column = unmark(HEAD + "define: {@@swirl: {layers: [tanh]}}\nlayers: [swirl]\n")
    done = built(text)
    assert [node.op.key for node in done.graph.nodes] == ["tanh"]
    (warning,) = done.warnings
    assert (warning.code, place(warning)) == ("block-hides-op", (line, column))


MERGES = """\
cnnspec: 1
input: {a: [4, 8, 6], b: [4, 8, 6]}
define:
  unit:
    inputs: [left, right]
    parameters: {residual: true}
    layers:
      - tanh: {name: side, from: right}
      - relu: {name: main, from: left}
      - add: {name: merged, from: [main, side], when: $residual}
layers:
  - unit: {from: [a, b]}
"""


def test_a_layer_whose_reader_is_left_out() -> None:
    assert [node.id for node in built(MERGES).graph.nodes][-1] == "unit1.merged"
    text = MERGES.replace("unit: {from", "unit: {residual: false, from")
    (found,) = errors(text)
    assert (found.code, *place(found)) == ("unused-layer", 8, 9)
    assert found.message == "`unit1.side` reaches no output"
    assert found.help == "give it the same `when:`"
    assert [(label.message, label.span.line) for label in found.secondary] == [
        ("this takes out a layer that would read it", 10),
        ("used here", 12),
    ]


def test_an_input_whose_reader_is_left_out() -> None:
    text = MERGES.replace("from: right", "from: right, when: $residual")
    (found,) = errors(text.replace("unit: {from", "unit: {residual: false, from"))
    assert (found.code, *place(found)) == ("unused-input", 2, 26)
    assert found.message == "input `b` reaches no output"
    assert [(label.message, label.span.line) for label in found.secondary] == [
        ("this takes out a layer that would read it", 10),
    ]


def test_what_takes_a_reader_out_may_decide_what_it_reads() -> None:
    text = """\
cnnspec: 1
input: [4, 8, 6]
define:
  unit:
    parameters: {others: [], merges: false}
    layers:
      - relu: {name: main}
      - add: {from: [main, $others], when: $merges}
layers:
  - unit: {others: [input], merges: true}
  - unit
"""
    graph = built(text).graph
    assert [node.id for node in graph.nodes] == ["unit1.main", "unit1.add1", "unit2.main"]
