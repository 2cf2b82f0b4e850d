"""The smallest inputs on which a network is still itself."""

from __future__ import annotations

import itertools
import json
import math
import time
from pathlib import Path
from typing import Any

import pytest

from cnnspec.build import build
from cnnspec.check import SpecReport, check
from cnnspec.check.command import command
from cnnspec.check.options import EXIT_STATUS
from cnnspec.diagnostics import SetupError
from cnnspec.document import parse, read
from cnnspec.graph import Graph, Scope
from cnnspec.ops.base import Shape, spatial
from cnnspec.passes.rebuild import resize
from cnnspec.passes.reduce import reduce
from cnnspec.schema import read_spec

ROOT = Path(__file__).parents[1]


def graph_of(layers: str, input: str = "[3, 32, 32]", rest: str = "") -> Graph:
    text = f"cnnspec: 1\nname: net\ninput: {input}\nlayers:\n{layers}{rest}"
    return build(read_spec(parse(text, "net.yaml"))).graph


def shapes(graph: Graph) -> list[Shape]:
    return [entry.shape for entry in graph.inputs]


@pytest.mark.parametrize(
    ("layers", "input", "expected"),
    [
        # Two windows along each axis, and different axes.
        ("  - conv: {filters: 2, kernel: 3}\n", "[1, 28, 28]", (1, 4, 5)),
        # A stride between two windows; the last pixel may be left unread.
        ("  - max_pool: {kernel: 3, stride: 2}\n", "[1, 28, 28]", (1, 5, 6)),
        # Two windows would do on 3 pixels, but the outer taps would see padding alone.
        ("  - conv: {filters: 2, kernel: 7, stride: 2, padding: 3}\n", "[1, 28, 28]", (1, 5, 6)),
        # A mean over more than one position, in front of layers that do not mind.
        ("  - global_avg_pool\n  - flatten\n  - dense: {units: 3}\n", "[4, 9, 9]", (4, 2, 3)),
        # Axes that the spec has as 1 stay 1.
        ("  - conv: {filters: 2, kernel: [1, 3]}\n", "[1, 1, 28]", (1, 1, 4)),
        # One axis, and three.
        ("  - conv: {filters: 2, kernel: 5, stride: 4}\n", "[1, 99]", (1, 9)),
        ("  - conv: {filters: 2, kernel: 2}\n", "[1, 16, 16, 16]", (1, 3, 4, 5)),
        # Sizes that two branches have to agree on: multiples of 4, as for a U-Net.
        (
            "  - max_pool: {kernel: 4}\n  - upsample: {scale: 4}\n"
            "  - concat: {from: [upsample1, input]}\n",
            "[1, 16, 16]",
            (1, 8, 12),
        ),
    ],
)
def test_the_smallest_input_is_found(layers: str, input: str, expected: Shape) -> None:
    assert shapes(reduce(graph_of(layers, input))) == [expected]


@pytest.mark.parametrize(
    ("layers", "input"),
    [
        ("  - flatten\n  - dense: {units: 3}\n", "[1, 28, 28]"),
        ("  - conv: {filters: 2, kernel: 27}\n  - flatten\n  - dense: {units: 3}\n", "[1, 28, 28]"),
        ("  - reshape: {shape: [4, 7, 28]}\n", "[1, 28, 28]"),
        ("  - dense: {units: 3}\n", "[5]"),
        ("  - conv: {filters: 2, kernel: 3}\n", "[1, 4, 5]"),
    ],
)
def test_a_fixed_size_stays_as_it_is(layers: str, input: str) -> None:
    graph = graph_of(layers, input)
    assert reduce(graph) is graph


def test_equal_axes_are_allowed_only_where_the_spec_has_them() -> None:
    both = "  - permute: {axes: [0, 2, 1]}\n  - add: {from: [permute1, input]}\n"
    assert shapes(reduce(graph_of(both, "[1, 9, 9]"))) == [(1, 2, 2)]


def test_inputs_of_one_size_change_together_and_others_in_proportion() -> None:
    text = """\
cnnspec: 1
input: {low: [2, 8, 8], high: [2, 16, 16], flag: [3]}
layers:
  - max_pool: {name: halved, from: high, kernel: 2}
  - add: {name: both, from: [low, halved]}
  - global_avg_pool: {from: both}
  - flatten
  - concat: {from: [flatten1, flag]}
  - dense: {units: 2}
"""
    graph = build(read_spec(parse(text, "net.yaml"))).graph
    assert shapes(reduce(graph)) == [(2, 2, 3), (2, 4, 6), (3,)]


