"""Ties and kinks on purpose: layers that decide, on small integers and on the very kinks.

Random numbers never tie and never meet a kink, so that what happens there shows nowhere else: which
of two equal elements a maximum sends the gradient to, and the derivative of a ReLU at 0.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from cnnspec.backends import At
from cnnspec.check import bounds, effort, modes
from cnnspec.check.answers import Answers
from cnnspec.check.samples import generator
from cnnspec.check.worker import parts
from cnnspec.graph import Node
from cnnspec.ops.activation import Activation
from cnnspec.ops.base import Op
from cnnspec.quantities import REFERENCE

if TYPE_CHECKING:
    from cnnspec.check.run import Checker

Array = npt.NDArray[Any]

INTEGERS = (-2.0, -1.0, 0.0, 1.0, 2.0)


def decides(node: Node[Op]) -> bool:
    """Whether a layer has ties or kinks, or may be put together of pieces, as activations are."""
    return bool(node.op.kinks) or node.op.selects or isinstance(node.op, Activation)


def probe(checker: Checker, known: modes.Known) -> None:
    """Compare the layers of `known.alone` that decide, where they can decide either way.

    Args:
        checker: of the network; the reference has its weights.
        known: of a mode, with the reference's values.
    """
    wanted = [node for node in known.alone if decides(node)]
    batch = len(next(iter(known.sample.inputs.values())))
    for nodes in modes.together(wanted, batch):
        _compare(checker, known, nodes)


def _compare(checker: Checker, known: modes.Known, nodes: list[Node[Op]]) -> None:
    inputs = known.sample.inputs
    cotangents = {node.id: _distinct(checker.seed, known.answer.values[node.id]) for node in nodes}
    probes = {node.id: _inputs(checker.seed, node, known) for node in nodes}
    values = {**inputs, **known.answer.values}
    feed = {**bounds.feeds(known.nodes, values), **probes}
    common: dict[str, Any] = {"training": known.training}
    every: Mapping[str, Array] = {**known.answer.gradients, **cotangents}
    chosen = {node.id for node in nodes}
    others = {node.weights_id for node in known.nodes if node.params} - {
        node.weights_id for node in nodes
    }
    answers = Answers(checker, "float64", "probe")
    names = [n for n in checker.names("float64") if n not in checker.options.sources]
    options = {"feed": probes, "cotangents": cotangents, **common}
    answers.ask(dict.fromkeys(names, ("trace", (inputs,), options)))
    answer = checker.reference.trace(inputs, feed=feed, cotangents=every, skip=others, **common)
    answer.gradients = dict(every)
    answer.values = {id: value for id, value in answer.values.items() if id in chosen}
    answer.own = {id: value for id, value in answer.own.items() if id in chosen}
    alone, _ = effort.replicates(checker.graph)
    own = bounds.isolated(
        nodes,
        checker.reference,
        checker.weights,
        inputs,
        answer,
        feed=feed,
        at=At(),
        seed=checker.seed,
        replicates=alone,
        skip=others,
        **common,
    )
    if checker.reference_stands_in:
        answers.add(REFERENCE, dict(parts(answer)))
    found = modes.Known(known.training, known.nodes, known.sample, answer, own)
    modes.compare_all(
        checker,
        answers,
        modes.each_node(checker.graph, found, nodes),
        mode="probe",
        dtype="float64",
        training=known.training,
    )


def choices(op: Op) -> list[float]:
    """What an op that decides is fed with: integers and kinks, with numbers beside these."""
    kinks = op.kinks
    return sorted({*INTEGERS, *kinks, *(kink + 1 for kink in kinks), *(k - 1 for k in kinks)})


def _inputs(seed: int, node: Node[Op], known: modes.Known) -> tuple[Array, ...]:
    """Integers and kinks, with numbers beside these."""
    numbers = choices(node.op)
    rng = generator(seed, f"probe/{node.id}")
    batch = len(known.answer.values[node.id])
    drawn = tuple(rng.choice(numbers, (batch, *value.shape)) for value in node.inputs)
    for value in drawn:
        value[0] = 0.0  # all of a window, and all inputs of a maximum
    return drawn


def _distinct(seed: int, value: Array) -> Array:
    """A cotangent of its own for each element, in any order; sums of integers are exact."""
    rng = generator(seed, "probe/cotangents")
    return rng.permutation(np.arange(1.0, value.size + 1)).reshape(value.shape)
