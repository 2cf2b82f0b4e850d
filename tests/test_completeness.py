"""Every op has all that an op needs, found by reflection and without exemptions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel

from cnnspec import initializers as draws
from cnnspec import training
from cnnspec.api import read
from cnnspec.backends import BUILT_IN, Style, get
from cnnspec.backends.columns import Column, Spelling, Unsupported
from cnnspec.backends.library import names_in
from cnnspec.backends.numpy.emit import library
from cnnspec.backends.writer import Code
from cnnspec.graph import Node
from cnnspec.ops import registered
from cnnspec.ops.base import Op, Shape
from cnnspec.ops.initializer import INITIALIZERS, Initializer, Orthogonal
from cnnspec.ops.merge import Add
from cnnspec.testing import networks, strategies
from cnnspec.testing.networks import infer

SPECS = Path(__file__).parents[1] / "specs"

OPS = [op for op in registered() if op.__module__.startswith("cnnspec.")]
WORDS: list[type[training.Vocabulary]] = [
    *training.LOSSES.values(),
    *training.OPTIMIZERS.values(),
    *training.SCHEDULES.values(),
]
STYLES = (Style(), Style(random="counter"))

each_op = pytest.mark.parametrize("op", OPS, ids=lambda op: op.key)
each_backend = pytest.mark.parametrize("backend", BUILT_IN)


def column(backend: str) -> Column:
    found = import_module(f"cnnspec.backends.{backend}.emit").COLUMN
    assert isinstance(found, Column)
    return found


@pytest.fixture(scope="module")
def used() -> set[type[Op]]:
    """The ops that some spec of ours has."""
    paths = sorted(SPECS.glob("*.yaml"))
    assert paths
    return {type(node.op) for path in paths for node in read(path).graph.nodes}


# --- ops ---------------------------------------------------------------------------------------


def test_there_are_ops() -> None:
    assert len(OPS) >= 23


@each_op
@each_backend
def test_every_backend_spells_the_op_or_says_why_not(op: type[Op], backend: str) -> None:
    cell = column(backend).get(op.part or op)
    assert cell is not None, f"{backend} has no cell for {op.key}"
    if isinstance(cell, Unsupported):
        assert cell.reason


@each_backend
def test_every_cell_is_of_a_registered_op(backend: str) -> None:
    assert set(column(backend)) <= {op.part or op for op in registered()}


@each_op
def test_the_op_has_a_docstring_of_its_own(op: type[Op]) -> None:
    assert (vars(op).get("__doc__") or "").strip()


@each_op
def test_the_op_is_in_a_spec(op: type[Op], used: set[type[Op]]) -> None:
    assert (op.part or op) in used, f"no file in specs/ has `{op.key}`"


@each_op
def test_the_strategy_draws_every_field(op: type[Op]) -> None:
    assert op in strategies.OPS, f"{op.key} has no strategy"
    shapes: tuple[Shape, ...] = ((4, 7), (4, 7, 5), (4, 2, 7, 5))  # axes have names of their own
    inputs = [(shape,) * max(1, op.arity[0]) for shape in shapes]
    found = set().union(*(drawn(strategies.fields(op, *each)) for each in inputs))
    assert found == set(op.model_fields)


@each_op
def test_the_strategy_is_accepted(op: type[Op]) -> None:
    assert any(isinstance(node.op, op.part or op) for node in smallest(op))


@each_op
@pytest.mark.parametrize("style", STYLES, ids=lambda style: style.random)
def test_the_names_of_the_numpy_cell_are_kernels(op: type[Op], style: Style) -> None:
    known = library().names | {"SEED", "math", "np", "rng", "x"}
    for node in smallest(op):
        spelling = column("numpy").spell(node, style)
        for text in spelled(spelling, len(node.inputs)):
            assert names_in(text) <= known


def smallest(op: type[Op]) -> tuple[Node[Op], ...]:
    """The nodes of the plainest network with this op."""
    return read(first(networks(having=op, layers=0))).graph.nodes


def first(strategy: st.SearchStrategy[Any]) -> Any:
    """The first thing that a strategy draws, which is the plainest."""
    found: list[Any] = []

    @settings(max_examples=3, derandomize=True, database=None, phases=[Phase.generate])
    @given(strategy)
    def collect(value: Any) -> None:
        found.append(value)

    collect()
    return found[0]


def spelled(spelling: Spelling, count: int) -> Iterator[str]:
    if spelling.layer is not None:
        yield str(spelling.layer)
    if spelling.call is not None:
        yield str(spelling.call(*(Code("x") for _ in range(count))))
    if spelling.split is not None:
        yield str(spelling.split(Code("x"), (1, 2)))


def drawn(strategy: st.SearchStrategy[Mapping[str, Any]]) -> set[str]:
    """The fields that the strategy draws now and then."""
    found: set[str] = set()

    @settings(max_examples=60, derandomize=True, database=None, phases=[Phase.generate])
    @given(strategy)
    def collect(fields: Mapping[str, Any]) -> None:
        found.update(fields)

    collect()
    return found


# --- initializers, losses, optimizers, schedules -----------------------------------------------


@pytest.mark.parametrize("cls", INITIALIZERS.values(), ids=INITIALIZERS)
def test_an_initializer_is_drawn_and_spelled(cls: type[Initializer]) -> None:
    assert cls in draws._DRAWS
    example = find_fields(strategies.INITIALIZERS, cls)
    written = strategies.spelled(cls.key, example)
    fields: dict[str, Any] = {"filters": 2, "kernel": 3, "weight_init": written}
    if cls is not Orthogonal:
        fields["bias_init"] = written
    spec = {"cnnspec": 1, "name": "net", "input": [2, 5, 6], "layers": [{"conv": fields}]}
    emitted_everywhere(spec)


@pytest.mark.parametrize("cls", WORDS, ids=lambda cls: cls.key)
def test_a_training_word_is_spelled(cls: type[training.Vocabulary]) -> None:
    written = strategies.spelled(cls.key, find_fields(strategies.TRAINING, cls))
    sgd = {"sgd": {"lr": 0.1}}
    train: dict[str, Any] = {"loss": "cross_entropy", "optimizer": sgd, "epochs": 9}
    kinds = {"loss": training.Loss, "optimizer": training.Optimizer, "schedule": training.Schedule}
    train[next(kind for kind, base in kinds.items() if issubclass(cls, base))] = written
    layers: list[Any] = [{"dense": {"units": 2}}]
    spec = {"cnnspec": 1, "name": "net", "input": [3], "layers": layers, "train": train}
    emitted_everywhere(spec)


@pytest.mark.parametrize(
    ("known", "cls"),
    [
        *((strategies.INITIALIZERS, cls) for cls in INITIALIZERS.values()),
        *((strategies.TRAINING, cls) for cls in WORDS),
    ],
)
def test_a_word_has_a_strategy_for_every_field(
    known: strategies.Strategies[BaseModel], cls: type[BaseModel]
) -> None:
    assert cls in known
    assert (cls.__doc__ or "").strip()
    assert drawn(words(known, cls)) == set(cls.model_fields)


@st.composite
def words(
    draw: strategies.Draw, known: strategies.Strategies[Any], cls: type[BaseModel]
) -> strategies.Fields:
    return known.draw(draw, cls)


def find_fields(known: strategies.Strategies[Any], cls: type[BaseModel]) -> strategies.Fields:
    return dict(first(words(known, cls)))


def emitted_everywhere(spec: Mapping[str, Any]) -> None:
    graph = read(spec).graph
    for name in BUILT_IN:
        for style in STYLES:
            compile(get(name).emit(graph, style).text, name, "exec")


# --- the registry of strategies ----------------------------------------------------------------


def test_a_second_strategy_raises_and_names_both() -> None:
    known: strategies.Strategies[Op] = strategies.Strategies("op")

    @known(Add)
    def first(draw: strategies.Draw, *shapes: Shape) -> strategies.Fields:
        return {}

    def second(draw: strategies.Draw, *shapes: Shape) -> strategies.Fields:
        return {}

    with pytest.raises(ValueError, match=r"first and .*second"):
        known(Add)(second)
    assert list(known) == [Add]
    with pytest.raises(LookupError, match="has no strategy"):
        strategies.INITIALIZERS.draw(lambda _: None, Initializer)


def test_inference_is_the_filter() -> None:
    assert infer(Add, {}, [(2, 3), (2, 4)]) is None
    found = infer(Add, {}, [(2, 3), (2, 3)])
    assert found is not None
    assert found.shape == (2, 3)
