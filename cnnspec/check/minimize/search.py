"""The search for the smallest network that still differs in the same way.

It is greedy: a network that is smaller, and shows the same, takes the place of the one before.
What is no valid spec costs nothing; every other candidate goes through `check`, whole.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from cnnspec.build import build
from cnnspec.check.api import check_graph
from cnnspec.check.compare import Comparison, severity
from cnnspec.check.engines import Engine
from cnnspec.check.minimize import values, wires
from cnnspec.check.minimize.authored import as_written, part_written
from cnnspec.check.minimize.plain import Plain, content, flat, structured, text_of
from cnnspec.check.options import Difference, Options, SpecReport
from cnnspec.diagnostics import UserError
from cnnspec.document import parse
from cnnspec.expand_layers import names_of
from cnnspec.graph import Graph, Node
from cnnspec.ops.base import Op, Shape
from cnnspec.quantities import REFERENCE
from cnnspec.schema import read_spec

MOST_CHECKS = 200
MOST_SECONDS = 300.0
FAR = 1e3
"""Error over bound that is never rounding: no smaller case needs more."""
NAME = "spec.yaml"
ALONE = ("isolated", "probe", "initial")
OF_PARAMETERS = ("parameter_gradient", "running_statistics", "initializer")
WHOLE = ("loss", "learning_rate")
"""Tensors of a step that belong to no layer."""

Moves = Callable[[Plain], Iterator[Plain]]


class Stopped(Exception):
    """The checks or the time that a search may take are used up."""


@dataclass(frozen=True, slots=True)
class Symptom:
    """What a smaller network has to show.

    Attributes:
        comparison: of the whole network.
        op: of the layer that was wrong on its own; None where only the whole was.
    """

    comparison: Comparison
    op: str | None

    @property
    def trains(self) -> bool:
        """Whether it shows only where the network is trained."""
        return self.comparison.quantity == "step" or self.comparison.mode == "after_training"

    def shown(self, report: SpecReport, graph: Graph) -> Comparison | None:
        """The comparison of a report that shows the same, the furthest outside its bound."""
        first = report.first_difference
        located = () if first is None else (first.comparison,)
        found = [
            c
            for c in (*report.comparisons, *located)
            if c.judged and not c.agree and self._same(c, graph) and severity(c) >= self._least()
        ]
        return max(found, key=severity, default=None)

    def _least(self) -> float:
        """Half as far outside, in orders of magnitude: less may be another, smaller fault."""
        return min(math.sqrt(severity(self.comparison)), FAR)

    def _same(self, c: Comparison, graph: Graph) -> bool:
        own = self.comparison
        alike = ("quantity", "backends", "dtype", "mode", "training")
        if any(getattr(c, name) != getattr(own, name) for name in alike):
            return False
        if own.quantity == "step":
            return (c.name if c.name in WHOLE else "") == (own.name if own.name in WHOLE else "")
        if self.op is None:
            return True
        if own.quantity in OF_PARAMETERS and (
            c.name.rpartition(".")[2] != own.name.rpartition(".")[2]
        ):
            return False
        return graph.node(c.node).op.key == self.op


@dataclass(frozen=True, slots=True)
class Smallest:
    """A network that shows it, and its check."""

    spec: Plain
    text: str
    graph: Graph
    report: SpecReport
    comparison: Comparison


class Search:
    """Finds smaller and smaller networks.

    Attributes:
        best: the smallest so far, None where none has shown it yet.
        checks: how many have been made.
        stopped: why the search ended early; empty where it did not.
    """

    def __init__(
        self,
        graph: Graph,
        difference: Difference,
        options: Options,
        made: Mapping[str, Engine],
        *,
        most_checks: int = MOST_CHECKS,
        most_seconds: float = MOST_SECONDS,
    ) -> None:
        self.graph = graph
        self.difference = difference
        self.options = narrow(options, difference.comparison)
        self.seed = graph.seed if options.seed is None else options.seed
        self.engines = made
        self.best: Smallest | None = None
        self.checks = 0
        self.stopped = ""
        self._most_checks = most_checks
        self._until = time.monotonic() + most_seconds
        self._most_seconds = most_seconds
        self._tried: set[str] = set()
        found = difference.comparison
        nodes = {node.id: node for node in graph.nodes}
        alone = found.mode in ALONE and found.node in nodes
        self.symptom = Symptom(found, nodes[found.node].op.key if alone else None)

    def run(self) -> Smallest | None:
        """The smallest network that was found; None where not even the whole shows it again."""
        try:
            for spec in self._starts():
                if self.attempt(spec):
                    break
            else:
                return None
            while any(self._family(moves) for moves in self._families()):
                pass
        except Stopped as reason:
            self.stopped = str(reason)
        return self.best

    # --- where to start ------------------------------------------------------------------------

    def _starts(self) -> Iterator[Plain]:
        """The layer, then with more and more of what is in front of it, its block, then all."""
        step = self.symptom.trains
        if not self.options.sources:
            nodes = {node.id: node for node in self.graph.nodes}
            node = nodes.get(self.symptom.comparison.node)
            if step and self.graph.training is not None:
                yield self._dense()
            if node is not None and (step or self.symptom.op is not None):
                ids: list[str] = []
                for count in (1, 2, 4, 8, 16):
                    before, ids = ids, neighbours(self.graph, node, count)
                    if len(ids) > len(before):
                        yield self._flat(ids, [node.id])
            if self.symptom.op is not None:
                part = part_written(self.graph, self.symptom.comparison.node, seed=self.seed)
                if part is not None:
                    yield part
            outputs = [output.value.id for output in self.graph.outputs]
            if all(id in nodes for id in outputs):
                yield self._flat([*nodes], list(dict.fromkeys(outputs)))
        whole = [
            structured(self.graph, train=step, seed=self.seed),
            as_written(self.graph, train=step, seed=self.seed),
        ]
        # A file of the user's is for his own spec, and nothing is taken out of that.
        for spec in whole[::-1] if self.options.sources else whole:
            if spec is not None:
                yield spec

    def _flat(self, ids: Sequence[str], outputs: Sequence[str]) -> Plain:
        step = self.symptom.trains
        return flat(self.graph, ids, outputs, train=step, seed=self.seed)

    def _dense(self) -> Plain:
        """A single dense layer with the network's training: a wrong optimizer needs no more."""
        spec = self._flat([self.graph.nodes[0].id], [self.graph.nodes[0].id])
        spec["input"] = {"x1": [2]}
        spec["layers"] = [{"dense": {"name": "dense1", "from": ["x1"], "units": 3}}]
        spec["outputs"] = {"output": "dense1"}
        return spec

    # --- smaller ones --------------------------------------------------------------------------

    def _families(self) -> Sequence[Moves]:
        """Kinds of smaller networks; what changes most comes first."""
        if self.options.sources:  # the file is written for one network, on any input it takes
            return (values.input_sizes,)
        return (
            self._cuts,
            wires.passed,
            wires.joined,
            wires.nested,
            values.training,
            values.defaults,
            values.scalars,
            values.sizes,
            values.together,
        )

    def _cuts(self, spec: Plain) -> Iterator[Plain]:
        assert self.best is not None
        return wires.cuts(spec, shapes_of(self.best.graph))

    def _family(self, moves: Moves) -> bool:
        """Whether moves of one kind have made it smaller; they are used up then."""
        changed = False
        while self.best is not None and any(self.attempt(s) for s in moves(self.best.spec)):
            changed = True
        return changed

    def attempt(self, spec: Plain) -> bool:
        """Whether a network is valid and smaller and shows it; then it is the best.

        Raises:
            Stopped: no more checks may be made.
        """
        if time.monotonic() > self._until:
            raise Stopped(f"it was stopped after {self._most_seconds:g} s")
        if not content(spec)["layers"]:
            return False
        text = text_of(spec)
        if text in self._tried:
            return False
        self._tried.add(text)
        try:
            graph = build(read_spec(parse(text, NAME))).graph
        except UserError:
            return False
        if self.best is not None and not size_of(spec, graph) < size_of(
            self.best.spec, self.best.graph
        ):
            return False
        if self.checks >= self._most_checks:
            raise Stopped(f"it was stopped after {self.checks} checks")
        report = self.check(graph, self.options)
        found = self.symptom.shown(report, graph)
        if found is not None:
            self.best = Smallest(spec, text, graph, report, found)
        return found is not None

    def check(self, graph: Graph, options: Options) -> SpecReport:
        """Check a network; engines that it has killed are there again."""
        self.checks += 1
        report = check_graph(graph, NAME, options, self.engines)
        if report.status == "engine_failed":
            for engine in self.engines.values():
                engine.revive()
        return report


