"""Fewer digits: each back end against the reference in float64, on numbers that fit its dtype."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from cnnspec.backends.base import At
from cnnspec.check import bounds, effort, margin, modes
from cnnspec.check.answers import Answers, Part
from cnnspec.check.bounds import UNIT, Lazy
from cnnspec.check.samples import Sample
from cnnspec.check.worker import parts
from cnnspec.graph import Node
from cnnspec.ops.base import Op
from cnnspec.quantities import REFERENCE

if TYPE_CHECKING:
    from cnnspec.check.run import Checker

Array = npt.NDArray[Any]

FLIPS = "in float32 a decision could flip"
"""Why gradients are not judged: behind them no bound holds."""


def rounded(value: Array, dtype: str) -> Array:
    """The nearest numbers of a dtype; those of bfloat16 as float32, which holds them exactly."""
    if dtype == "float64":
        return value
    single = np.asarray(value, dtype=np.float32)
    if dtype == "float32":
        return single
    bits = single.view(np.uint32)  # of which bfloat16 has the upper half; ties go to even
    nearest = (bits + np.uint32(0x7FFF) + ((bits >> 16) & 1)) & np.uint32(0xFFFF0000)
    return nearest.view(np.float32)


def isolated(checker: Checker, known: modes.Known, dtype: str) -> None:
    """Each layer on its own, on inputs, weights and cotangents that fit the dtype.

    NumPy has no bfloat16, so that there it is the reference alone.
    """
    inputs = {name: rounded(value, dtype) for name, value in known.sample.inputs.items()}
    values = {**known.sample.inputs, **known.answer.values}
    whole = bounds.feeds(known.nodes, values)
    feed = Lazy(whole, lambda id: tuple(rounded(value, dtype) for value in whole[id]))
    gradients = known.answer.gradients
    cotangents = Lazy(gradients, lambda id: rounded(gradients[id], dtype))
    names = [n for n in checker.names(dtype) if n not in checker.options.sources]
    checker.reference.assign(_weights(checker, dtype))
    for nodes in modes.together(known.alone, len(next(iter(inputs.values())))):
        options = {
            "feed": {node.id: feed[node.id] for node in nodes},
            "cotangents": {node.id: cotangents[node.id] for node in nodes},
            "training": known.training,
        }
        answers = Answers(checker, dtype, "single")
        answers.ask(dict.fromkeys(names, ("trace", (inputs,), options)))
        given = {"feed": feed, "cotangents": cotangents, "training": known.training}
        exact = _some(checker.reference, nodes, known, inputs, given)
        plain = None
        if dtype == "float32":
            plain = _some(checker.plain, nodes, known, inputs, given)
            if checker.reference_stands_in:
                answers.add(REFERENCE, plain)
        modes.compare_all(
            checker,
            answers,
            modes.each_node(checker.graph, known, nodes),
            against=exact,
            beside=plain,
            mode="isolated",
            dtype=dtype,
            training=known.training,
        )
    checker.reference.assign(checker.weights)


def end_to_end(checker: Checker, known: modes.Known) -> None:
    """Files as they are in float32, of engines that have no float64, and of the user's own.

    Values are continuous, and judged by what perturbations as large as float32's roundings do.
    Gradients jump where a decision flips, and are judged where none could.
    """
    names = [n for n in checker.single() if modes.deterministic(checker, n, known.training)]
    if not names:
        return
    single = in_float32(checker, known)
    if checker.options.sources:
        checker.known["float32", known.training] = single  # for the first module that differs
    answers = Answers(checker, "float32", "single, end to end")
    options = {"cotangents": single.sample.cotangents, "training": known.training}
    answers.ask(dict.fromkeys(names, ("gradients", (single.sample.inputs,), options)))
    modes.compare_all(
        checker,
        answers,
        modes.whole(checker, single, FLIPS),
        against=dict(parts(single.answer)),
        mode="end_to_end",
        dtype="float32",
        training=known.training,
    )


def in_float32(checker: Checker, known: modes.Known) -> modes.Known:
    """What the reference answers to numbers that fit float32, and what its roundings would do."""
    sample = Sample(
        *(
            {n: rounded(v, "float32") for n, v in given.items()}
            for given in (known.sample.inputs, known.sample.cotangents)
        )
    )
    reference, training, at = checker.reference, known.training, At()
    _, replicates = effort.replicates(checker.graph)
    reference.assign(_weights(checker, "float32"))
    answer = reference.trace(sample.inputs, cotangents=sample.cotangents, training=training, at=at)
    whole = bounds.end_to_end(
        checker.graph,
        reference,
        sample,
        answer,
        known.own,
        training=training,
        at=at,
        seed=checker.seed,
        replicates=replicates,
        step=UNIT["float32"],
    )
    reference.assign(checker.weights)
    values = {**sample.inputs, **answer.values}
    unsafe = margin.unsafe(known.nodes, values, whole.spread, UNIT["float32"])
    return modes.Known(
        training, known.nodes, sample, answer, known.own, whole, unsafe, dtype="float32"
    )


def _weights(checker: Checker, dtype: str) -> Mapping[str, Array]:
    return Lazy(checker.weights, lambda name: rounded(checker.weights[name], dtype))


def _some(
    session: Any,
    nodes: Sequence[Node[Op]],
    known: modes.Known,
    inputs: dict[str, Array],
    given: dict[str, Any],
) -> dict[Part, Array]:
    """What some nodes of a NumPy session answer, the layers of all others left out."""
    ids, used = {node.id for node in nodes}, {node.weights_id for node in nodes}
    found: dict[Part, Array] = {}

    def observe(kind: str, id: str, value: Any) -> None:
        if id in ids and kind == "values":
            found[kind, id] = value
        elif id in ids and kind == "own":
            found.update({(kind, id, index): each for index, each in enumerate(value)})

    others = {node.weights_id for node in known.nodes if node.params} - used
    trace = session.trace(inputs, **given, skip=others, observe=observe)
    found.update({("parameters", name): value for name, value in trace.parameters.items()})
    found.update({("statistics", name): value for name, value in trace.statistics.items()})
    return found