def legal(graph: Graph, shape: Shape) -> bool:
    """The definition, taken literally, on one input."""
    from cnnspec.ops.base import Reject

    try:
        small = resize(graph, {graph.inputs[0].name: shape})
    except (Reject, AssertionError):
        return False
    for own, node in zip(graph.nodes, small.nodes, strict=True):
        for a, b in [
            (own.shape, node.shape),
            *zip(own.input_shapes, node.input_shapes, strict=True),
        ]:
            if any(n > 1 and m == 1 for n, m in zip(spatial(a), spatial(b), strict=False)):
                return False
        for a, b in zip(own.input_shapes, node.input_shapes, strict=True):
            window = node.op.window(b)
            if window is not None and dead(window, b) > dead(own.op.window(a), a):
                return False
    return True


def dead(window: Any, shape: Shape) -> int:
    """Taps that never meet an element, counted one window after the other."""
    found = 0
    for axis, n in enumerate(spatial(shape)):
        positions = window.output(spatial(shape))[axis]
        before, _ = window.pads[axis]
        for tap in range(window.kernel[axis]):
            reads = (
                position * window.stride[axis] - before + tap * window.dilation[axis]
                for position in range(positions)
            )
            found += not any(0 <= element < n for element in reads)
    return found


@pytest.mark.parametrize(
    "layers",
    [
        "  - conv: {filters: 2, kernel: [3, 5], stride: [2, 1], padding: [[0, 2], [1, 1]]}\n",
        "  - conv: {filters: 2, kernel: 3, dilation: 3, padding: same}\n"
        "  - max_pool: {kernel: 3, stride: 2, padding: 1, ceil_mode: true}\n",
        "  - conv: {filters: 2, kernel: 4, stride: 3, padding: full}\n  - batch_norm\n"
        "  - avg_pool: {kernel: [2, 3]}\n",
        "  - pad: {padding: 2, mode: reflect}\n  - conv: {filters: 2, kernel: 3, stride: 2}\n",
    ],
)
def test_nothing_smaller_is_legal(layers: str) -> None:
    graph = graph_of(layers, "[1, 14, 14]")
    (found,) = shapes(reduce(graph))
    assert legal(graph, found)
    smaller = [
        (1, h, w)
        for h, w in itertools.product(range(1, 15), repeat=2)
        if h != w and h * w < math.prod(found) and legal(graph, (1, h, w))
    ]
    assert smaller == []


def test_a_reduced_graph_is_the_same_but_for_its_shapes() -> None:
    text = """\
cnnspec: 1
input: [3, 64, 64]
define:
  down:
    parameters: {channels: required, project: true}
    layers:
      - conv: {name: conv, filters: $channels, kernel: 3, stride: 2, padding: 1, bias: false}
      - batch_norm: {name: bn}
      - relu: {when: $project}
layers:
  - down: {name: first, channels: 4}
  - down: {name: rest, repeat: 2, channels: 8, last: {project: false}}
  - conv: {name: head, filters: 8, kernel: 1}
  - conv: {name: again, filters: 8, kernel: 1, share: head}
  - global_avg_pool
train: {loss: mean_squared_error, optimizer: {sgd: {lr: 0.1}}}
"""
    graph = build(read_spec(parse(text, "net.yaml"))).graph
    small = reduce(graph)
    assert shapes(small) == [(3, 9, 10)]
    small.verify()
    assert small.params() == graph.params()
    assert (small.training, small.seed, small.origin) == (graph.training, graph.seed, graph.origin)
    for a, b in zip(graph.nodes, small.nodes, strict=True):
        for name in ("id", "op", "params", "expressions", "when", "origin"):
            assert getattr(a, name) == getattr(b, name)
        assert [value.id for value in a.inputs] == [value.id for value in b.inputs]
    assert outline(small.root, small) == outline(graph.root, graph)


def outline(scope: Scope, graph: Graph) -> Any:
    """A scope as plain values, after a look at whether all its values are the graph's own."""
    known = {id(value) for value in (*graph.inputs, *graph.nodes)}
    values = [value for _, value in (*scope.inputs, *scope.outputs)]
    values += [absent.value for absent in scope.absent]
    assert all(id(value) in known for value in values)
    return (
        *(scope.path, scope.kind, scope.block, scope.arguments, scope.when, scope.named),
        [(name, value.id) for name, value in (*scope.inputs, *scope.outputs)],
        [(x.name, x.key, x.when, x.position, x.value.id) for x in scope.absent],
        None if scope.owner is None else scope.owner.path,
        [outline(x, graph) if isinstance(x, Scope) else x.id for x in scope.children],
    )


