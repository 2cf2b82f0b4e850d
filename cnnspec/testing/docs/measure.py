"""How far back ends lie apart, row by row: every case a layer on its own, fed by the reference.

All cases that take inputs of one rank are one network, so that a framework starts once. In float64
the others are held against the NumPy reference; in float32 all of them against the reference in
float64, on inputs, weights and cotangents that fit float32, as `cnnspec check` does.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from cnnspec.api import read
from cnnspec.backends import BUILT_IN, Session, Style, get
from cnnspec.backends.base import Dtype, Trace
from cnnspec.backends.columns import Unsupported
from cnnspec.check import samples
from cnnspec.check.bounds import feeds
from cnnspec.cli.matrix import column
from cnnspec.graph import Graph
from cnnspec.testing.docs.cases import SHAPES, Case, shape_of

Array = npt.NDArray[Any]
Direction = Literal["forward", "gradients"]
DIRECTIONS: tuple[Direction, ...] = ("forward", "gradients")

REFERENCE = "numpy"
BATCH = 3
SEED = 1
DTYPES: tuple[Dtype, ...] = ("float64", "float32")
COLUMNS: tuple[tuple[Dtype, str], ...] = (
    *(("float64", name) for name in BUILT_IN if name != REFERENCE),
    *(("float32", name) for name in BUILT_IN),
)
"""What is measured in each dtype; the reference cannot differ from itself in float64."""


@dataclass(frozen=True)
class Key:
    """What one number is about: a row, a column, and which of the cell's two numbers."""

    op: str
    option: str
    dtype: Dtype
    backend: str
    direction: Direction


Measured = dict[Key, float]


def network(named: Mapping[str, Case], rank: int) -> tuple[Graph, dict[str, Case]]:
    """A network with a layer for each of these cases, and the case of each of its nodes."""
    names = {source for case in named.values() for source in case.sources}
    outputs: dict[str, Case] = {}
    for name, case in named.items():
        parts = case.made.parts(shape_of("x", rank))
        ids = [name] if parts is None else [f"{name}.{i}" for i in range(len(parts))]
        outputs.update(dict.fromkeys(ids, case))
    graph = read(
        {
            "cnnspec": 1,
            "name": "cases",
            "input": {source: [*shape_of(source, rank)] for source in sorted(names)},
            "layers": [
                {case.op.key: {**case.fields, "name": name, "from": [*case.sources]}}
                for name, case in named.items()
            ],
            "outputs": {f"out{n}": id for n, id in enumerate(outputs)},
        }
    ).graph
    return graph, outputs


def measure(
    cases: Iterable[Case],
    *,
    dtypes: Sequence[Dtype] = DTYPES,
    draws: int = 1,
    backends: Sequence[str] = tuple(BUILT_IN),
) -> Measured:
    """The largest disagreement of each case over all ranks that take it and both modes.

    A disagreement is max|a - b| / max|a|, with a of the reference, for each tensor: outputs and
    running statistics, or gradients of inputs and parameters.

    Args:
        cases: rows.
        dtypes: of the arithmetic.
        draws: number of different inputs, weights and cotangents.
        backends: those to measure; one that does not support an op is left out there.
    """
    known = tuple(cases)
    found: Measured = {}
    for rank in SHAPES:
        chosen = [case for case in known if rank in case.ranks]
        if chosen:
            for key, value in _of_rank(chosen, rank, dtypes, draws, backends):
                found[key] = max(value, found.get(key, 0.0))
    return found


def _of_rank(
    cases: Sequence[Case],
    rank: int,
    dtypes: Sequence[Dtype],
    draws: int,
    backends: Sequence[str],
) -> Iterator[tuple[Key, float]]:
    named = {f"case{number}": case for number, case in enumerate(cases)}
    graph, owners = network(named, rank)
    given = [_Given.drawn(graph, draw) for draw in range(draws)]
    modes = (False, True)
    for dtype in dtypes:
        fitting = [each.rounded() for each in given] if dtype == "float32" else given
        with _open(graph, REFERENCE, "float64") as exact:
            wanted = [each.trace(exact, graph, mode) for each in fitting for mode in modes]
        for name in backends:
            able = {key: case for key, case in named.items() if expresses(name, case)}
            if (dtype, name) not in COLUMNS or not able:
                continue
            own, _ = network(able, rank)
            with _open(own, name, dtype) as session:
                answers = (each.trace(session, own, mode) for each in fitting for mode in modes)
                for right, answer in zip(wanted, answers, strict=True):
                    yield from _compared(own, owners, right, answer, dtype, name)


