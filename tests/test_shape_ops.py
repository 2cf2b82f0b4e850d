"""Ops that join, cut, resize and reshape: shape rules, spellings, agreement of all back ends."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from cnnspec.api import read
from cnnspec.backends import Emitted, Session, Style, get
from cnnspec.backends.base import Dtype
from cnnspec.check import check, samples
from cnnspec.check.margin import unsafe
from cnnspec.graph import Graph, Node, Scope
from cnnspec.ops import lookup
from cnnspec.ops.base import Op
from cnnspec.ops.slicing import Split, SplitPart
from cnnspec.testing import check_op
from tests.networks import BACKENDS, ROOT, distance, graph, layers
from tests.night import at_night
from tests.spec_errors import built, check_marked, spec
from tests.test_check import relocate

Array = npt.NDArray[Any]
Arrays = dict[str, Array]

INPUTS = {0: "[12]", 1: "[8, 9]", 2: "[8, 6, 4]", 3: "[8, 4, 6, 2]"}


def options(rank: int) -> Iterator[str]:
    """Layers with one input, every option among them."""
    axes = {1: ("length",), 2: ("height", "width"), 3: ("depth", "height", "width")}.get(rank, ())
    yield from ("slice: {channels: [1, -1]}", "slice: {channels: [null, null, 3]}")
    yield from (f"channel_shuffle: {{groups: {groups}}}" for groups in (1, 2, 4))
    if not rank:
        yield from ("reshape: {shape: [3, 4]}", "reshape: {shape: [2, 3, -1]}")
        yield from ("reshape: {shape: [-1]}", "reshape: {shape: [1, 1, 3, 4]}")
        yield "permute: {axes: [0]}"
        return
    yield f"slice: {{{axes[-1]}: [1, null]}}"
    yield f"slice: {{channels: [-3, 8, 2], {axes[0]}: [0, -1, 2]}}"
    for sides in (1, [1, 0, 0][:rank], [[1, 0], [0, 2], [0, 1]][:rank]):
        narrow = sides if rank < 3 else [1, 1, 0]  # the last of three axes has two elements
        yield f"crop: {{cropping: {narrow}}}"
        yield f"pad: {{padding: {sides}}}"
        yield f"pad: {{padding: {sides}, mode: constant, value: -0.1}}"
        for mode in ("reflect", "replicate", "circular"):
            yield f"pad: {{padding: {sides}, mode: {mode}}}"
    modes = ["nearest", "nearest_exact", "linear", "linear, align_corners: true"]
    modes += [[], ["bilinear", "bicubic", "bicubic, align_corners: true"], ["trilinear"]][rank - 1]
    for mode in modes:
        yield f"upsample: {{scale: 2, mode: {mode}}}"
        yield f"upsample: {{scale: {[3, 1, 2][:rank]}, mode: {mode}}}"
        for size in (7, [5, 7, 3][:rank], [1, 3, 9][:rank]):
            yield f"upsample: {{size: {size}, mode: {mode}}}"
    if rank < 3:
        yield "upsample: {scale: 41}"
    yield from ("pixel_shuffle: {factor: 1}", "pixel_shuffle: {factor: 2}")
    yield f"pixel_unshuffle: {{factor: {3 if rank == 1 else 2}}}"
    for order in itertools.permutations(range(rank + 1)):
        yield f"permute: {{axes: {list(order)}}}"
    yield from ("reshape: {shape: [-1]}", "reshape: {shape: [8, -1]}", "reshape: {shape: [-1, 4]}")
    yield from ("reshape: {shape: [1, -1, 3]}", "reshape: {shape: [-1, 2, 1, 2]}")
    yield "reshape: {shape: [4, -1, 2]}"


def network(rank: int, *, held: bool) -> Graph:
    """Every option on the network's input, called in a forward pass or held by a sequence."""
    listed = []
    for i, layer in enumerate(options(rank)):
        key, fields = layer.split(": {", 1)
        listed.append(
            f"sequence: {{name: n{i}, from: input, layers: [{key}: {{{fields}]}}"
            if held
            else f"{key}: {{name: n{i}, from: input, {fields}"
        )
    outputs = ", ".join(f"o{i}: n{i}" for i in range(len(listed)))
    return layers(*listed, input=INPUTS[rank], rest=f"outputs: {{{outputs}}}\n")