def narrow(options: Options, found: Comparison) -> Options:
    """What is needed to see one difference again: two back ends, one dtype, few steps."""
    pair = [name for name in options.backends if name in found.backends]
    others = [name for name in (REFERENCE, *options.backends) if name not in pair]
    names = [*pair, *others][: max(2, len(pair))]
    return replace(
        options,
        backends=tuple(sorted(names, key=(REFERENCE, *options.backends).index)),
        dtypes=(found.dtype,),
        steps=_steps(options, found),
        sources={name: entry for name, entry in options.sources.items() if name in names},
        seed=None,
        inputs=None,
        targets=None,
        weights=None,
        reduce=False,
        save=True,
        probe=found.mode == "probe",
        initializers=found.quantity == "initializer",
    )


def _steps(options: Options, found: Comparison) -> int | None:
    """How many updates are made; what is compared behind them needs as many as there were."""
    if found.mode == "after_training":
        return options.steps
    return (found.update or 0) + 1 if found.quantity == "step" else 0


def neighbours(graph: Graph, node: Node[Op], count: int) -> list[str]:
    """A node and the nearest in front of it, as many as that in all."""
    found = [node.id]
    for id in found:
        for value in graph.node(id).inputs:
            if isinstance(value, Node) and value.id not in found:
                found.append(value.id)
        if len(found) >= count:
            break
    return found[:count]


def shapes_of(graph: Graph) -> dict[str, Shape]:
    """The shapes of what the layers of the network's own scope make, by its name there."""
    shapes = {node.id: node.shape for node in graph.nodes}
    return {name: shapes[id] for id, name in names_of(graph.root).items() if id in shapes}


def size_of(spec: Plain, graph: Graph) -> tuple[int, ...]:
    """What counts: layers, then wires, then fields, then elements, then the numbers themselves."""
    shapes = [entry.shape for entry in graph.inputs]
    shapes += [node.shape for node in graph.nodes]
    shapes += [param.shape for param in graph.params().values()]
    return (
        len(graph.nodes),
        len(content(spec).get("define", {})) + len(graph.inputs) + len(graph.outputs),
        values.count_fields(spec),
        sum(math.prod(shape) for shape in shapes),
        sum(number for _, number in values.numbers(spec)),
    )