def expresses(backend: str, case: Case) -> bool:
    """Whether a back end has the op of a case."""
    return not isinstance(column(backend).get(case.op.part or case.op), Unsupported)


@contextmanager
def _open(graph: Graph, backend: str, dtype: Dtype) -> Iterator[Session]:
    made = get(backend)
    session = made.open(made.emit(graph, Style(random="counter")), dtype=dtype)
    try:
        yield session
    finally:
        session.close()


@dataclass(frozen=True)
class _Given:
    """What one draw is about: weights, inputs, and a cotangent for each node."""

    weights: Mapping[str, Array]
    inputs: Mapping[str, Array]
    cotangents: Mapping[str, Array]

    @classmethod
    def drawn(cls, graph: Graph, draw: int) -> _Given:
        seed = SEED + draw
        return cls(
            samples.weights(graph, seed),
            samples.inputs(graph, seed, draw, BATCH),
            {
                node.id: samples.generator(seed, f"cotangent/{node.id}").normal(
                    size=(BATCH, *node.shape)
                )
                for node in graph.nodes
            },
        )

    def rounded(self) -> _Given:
        """All of it fits float32."""
        return _Given(_single(self.weights), _single(self.inputs), _single(self.cotangents))

    def trace(self, session: Session, graph: Graph, training: bool) -> Trace:
        """What a session of a network with some of the layers answers, each layer on its own."""
        session.assign({name: self.weights[name] for name in graph.params()})
        return session.trace(
            {entry.name: self.inputs[entry.name] for entry in graph.inputs},
            feed=feeds(graph.nodes, self.inputs),
            cotangents={node.id: self.cotangents[node.id] for node in graph.nodes},
            training=training,
        )


def _single(values: Mapping[str, Array]) -> dict[str, Array]:
    return {name: np.asarray(value, np.float32).astype(float) for name, value in values.items()}


def _compared(
    graph: Graph,
    owners: Mapping[str, Case],
    wanted: Trace,
    answer: Trace,
    dtype: Dtype,
    backend: str,
) -> Iterator[tuple[Key, float]]:
    def row(node: str, direction: Direction, a: Array, b: Array) -> tuple[Key, float]:
        case = owners[node]
        return Key(case.op.key, case.label, dtype, backend, direction), relative(a, b)

    owner = graph.owners()
    for node in graph.nodes:
        yield row(node.id, "forward", wanted.values[node.id], answer.values[node.id])
        for a, b in zip(wanted.own[node.id], answer.own[node.id], strict=True):
            yield row(node.id, "gradients", a, b)
    for name, b in answer.parameters.items():
        yield row(owner[name], "gradients", wanted.parameters[name], b)
    for name, b in answer.statistics.items():
        yield row(owner[name], "forward", wanted.statistics[name], b)


def relative(a: Array, b: Array) -> float:
    """max|a - b| / max|a|; 0 for equal tensors, infinite for others beside nothing but zeros."""
    apart = float(np.max(np.abs(a - b), initial=0.0))
    if apart == 0:
        return 0.0
    largest = float(np.max(np.abs(a), initial=0.0))
    return apart / largest if largest else math.inf


def rounded_up(value: float, dtype: Dtype) -> float:
    """The power of ten for a row: not below twice a disagreement, nor below one unit of its dtype.

    Twice, because the order of sums, and so the last bit, is another on another machine.
    """
    if value == 0 or not math.isfinite(value):
        return value
    least = float(np.finfo(dtype).eps)
    return float(f"1e{math.ceil(math.log10(max(2 * value, least)))}")


def rows(measured: Mapping[Key, float]) -> Measured:
    """What the page has for these disagreements."""
    return {key: rounded_up(value, key.dtype) for key, value in measured.items()}