@cache
def session(backend: str, rank: int, held: bool, dtype: Dtype) -> Session:
    made = get(backend)
    return made.open(made.emit(network(rank, held=held)), dtype=dtype)


Answers = list[tuple[Node[Op], Array, Array]]


def answers(backend: str, rank: int, *, held: bool = False, dtype: Dtype = "float64") -> Answers:
    """Every layer with its output, and the gradient of its input, at the same numbers."""
    nodes = network(rank, held=held).nodes
    x = normal("input", (3, *nodes[0].inputs[0].shape))
    cotangents = {n.id: normal(f"{i}", (3, *n.shape)) for i, n in enumerate(nodes)}
    trace = session(backend, rank, held, dtype).trace(
        {"input": x}, feed={node.id: (x,) for node in nodes}, cotangents=cotangents
    )
    return [(node, trace.values[node.id], trace.own[node.id][0]) for node in nodes]


def normal(purpose: str, shape: tuple[int, ...]) -> Array:
    """Numbers that float32 has."""
    drawn = samples.generator(0, purpose).normal(size=shape)
    return drawn.astype(np.float32).astype(np.float64)


@pytest.mark.parametrize("rank", INPUTS)
@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("dtype", ["float64", pytest.param("float32", marks=pytest.mark.nightly)])
@pytest.mark.parametrize("held", [False, True])
def test_every_option_is_the_references(backend: str, rank: int, dtype: Dtype, held: bool) -> None:
    unit = 2.0**-53 if dtype == "float64" else 2.0**-24
    found = answers(backend, rank, held=held, dtype=dtype)
    for mine, other in zip(answers("numpy", rank), found, strict=True):
        key = mine[0].op.key
        assert key == other[0].op.key
        limit = 256 * unit if key in ("upsample", "pad") else 0.0  # the others only move values
        assert distance(mine[1], other[1]) <= limit, mine[0].op
        assert distance(mine[2], other[2]) <= limit, mine[0].op


MERGES = ("add", "subtract", "average", "maximum", "multiply")


@pytest.mark.parametrize("rank", INPUTS)
@pytest.mark.parametrize("backend", BACKENDS)
def test_merges_are_the_references(backend: str, rank: int) -> None:
    shape = INPUTS[rank]
    gate = str([8, *(1 for _ in range(rank))]) if rank else shape
    lines = [
        f"{merge}: {{name: {merge}{count}, from: [{', '.join('abc'[:count])}]}}"
        for merge in MERGES
        for count in (2, 3)
        if merge != "subtract" or count == 2
    ]
    lines += ["multiply: {name: g1, from: [gate, a]}", "multiply: {name: g2, from: [a, gate, b]}"]
    names = [line.split("name: ")[1].split(",")[0] for line in lines]
    inputs = f"{{a: {shape}, b: {shape}, c: {shape}, gate: {gate}}}"
    outputs = ", ".join(f"o{name}: {name}" for name in names)
    found = layers(*lines, input=inputs, rest=f"outputs: {{{outputs}}}\n")
    sample = samples.sample(found, 0, 0, 3)
    data = {**sample.inputs}
    data["b"] = np.where(data["c"] > 0, data["a"], data["b"])  # ties
    data["c"] = np.where(data["a"] > 0, data["b"], data["c"])
    both = []
    for name in ("numpy", backend):
        opened = get(name).open(get(name).emit(found), dtype="float64")
        feed = {node.id: tuple(data[value.id] for value in node.inputs) for node in found.nodes}
        cotangents = {node.id: normal(node.id, (3, *node.shape)) for node in found.nodes}
        both.append(opened.trace(data, feed=feed, cotangents=cotangents))
        opened.close()
    for node in found.nodes:
        limit = 0.0 if node.op.key in ("add", "subtract", "maximum") else 2e-15
        assert distance(both[0].values[node.id], both[1].values[node.id]) <= limit, node
        for mine, other in zip(both[0].own[node.id], both[1].own[node.id], strict=True):
            assert distance(mine, other) <= limit, node


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("merge", ["add", "multiply", "average", "maximum", "concat"])
def test_a_merge_of_very_many_is_the_references(backend: str, merge: str) -> None:
    """Python does not read an expression of thousands of signs."""
    count = 3000
    lines = ["relu: {name: a}", *(f"relu: {{name: r{i}, from: a}}" for i in range(count))]
    lines.append(f"{merge}: {{name: m, from: [{', '.join(f'r{i}' for i in range(count))}]}}")
    start = time.process_time()
    emitted = get(backend).emit(layers(*lines, input="[2, 2, 2]"))
    assert time.process_time() - start < 20  # some 0.5 s; minutes where names are compared in pairs
    compile(emitted.text, "net.py", "exec")
    few = 130  # more than an expression has signs
    lines = lines[: few + 1]
    lines.append(f"{merge}: {{name: m, from: [{', '.join(f'r{i}' for i in range(few))}]}}")
    found = layers(*lines, input="[2, 2, 2]")
    data = {"input": np.abs(normal("many", (3, 2, 2, 2))) ** 0.01}
    both = []
    for name in ("numpy", backend):
        opened = get(name).open(get(name).emit(found), dtype="float64")
        both.append(opened.trace(data))
        opened.close()
    assert distance(both[0].values["m"], both[1].values["m"]) <= 1e-13


