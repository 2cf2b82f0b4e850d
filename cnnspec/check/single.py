"""float32: each back end against the reference in float64, on inputs that fit float32."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from cnnspec.check import bounds, modes
from cnnspec.check.answers import Answers
from cnnspec.check.options import REFERENCE
from cnnspec.check.worker import parts
from cnnspec.graph import Node
from cnnspec.ops.base import Op

if TYPE_CHECKING:
    from cnnspec.check.run import Checker

Array = npt.NDArray[Any]


def single_precision(checker: Checker, known: modes.Known) -> None:
    """Each layer on its own, in float32, on inputs, weights and cotangents that fit float32."""

    def rounded(values: dict[str, Array]) -> dict[str, Array]:
        return {name: np.asarray(value, dtype=np.float32) for name, value in values.items()}

    inputs = rounded(dict(known.sample.inputs))
    feed = bounds.feeds(known.nodes, {**inputs, **rounded(known.answer.values)})
    cotangents = rounded(known.answer.gradients)

    def options(nodes: Sequence[Node[Op]]) -> dict[str, Any]:
        return {
            "feed": {node.id: feed[node.id] for node in nodes},
            "cotangents": {node.id: cotangents[node.id] for node in nodes},
            "training": known.training,
        }

    plain = dict(parts(checker.plain.trace(inputs, **options(known.nodes))))
    checker.reference.assign(checker.plain.weights(copy=False))
    exact = dict(parts(checker.reference.trace(inputs, **options(known.nodes))))
    checker.reference.assign(checker.weights)
    for nodes in modes.together(known.nodes, len(next(iter(inputs.values())))):
        answers = Answers(checker, "float32", "single")
        if checker.reference_stands_in:
            answers.add(REFERENCE, plain)
        names = [n for n in checker.names("float32") if n not in checker.options.sources]
        answers.ask(dict.fromkeys(names, ("trace", (inputs,), options(nodes))))
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
