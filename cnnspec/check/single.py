"""float32: each back end against the reference in float64, on inputs that fit float32."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from cnnspec.check import bounds, modes
from cnnspec.check.answers import Answers, Part
from cnnspec.check.bounds import Lazy
from cnnspec.graph import Node
from cnnspec.ops.base import Op
from cnnspec.quantities import REFERENCE

if TYPE_CHECKING:
    from cnnspec.check.run import Checker

Array = npt.NDArray[Any]


def single_precision(checker: Checker, known: modes.Known) -> None:
    """Each layer on its own, in float32, on inputs, weights and cotangents that fit float32."""
    inputs = {name: _rounded(value) for name, value in known.sample.inputs.items()}
    values = {**known.sample.inputs, **known.answer.values}
    whole = bounds.feeds(known.nodes, values)
    feed = Lazy(whole, lambda id: tuple(_rounded(value) for value in whole[id]))
    gradients = known.answer.gradients
    cotangents = Lazy(gradients, lambda id: _rounded(gradients[id]))
    names = [n for n in checker.names("float32") if n not in checker.options.sources]
    checker.reference.assign(checker.plain.weights(copy=False))
    for nodes in modes.together(known.alone, len(next(iter(inputs.values())))):
        options = {
            "feed": {node.id: feed[node.id] for node in nodes},
            "cotangents": {node.id: cotangents[node.id] for node in nodes},
            "training": known.training,
        }
        answers = Answers(checker, "float32", "single")
        answers.ask(dict.fromkeys(names, ("trace", (inputs,), options)))
        given = {"feed": feed, "cotangents": cotangents, "training": known.training}
        plain = _some(checker.plain, nodes, known, inputs, given)
        exact = _some(checker.reference, nodes, known, inputs, given)
        if checker.reference_stands_in:
            answers.add(REFERENCE, plain)
        modes.compare_all(
            checker,
            answers,
            modes.each_node(checker.graph, known, nodes),
            against=exact,
            beside=plain,
            mode="isolated",
            dtype="float32",
            training=known.training,
        )
    checker.reference.assign(checker.weights)


def _rounded(value: Array) -> Array:
    return np.asarray(value, dtype=np.float32)


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