# --- traps -------------------------------------------------------------------------------------


def test_torch_rounds_positions_beyond_a_scale_of_40() -> None:
    """Why the nearest element is found in whole numbers where the scale is none or large."""
    import torch

    def native(n: int, o: int, mode: str, dtype: Any) -> Array:
        x = torch.arange(n, dtype=dtype)[None, None]
        found: Array = torch.nn.functional.interpolate(x, size=o, mode=mode).numpy()[0, 0]
        return found

    for scale in range(1, 41):
        for n in (1, 2, 3, 7, 64, 499):
            for mode in ("nearest", "nearest-exact"):
                for dtype in (torch.float32, torch.float64):
                    found = native(n, scale * n, mode, dtype)
                    assert (found == np.arange(scale * n) // scale).all(), (n, scale, mode)
    assert (native(2, 82, "nearest", torch.float32) != np.arange(82) // 41).any()


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("mode", ["nearest", "nearest_exact"])
@pytest.mark.parametrize("fields", ["scale: 41", "size: 94", "size: 61"])
def test_the_nearest_element_is_found_in_whole_numbers(
    backend: str, mode: str, fields: str
) -> None:
    found = layers(f"upsample: {{{fields}, mode: {mode}}}", input="[1, 2]")
    o = found.nodes[0].shape[1]
    for dtype in ("float32", "float64"):
        opened = get(backend).open(get(backend).emit(found), dtype=dtype)
        y = opened.forward({"input": np.array([[[0.0, 1.0]]])})["output"][0, 0]
        i = np.arange(o)
        assert (y == (i * 2 // o if mode == "nearest" else (2 * i + 1) * 2 // (2 * o))).all()
        opened.close()


def test_text_of_a_reshape_is_for_one_size() -> None:
    found = layers("reshape: {shape: [-1, 4]}", input="[2, 6]")
    opened: Any = get("torch").open(get("torch").emit(found))
    with pytest.raises(ValueError, match=r"made for inputs of 2x6, got \(2, 8\)"):
        opened.forward({"input": np.zeros((3, 2, 8))})
    free = layers(
        "upsample: {scale: 2}", "slice: {length: [1, -1]}", "crop: {cropping: 1}", input="[2, 6]"
    )
    opened = get("torch").open(get("torch").emit(free))
    assert opened.forward({"input": np.zeros((3, 2, 8))})["output"].shape == (3, 2, 12)


def test_helper_layers_survive_a_file(tmp_path: Any) -> None:
    keras = pytest.importorskip("keras")
    opened: Any = session("keras", 2, False, "float32")
    x = np.random.default_rng(0).normal(size=(3, 8, 6, 4)).astype(np.float32)
    expected = opened.forward({"input": x})
    with pytest.MonkeyPatch.context() as patch:
        model = opened.model
        model.save(tmp_path / "net.keras")
        patch.setattr(opened, "model", keras.saving.load_model(tmp_path / "net.keras"))
        found = opened.forward({"input": x})
    assert all((found[name] == value).all() for name, value in expected.items())


# --- split -------------------------------------------------------------------------------------

SPLIT = spec(
    "split: {name: parts, into: 2}",
    "relu: {name: first, from: parts.0}",
    "split: {name: rest, from: parts.1, sizes: [1, 2]}",
    "concat: {from: [rest.1, first, rest.0]}",
    input="[6, 3, 2]",
)


def test_a_split_is_a_scope_of_parts() -> None:
    root = built(SPLIT).graph.root
    parts = root.children[0]
    assert isinstance(parts, Scope)
    assert parts.kind == "split"
    nodes = [child for child in parts.children if isinstance(child, Node)]
    assert [(n.id, n.shape, type(n.op)) for n in nodes] == [
        ("parts.0", (3, 3, 2), SplitPart),
        ("parts.1", (3, 3, 2), SplitPart),
    ]
    assert [op.fields() for op in Split(sizes=(2, 1, 3)).parts((6, 4))] == [
        {"index": 0, "start": 0, "stop": 2, "into": None},
        {"index": 1, "start": 2, "stop": 3, "into": None},
        {"index": 2, "start": 3, "stop": 6, "into": None},
    ]


@pytest.mark.parametrize("backend", BACKENDS)
def test_split_from_a_spec(backend: str) -> None:
    found = graph(SPLIT)
    x = np.random.default_rng(0).normal(size=(2, 6, 3, 2))
    opened = get(backend).open(get(backend).emit(found), dtype="float64")
    y = opened.forward({"input": x})["output"]
    wanted = np.concatenate([x[:, 4:], np.maximum(x[:, :3], 0), x[:, 3:4]], axis=1)
    assert (y == wanted).all()
    opened.close()


WRITTEN = {
    "torch": ("parts_0, parts_1 = torch.chunk(x, 2, dim=1)", "torch.split(parts_1, [1, 2], dim=1)"),
    "keras": (
        'parts_0, parts_1 = Split(2, name="parts")(inputs)',
        'Split((1, 2), name="rest")(part',
    ),
    "numpy": ("(parts_0, parts_1), parts_backward = split(x, 2)", "split(parts_1, (1, 2))"),
}


@pytest.mark.parametrize("backend", BACKENDS)
def test_split_is_one_statement(backend: str) -> None:
    text = get(backend).emit(graph(SPLIT)).text
    assert all(line in text for line in WRITTEN[backend]), text


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_only_part_of_a_split_is_its_input(backend: str) -> None:
    found = layers("split: {name: s, into: 1}", "relu: {from: s.0}", input="[3, 2]")
    x = np.random.default_rng(0).normal(size=(2, 3, 2))
    opened = get(backend).open(get(backend).emit(found), dtype="float64")
    assert (opened.forward({"input": x})["output"] == np.maximum(x, 0)).all()
    opened.close()


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("fed", [False, True])
def test_every_part_is_tapped_for_itself(backend: str, fed: bool) -> None:
    """Perturbed and fed each on its own, and what nobody reads gets no gradient."""
    found = layers(
        "split: {name: s, sizes: [1, 2, 1]}",
        "add: {name: sum, from: [s.0, s.2]}",
        input="[4, 3]",
        rest="outputs: {sum: sum, middle: s.1}\n",
    )
    x, *others = np.random.default_rng(0).normal(size=(4, 2, 4, 3))
    opened = get(backend).open(get(backend).emit(found), dtype="float64")
    names = ("s.0", "s.1", "s.2")
    ends = ((0, 1), (1, 3), (3, 4))
    if fed:
        feed = {"sum": [x[:, :1], x[:, :1]]}
        feed |= {name: [value] for name, value in zip(names, others, strict=True)}
        given = {n: feed[n][0][:, a:b] for n, (a, b) in zip(names, ends, strict=True)}
        trace = opened.trace({"input": x}, feed=feed, cotangents=given)
        for name, (a, b), value in zip(names, ends, others, strict=True):
            assert (trace.values[name] == value[:, a:b]).all()
            (own,) = trace.own[name]
            assert (own[:, a:b] == value[:, a:b]).all()
            assert not own[:, :a].any()
            assert not own[:, b:].any()
    else:
        factors = {
            n: np.full((2, b - a, 3), 2.0 + a) for n, (a, b) in zip(names, ends, strict=True)
        }
        ones = {"sum": np.ones((2, 1, 3)), "middle": np.ones((2, 2, 3))}
        trace = opened.trace({"input": x}, perturb=factors, cotangents=ones)
        wanted = np.array([2.0, 3.0, 3.0, 5.0])[None, :, None]
        for name, (a, b) in zip(names, ends, strict=True):
            assert (trace.values[name] == (wanted * x)[:, a:b]).all()
        assert (trace.inputs["input"] == np.broadcast_to(wanted, x.shape)).all()
    opened.close()


# --- the checker -------------------------------------------------------------------------------


def test_a_near_tie_is_not_safe() -> None:
    found = layers("maximum: {from: [a, b]}", input="{a: [1, 2], b: [1, 2]}")
    a = np.array([[[1.0, 2.0]]])
    spread = {"a": np.ones((1, 1, 2)), "b": np.zeros((1, 1, 2))}

    def names(b: Array, spread: Arrays) -> list[str]:
        return list(unsafe(found.nodes, {"a": a, "b": b}, spread, 2.0**-53))

    assert names(a + 1e-3, spread) == []
    assert names(a + 1e-14, spread) == ["maximum1"]
    assert names(a, {}) == []  # a tie of what does not move
    same = layers("relu", "maximum: {from: [relu1, relu1]}", input="[1, 2]")
    assert unsafe(same.nodes[1:], {"relu1": a}, {"relu1": spread["a"]}, 2.0**-53) == {}


def test_the_gallery_agrees() -> None:
    report = check(ROOT / "specs" / "gallery_shapes.yaml", in_process=True)
    assert report, report.specs[0].first_difference


ALONE = ("split", "slice", "upsample", "maximum", "multiply")


@pytest.mark.parametrize("key", ALONE)
def test_laws(key: str) -> None:
    op = lookup(key)
    assert op is not None
    check_op(op, backends=("numpy", "torch"), examples=3)


FAULTY = """\
cnnspec: 1
name: faulty
input: [4, 6, 5]
layers:
  - relu: {name: a}
  - tanh: {name: b, from: input}
  - relu: {name: c, from: b}
  - maximum: {name: most, from: [a, c]}
  - split: {name: parts, into: 2}
  - upsample: {name: exact, from: parts.0, size: [4, 7], mode: nearest_exact}
  - upsample: {name: linear, from: parts.1, scale: [1, 2], mode: bilinear}
  - upsample: {name: cubic, from: linear, size: [4, 7], mode: bicubic, align_corners: true}
  - subtract: {name: change, from: [exact, cubic]}
  - pad: {name: margin, padding: [[1, 1], [0, 2]], mode: constant, value: 0.1}
  - pad: {name: mirror, padding: 1, mode: reflect}
  - slice: {name: some, height: [0, -2], width: [1, null, 2]}
  - crop: {name: inner, cropping: [[1, 0], [0, 0]]}
  - reshape: {name: flat, shape: [5, 5, 2]}
  - permute: {name: turned, axes: [2, 0, 1]}
  - pixel_unshuffle: {name: small, from: input, factor: 1}
  - channel_shuffle: {name: mixed, groups: 2}
  - pixel_shuffle: {name: large, factor: 2}
outputs: {turned: turned, large: large}
"""

FAULTS = [
    ("torch", "torch.where(other > x, other, x)", "torch.maximum(other, x)", "most"),
    ("torch", "torch.chunk(", "(lambda *a, dim: torch.chunk(*a, dim)[:1] * 2)(", "parts.1"),
    ("torch", "if self.exact else", "if self.scale else", "exact"),
    ("torch", 'mode="bilinear"', 'mode="bilinear", align_corners=True', "linear"),
    ("torch", ", align_corners=True", "", "cubic"),
    ("torch", "exact - x", "exact + x", "change"),
    ("torch", "value=0.1", "value=0.1000000001", "margin"),
    ("torch", 'mode="reflect"', 'mode="replicate"', "mirror"),
    ("torch", ":-2, 1::2]", "1:-1, 1::2]", "some"),
    ("torch", "x[:, :, 1:]", "x[:, :, :-1]", "inner"),
    ("torch", "permute(0, 3, 1, 2)", "permute(0, 3, 2, 1)", "turned"),
    ("torch", "channel_shuffle(x, 2)", "channel_shuffle(x, 4)", "mixed"),
    ("torch", "F.pixel_shuffle(x, 2)", "F.pixel_shuffle(x.flip(1), 2)", "large"),
    ("keras", "a = -0.75", "a = -0.50", "cubic"),
    ("keras", "ops.split(x, ends, axis=-1)", "ops.split(x, ends, axis=-1)[:1] * 2", "parts.1"),
    ("keras", '"reflect", name', '"replicate", name', "mirror"),
    ("keras", "layers.Permute((2, 3, 1)", "layers.Permute((1, 3, 2)", "flat"),
]


@pytest.mark.parametrize(
    ("backend", "old", "new", "node"), at_night(FAULTS, FAULTS[::3].__contains__)
)
def test_a_planted_fault_is_found_and_named(
    monkeypatch: pytest.MonkeyPatch, backend: str, old: str, new: str, node: str
) -> None:
    made = get(backend)
    emit = made.emit

    def altered(graph: Graph, style: Style = Style()) -> Emitted:
        emitted = emit(graph, style)
        assert old in emitted.text
        return relocate(emitted, emitted.text.replace(old, new))

    monkeypatch.setattr(made, "emit", altered)
    report = check(
        graph(FAULTY), backends=("numpy", backend), in_process=True, dtype="float64", steps=0
    )
    (found,) = report.specs
    assert found.status == "disagree"
    assert found.first_difference is not None
    assert found.first_difference.node == node


# --- bad input ---------------------------------------------------------------------------------

UNEQUAL = "{a: [3, 4, 5], b: [3, 4, 6], v: [3]}"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (spec("add: {from: @@[a, b]}", input=UNEQUAL), "differ in shape: 3x4x5 and 3x4x6"),
        (spec("subtract: {from: @@[a, b]}", input=UNEQUAL), "differ in shape: 3x4x5 and 3x4x6"),
        (spec("average: {from: @@[a, b]}", input=UNEQUAL), "differ in shape: 3x4x5 and 3x4x6"),
        (spec("maximum: {from: @@[a, b]}", input=UNEQUAL), "differ in shape: 3x4x5 and 3x4x6"),
        (spec("concat: {from: @@[a, b]}", input=UNEQUAL), "differ in space: 3x4x5 and 3x4x6"),
        (spec("multiply: {from: @@[a, b]}", input=UNEQUAL), "differ in shape: 3x4x5 and 3x4x6"),
        (spec("multiply: {from: @@[a, v]}", input=UNEQUAL), "differ in shape: 3x4x5 and 3"),
        (
            spec("multiply: {from: @@[a, b]}", input="{a: [3, 4, 5], b: [1, 4, 5]}"),
            "differ in shape: 3x4x5 and 1x4x5",
        ),
        (
            spec("multiply: {from: @@[a, b]}", input="{a: [3, 4, 5], b: [3, 1, 5]}"),
            "differ in shape: 3x4x5 and 3x1x5",
        ),
        (spec("split: {into: @@5}"), "3 channels (input 3x12x16) cannot be divided into 5"),
        (spec("split: {sizes: @@[1, 1]}"), "the sizes add up to 2, and the input 3x12x16 has 3"),
        (spec("@@split: {}"), "takes either `into` or `sizes`"),
        (spec("split: {into: 3, sizes: @@[3]}"), "takes either `into` or `sizes`"),
        (spec("slice: {height: @@[0, 13]}"), "13 is outside of 12 elements along height"),
        (spec("slice: {height: @@[-13, 2]}"), "-13 is outside of 12 elements along height"),
        (spec("slice: {channels: @@[2, 2]}"), "nothing lies from 2 up to but not including 2"),
        (spec("slice: {width: @@[-1, 3, 2]}"), "nothing lies from 15 up to but not including 3"),
        (spec("slice: {length: @@[0, 1]}"), "the input 3x12x16 has no length"),
        (spec("@@slice: {}"), "`slice` names no axis"),
        (spec("pad: {padding: @@12, mode: reflect}"), "reflect padding of 12 along height of 12"),
        (spec("pad: {padding: @@[[0, 13], [0, 0]], mode: circular}"), "circular padding of 13"),
        (spec("pad: {padding: @@[1, 2, 3]}"), "`padding` has 3 entries"),
        (spec("pad: {padding: 1, value: @@0.5}"), "`value` is for `mode: constant`"),
        (spec("@@pad: {padding: 1}", input="[3]"), "padding needs an input with 1 to 3 spatial"),
        (spec("crop: {cropping: @@6}"), "cropping 6 and 6 leaves nothing of 12 along height"),
        (spec("crop: {cropping: @@[[0, 0], [9, 7]]}"), "leaves nothing of 16 along width"),
        (spec("@@upsample: {}"), "takes either `scale` or `size`"),
        (spec("upsample: {scale: 2, size: @@[3, 4]}"), "takes either `scale` or `size`"),
        (spec("upsample: {scale: 2, mode: @@trilinear}"), "`trilinear` is for 3 spatial axes"),
        (spec("upsample: {scale: 2, mode: @@bicubic}", input="[3, 4]"), "`bicubic` is for 2"),
        (spec("upsample: {scale: 2, align_corners: @@true}"), "no meaning for `nearest`"),
        (spec("upsample: {size: @@[3]}"), "`size` has 1 entry, and the input has 2"),
        (
            spec("pixel_shuffle: {factor: @@2}"),
            "3 channels (input 3x12x16) cannot be divided",
        ),
        (spec("pixel_unshuffle: {factor: @@3}"), "space of 3x12x16 cannot be divided by 3"),
        (spec("channel_shuffle: {groups: @@2}"), "3 channels (input 3x12x16) cannot be divided"),
        (spec("permute: {axes: @@[0, 1]}"), "[0, 1] is no order of the 3 axes of 3x12x16"),
        (spec("permute: {axes: @@[0, 1, 1]}"), "[0, 1, 1] is no order of the 3 axes"),
        (spec("reshape: {shape: @@[5, 7]}"), "3x12x16 has 576 elements, and 5x7 needs 35"),
        (spec("reshape: {shape: @@[7, -1]}"), "needs a multiple of 7"),
    ],
)
def test_shapes_that_do_not_fit(text: str, message: str) -> None:
    assert message in check_marked(text, "shape-mismatch").message


@pytest.mark.parametrize(
    ("text", "code", "message"),
    [
        (spec("upsample: {size: @@0}"), "out-of-range", "0 is below 1"),
        (spec("upsample: {scale: @@[2, 0]}"), "out-of-range", "0 is below 1"),
        (spec("upsample: {scale: @@1.5}"), "wrong-type", "expected a whole number"),
        (spec("split: {into: @@0}"), "out-of-range", "at least 1"),
        (spec("split: {sizes: [1, @@0, 2]}"), "out-of-range", "at least 1"),
        (spec("slice: {height: @@[0]}"), "wrong-type", "expected [start, stop]"),
        (spec("slice: {height: @@[0, 1.5]}"), "wrong-type", "expected [start, stop]"),
        (spec("slice: {height: @@[0, 1, null]}"), "wrong-type", "expected [start, stop]"),
        (spec("slice: {height: @@[0, 4, 0]}"), "out-of-range", "a step of 0"),
        (spec("pad: {padding: @@same}"), "wrong-type", "expected a number, one number per axis"),
        (spec("pad: {padding: @@-1}"), "out-of-range", "-1 is below 0"),
        (spec("crop: {cropping: @@[[1], [2]]}"), "wrong-type", "expected a number"),
        (spec("reshape: {shape: @@[-1, -1]}"), "bad-value", "only one size may be -1"),
        (spec("reshape: {shape: @@[0, 4]}"), "out-of-range", "a size of 0 is outside 1"),
        (spec("reshape: {shape: @@12}"), "wrong-type", "expected a list of sizes"),
        (spec("reshape: {shape: @@[1, 2, 3, 4, 5]}"), "bad-value", "this one has 5"),
        (spec("permute: {axes: [0, @@4]}"), "out-of-range", "has to be below 4"),
        (spec("permute: {axes: @@2}"), "wrong-type", "expected a list"),
        (spec("@@permute"), "missing-field", "needs `axes`"),
        (spec("subtract: {from: @@[input, input, input]}"), "wrong-arity", "takes 2 inputs"),
    ],
)
def test_fields_that_make_no_sense(text: str, code: str, message: str) -> None:
    assert message in check_marked(text, code).message


def test_two_shapes_are_shown_where_they_come_from() -> None:
    text = spec("relu: {from: a}", "add: {from: @@[relu1, b]}", input=UNEQUAL)
    labels = check_marked(text, "shape-mismatch").secondary
    assert [label.message for label in labels] == ["`relu1` is 3x4x5", "`b` is 3x4x6"]


def test_negative_ends_count_from_the_end() -> None:
    found = read(spec("slice: {channels: [-2, null], height: [1, -1, 3], width: [-16, 16, 5]}"))
    assert found.graph.nodes[0].shape == (2, 4, 4)
