"""float32: each back end against the reference in float64, on inputs that fit float32."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from cnnspec.backends import get
from cnnspec.backends.base import Trace
from cnnspec.check import bounds, modes, samples
from cnnspec.check.compare import Comparison
from cnnspec.check.options import REFERENCE

if TYPE_CHECKING:
    from cnnspec.check.run import Checker

Array = npt.NDArray[Any]


def single_precision(checker: Checker, sample: samples.Sample) -> None:
    """Each back end in float32 against the reference in float64, on inputs that fit float32."""

    def rounded(value: Array) -> Array:
        return np.asarray(value, dtype=np.float32).astype(np.float64)

    weights = {name: rounded(value) for name, value in checker.weights.items()}
    inputs = {name: rounded(value) for name, value in sample.inputs.items()}
    names = [n for n in checker.names("float32") if n not in checker.options.sources]
    checker.tell({n: ("assign", (weights,), {}) for n in checker.names("float32")}, "float32")
    plain = get(REFERENCE).open(checker.reference.emitted, dtype="float32")
    plain.assign(weights)
    checker.reference.assign(weights)
    for training in (modes.INFERENCE, modes.TRAINING):
        answer = checker.answers[training]
        feed = {
            node: tuple(rounded(value) for value in values)
            for node, values in bounds.feeds(checker.graph, inputs, answer).items()
        }
        cotangents = {name: rounded(value) for name, value in answer.gradients.items()}
        options: dict[str, Any] = {
            "feed": feed,
            "cotangents": cotangents,
            "training": training,
        }
        exact = checker.reference.trace(inputs, **options)
        single = plain.trace(inputs, **options)
        traces = checker.tell(dict.fromkeys(names, ("trace", (inputs,), options)), "float32")
        for name, trace in traces.items():
            before = len(checker.report.comparisons)
            modes.compare_pair(
                checker, (REFERENCE, name), exact, trace, checker.own[training], "float32", training
            )
            _beside(checker, before, exact, single)
    checker.reference.assign(checker.weights)
    plain.close()


def _beside(checker: Checker, start: int, exact: Trace, single: Trace) -> None:
    """Put the distance of a plain NumPy float32 evaluation beside each comparison."""
    for index in range(start, len(checker.report.comparisons)):
        found = checker.report.comparisons[index]
        pairs = {
            "forward": lambda c: (exact.values[c.node], single.values[c.node]),
            "parameter_gradient": lambda c: (
                exact.parameters[c.name],
                single.parameters[c.name],
            ),
            "running_statistics": lambda c: (
                exact.statistics[c.name],
                single.statistics[c.name],
            ),
        }
        pick: Callable[[Comparison], tuple[Array, Array]] | None = pairs.get(found.quantity)
        if pick is not None:
            a, b = pick(found)
            error = float(np.max(np.abs(a - b))) if a.size else 0.0
            checker.report.comparisons[index] = dataclasses.replace(found, reference_error=error)