def test_deep_networks_are_searched_quickly() -> None:
    block = "".join(
        f"  - conv: {{name: c{i}, filters: 4, kernel: 3, padding: 1}}\n" for i in range(2000)
    )
    graph = graph_of("  - conv: {filters: 4, kernel: 3, stride: 2}\n" + block, "[3, 224, 224]")
    start = time.thread_time()
    assert shapes(reduce(graph)) == [(3, 5, 6)]
    assert time.thread_time() - start < 10


# --- in a check ------------------------------------------------------------------------------

SPEC = """\
cnnspec: 1
name: small
input: [2, 24, 24]
layers:
  - conv: {name: conv1, filters: 4, kernel: 3, padding: 1, stride: 2, expect: [4, 12, 12]}
  - batch_norm
  - relu
  - global_avg_pool
  - flatten
  - dense: {name: fc, units: 5}
"""


def only(report: Any) -> SpecReport:
    (found,) = report.specs
    assert isinstance(found, SpecReport)
    return found


def test_a_check_says_what_it_was_run_on() -> None:
    graph = build(read_spec(parse(SPEC, "small.yaml"))).graph
    options: dict[str, Any] = {"backends": ("numpy", "torch"), "in_process": True, "steps": 1}
    found = only(check(graph, reduce=True, **options))
    assert found.agree
    assert (found.reduced, found.inputs) == (True, {"input": (2, 3, 4)})
    assert any("reduced to `input` 2x3x4" in note and "2x24x24" in note for note in found.notes)
    plain = only(check(graph, **options))
    assert (plain.reduced, plain.inputs) == (None, {"input": (2, 24, 24)})
    assert not any("reduce" in note for note in plain.notes)


def test_a_check_says_that_nothing_can_be_reduced() -> None:
    graph = graph_of("  - flatten\n  - dense: {units: 3}\n", "[1, 4, 4]")
    found = only(check(graph, reduce=True, backends=("numpy", "torch"), in_process=True, steps=1))
    assert (found.agree, found.reduced, found.inputs) == (True, False, {"input": (1, 4, 4)})
    assert any("own size is used" in note for note in found.notes)


def run(specs: list[str], **options: Any) -> tuple[int, list[str]]:
    said: list[str] = []
    given: dict[str, Any] = {
        "backends": ("numpy", "torch"),
        "form": "text",
        "dtype": "float64",
        "seed": None,
        "steps": 1,
        "inputs": None,
        "save": None,
        "sources": (),
        "in_process": True,
        "out": said.append,
        "say": said.append,
        **options,
    }
    return command(specs, **given), said


def test_expect_holds_at_the_specs_own_size_alone(tmp_path: Path) -> None:
    (tmp_path / "small.yaml").write_text(SPEC)
    status, said = run([str(tmp_path / "small.yaml")], reduce=True, form="json")
    document = json.loads(said[0])
    assert status == 0
    assert document["specs"][0]["reduced"] is True
    assert document["specs"][0]["inputs"] == {"input": [2, 3, 4]}
    (tmp_path / "small.yaml").write_text(SPEC.replace("12, 12]", "2, 2]"))
    status, said = run([str(tmp_path / "small.yaml")], reduce=True, form="json")
    (found,) = json.loads(said[0])["specs"]
    assert (status, found["status"]) == (EXIT_STATUS["invalid_spec"], "invalid_spec")
    (diagnostic,) = found["diagnostics"]
    assert (diagnostic["code"], diagnostic["line"]) == ("unexpected-shape", 5)


def test_inputs_of_ones_own_have_a_size_already(tmp_path: Path) -> None:
    (tmp_path / "small.yaml").write_text(SPEC)
    with pytest.raises(SetupError) as refused:
        run([str(tmp_path / "small.yaml")], reduce=True, inputs="in.npz")
    (diagnostic,) = refused.value.diagnostics
    assert (diagnostic.code, diagnostic.primary) == ("reduced-inputs", None)
    assert refused.value.exit_status == 2


def test_published_networks_are_reduced() -> None:
    found = {
        name: shapes(reduce(build(read_spec(read(ROOT / "specs" / f"{name}.yaml"))).graph))
        for name in ("resnet50", "vgg16", "unet", "alphago_zero")
    }
    assert found == {
        "resnet50": [(3, 33, 34)],
        "vgg16": [(3, 64, 65)],
        "unet": [(1, 32, 48)],
        "alphago_zero": [(17, 19, 19)],
    }
