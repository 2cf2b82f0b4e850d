"""Isolated and end-to-end comparison, in one mode of the network: inference or training."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from cnnspec.backends.base import Trace
from cnnspec.check import bounds, effort
from cnnspec.check.answers import Answers, Part
from cnnspec.check.bounds import FLOOR, UNIT, Bounds
from cnnspec.check.pieces import distance
from cnnspec.check.samples import Sample
from cnnspec.check.worker import parts
from cnnspec.graph import Graph, Node, Output
from cnnspec.liveness import inference_nodes
from cnnspec.ops.base import Op
from cnnspec.quantities import REFERENCE

if TYPE_CHECKING:
    from cnnspec.check.run import Checker

Array = npt.NDArray[Any]

INFERENCE, TRAINING = False, True
PORTION = 1 << 29
"""Bytes of the inputs and outputs of nodes that an engine is fed with at once."""


@dataclass(slots=True)
class Known:
    """What the reference answers in one mode, and how far others may lie from it.

    Attributes:
        training: the mode.
        nodes: that it runs, in order; what only training-only outputs need is not in inference.
        alone: those of them that are judged on their own in this mode.
        sample: inputs, and cotangents of the outputs that it has.
        answer: of the reference, end to end, in float64.
        own: bounds of each node on its own.
        whole: bounds of the whole network; None where float64 is not asked for.
        unsafe: nodes with decisions that rounding could flip, and how many.
        dtype: whose rounding `whole` and `unsafe` are about.
    """

    training: bool
    nodes: Sequence[Node[Op]]
    sample: Sample
    answer: Trace
    own: Bounds
    whole: Bounds | None = None
    unsafe: Mapping[str, int] = field(default_factory=dict)
    alone: Sequence[Node[Op]] = ()
    dtype: str = "float64"

    @property
    def batch(self) -> int:
        """Number of samples."""
        return len(next(iter(self.sample.inputs.values())))


@dataclass(frozen=True, slots=True)
class Wanted:
    """A tensor to compare: its bound, and what it is called in the report.

    Attributes:
        terms: of the sum that an element is, if its bound is 2 K B; else 0.
    """

    bound: Array
    quantity: str
    node: str
    name: str
    judged: bool = True
    reason: str = ""
    terms: int = 0


def nodes_of(graph: Graph, training: bool) -> tuple[Node[Op], ...]:
    """The nodes that a mode runs."""
    return graph.nodes if training else inference_nodes(graph)


def has_modes(node: Node[Op]) -> bool:
    """Whether a layer does something else in training."""
    return node.op.random or any(param.statistic for param in node.params)


def outputs_of(graph: Graph, training: bool) -> tuple[Output, ...]:
    """The outputs that a mode has."""
    return tuple(output for output in graph.outputs if training or not output.training_only)


def compare_all(
    checker: Checker,
    answers: Answers,
    wanted: Mapping[Part, Wanted],
    *,
    dtype: str,
    against: Mapping[Part, Array] | None = None,
    beside: Mapping[Part, Array] | None = None,
    **about: Any,
) -> None:
    """Compare what back ends answer, each with each, or all with one exact answer.

    Args:
        checker: whose report it is.
        answers: of the back ends.
        wanted: what to compare, by part.
        dtype: of the arithmetic.
        against: exact answers.
        beside: of a plain NumPy evaluation, whose distance is told beside each comparison.
        **about: fields that all comparisons share.
    """
    sizes = {part: int(np.asarray(what.bound).nbytes) for part, what in wanted.items()}
    for part, found in answers.each(sizes):
        what = wanted[part]
        error = None
        if against is None:
            pairs = list(itertools.combinations(found.items(), 2))
        else:
            pairs = [((REFERENCE, against[part]), other) for other in found.items()]
        if against is not None and beside is not None:
            error = distance(against[part], beside[part])
        for (a, left), (b, right) in pairs:
            checker.add(
                left,
                right,
                what.bound,
                unit=UNIT[dtype],
                floor=FLOOR[dtype],
                backends=(a, b),
                quantity=what.quantity,
                dtype=dtype,
                node=what.node,
                name=what.name,
                judged=what.judged,
                reason=what.reason,
                reference_error=error,
                terms=what.terms,
                **about,
            )


def ask(checker: Checker, known: Known) -> Answers | None:
    """The first question that `isolated` asks, before there are bounds; None where it asks none."""
    nodes = next(together(known.alone, known.batch), None)
    return None if nodes is None else _ask(checker, known, nodes)


def isolated(checker: Checker, known: Known, asked: Answers | None = None) -> None:
    """Nodes on their own, fed with the reference's inputs and cotangents.

    Args:
        checker: whose report it is.
        known: with bounds.
        asked: the first question, if it has been asked.
    """
    for nodes in together(known.alone, known.batch):
        answers, asked = asked or _ask(checker, known, nodes), None
        if checker.reference_stands_in:
            answers.add(REFERENCE, dict(parts(known.answer)))
        compare_all(
            checker,
            answers,
            each_node(checker.graph, known, nodes),
            mode="isolated",
            dtype="float64",
            training=known.training,
        )


def _ask(checker: Checker, known: Known, nodes: Sequence[Node[Op]]) -> Answers:
    answers = Answers(checker, "float64", "isolated")
    values = {**known.sample.inputs, **known.answer.values}
    options = {
        "feed": bounds.feeds(nodes, values),
        "cotangents": {node.id: known.answer.gradients[node.id] for node in nodes},
        "training": known.training,
    }
    names = [n for n in checker.names("float64") if n not in checker.options.sources]
    answers.ask(dict.fromkeys(names, ("trace", (known.sample.inputs,), options)))
    return answers


def together(nodes: Sequence[Node[Op]], batch: int) -> Iterator[list[Node[Op]]]:
    """The nodes in portions whose inputs and outputs fit into memory several times.

    Nodes that share parameters stay in one, as their gradients add up.
    """
    last = {node.weights_id: index for index, node in enumerate(nodes)}
    portion: list[Node[Op]] = []
    size, until = 0, 0
    for index, node in enumerate(nodes):
        portion.append(node)
        size += 8 * batch * sum(math.prod(shape) for shape in (node.shape, *node.input_shapes))
        until = max(until, last[node.weights_id])
        if size >= PORTION and until <= index:
            yield portion
            portion, size = [], 0
    if portion:
        yield portion


def each_node(graph: Graph, known: Known, nodes: Sequence[Node[Op]]) -> dict[Part, Wanted]:
    """What a trace with these nodes fed answers: values, own gradients, those of parameters."""
    own, found = known.own, dict[Part, Wanted]()
    batch = len(next(iter(known.sample.inputs.values())))
    sums: dict[str, int] = {}
    for node in nodes:
        output, given = 0, 0
        if node.op.bound == "linear" and not node.op.exact:
            lengths = node.op.lengths(node.input_shapes, node.shape, batch)
            output, given = lengths.output, lengths.input
            sums.update({f"{node.weights_id}.{n}": k for n, k in lengths.params.items()})
        value = own.values[node.id]
        found["values", node.id] = Wanted(value, "forward", node.id, node.id, terms=output)
        for index, bound in enumerate(own.own[node.id]):
            name = node.inputs[index].id
            key = "own", node.id, index
            found[key] = Wanted(bound, "input_gradient", node.id, name, terms=given)
    owners = graph.owners()
    used = {f"{node.weights_id}.{param.name}" for node in nodes for param in node.params}
    for name, bound in own.parameters.items():
        if name in used:
            owner, terms = owners[name], sums.get(name, 0)
            found["parameters", name] = Wanted(
                bound, "parameter_gradient", owner, name, terms=terms
            )
    if known.training:
        for name, bound in own.statistics.items():
            if name in used:
                found["statistics", name] = Wanted(bound, "running_statistics", owners[name], name)
    return found


def pulls(checker: Checker, training: bool) -> bool:
    """Whether gradients of the whole are compared in a mode.

    In inference a large network's are not: its layers' are, each on its own, and how gradients find
    their way from one to the next shows in training. Of a file of the user's own only the whole is.
    """
    return training or bool(checker.options.sources) or not effort.costly(checker.graph)


def end_to_end(checker: Checker, known: Known) -> None:
    """The files as they are: outputs, gradients of inputs and parameters, statistics."""
    answers = Answers(checker, "float64", "end to end")
    backward = pulls(checker, known.training)
    options: dict[str, Any] = {"training": known.training}
    wanted = whole(checker, known)
    if backward:
        own: dict[Part, Array] = dict(parts(known.answer))
        options["cotangents"] = known.sample.cotangents
    else:
        own = dict(known.answer.outputs.items())
        wanted = {found.name: found for found in wanted.values() if found.quantity == "forward"}
    if checker.reference_stands_in:
        answers.add(REFERENCE, own)
    names = [n for n in checker.names("float64") if deterministic(checker, n, known.training)]
    method = "gradients" if backward else "forward"
    answers.ask(dict.fromkeys(names, (method, (known.sample.inputs,), options)))
    compare_all(
        checker,
        answers,
        wanted,
        mode="end_to_end",
        dtype="float64",
        training=known.training,
    )


def whole(
    checker: Checker, known: Known, reason: str = "a decision could flip"
) -> dict[Part, Wanted]:
    """Outputs, gradients, and statistics, with what could flip reported and not judged."""
    assert known.whole is not None
    bound, owners, found = known.whole, checker.graph.owners(), dict[Part, Wanted]()
    for output in outputs_of(checker.graph, known.training):
        id = output.value.id
        found["outputs", output.name] = Wanted(bound.values[id], "forward", id, output.name)
    judged = not known.unsafe
    reason = "" if judged else reason
    for name, each in bound.inputs.items():
        found["inputs", name] = Wanted(each, "input_gradient", name, name, judged, reason)
    if checker.options.inputs is not None and known.dtype == "float64":
        judged, reason = True, ""  # what a user gives is judged as far as it can be
    for name, each in bound.parameters.items():
        found["parameters", name] = Wanted(
            each, "parameter_gradient", owners[name], name, judged, reason
        )
    if known.training:
        for name, each in bound.statistics.items():
            found["statistics", name] = Wanted(each, "running_statistics", owners[name], name)
    return found


def deterministic(checker: Checker, name: str, training: bool) -> bool:
    """Whether a file of the user's own can be compared: its random layers are its own."""
    random = any(node.op.random for node in checker.graph.nodes)
    if name in checker.options.sources and random and training and name not in checker.silent:
        note = f"{name}: the file's own random layers are not compared in training mode"
        if note not in checker.report.notes:
            checker.report.notes.append(note)
        return False
    return True
