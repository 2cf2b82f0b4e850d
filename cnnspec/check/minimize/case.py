"""The numbers of a minimal case: what goes in, and what the reference says should come out."""

from __future__ import annotations

import dataclasses
import pprint
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from cnnspec.backends import Style, get
from cnnspec.backends.base import At
from cnnspec.check import modes, samples, stepping
from cnnspec.check.compare import Comparison
from cnnspec.check.options import REFERENCE
from cnnspec.graph import Graph
from cnnspec.training import default_training

Array = npt.NDArray[Any]

MOST_INLINE = 48
"""Elements of a tensor that a script spells out; larger ones are drawn by NumPy."""
DIGITS = 1
WIDTH = 100


@dataclass(frozen=True, slots=True)
class Number:
    """A tensor of a script: its value, and the Python that makes it as a NumPy array."""

    value: Array
    code: str

    @property
    def drawn(self) -> bool:
        """Whether a generator makes it, so that the order of such tensors matters."""
        return self.code.startswith("rng.")


@dataclass(frozen=True, slots=True)
class Case:
    """One network on one batch, and what is wrong with it.

    Attributes:
        graph: the network; it trains if the fault is one of a step.
        comparison: the difference, as `check` found it.
        inputs: N, C, space, by name.
        weights: canonical, by name.
        cotangents: of the outputs, by name.
        targets: of the update's batch, by output name; empty where the fault is none of a step.
        expected: the tensor that is wrong, as the reference has it, canonical.
        tolerance: an absolute error that is far more than rounding, and far less than the fault.
    """

    graph: Graph
    comparison: Comparison
    inputs: Mapping[str, Number]
    weights: Mapping[str, Number]
    cotangents: Mapping[str, Number]
    targets: Mapping[str, Number]
    expected: Array
    tolerance: float

    @property
    def steps(self) -> int:
        """How many updates are made on the same batch; 0 where the fault is none of a step."""
        found = self.comparison
        if found.name == "learning_rate" and found.worst is not None:
            return found.worst.index[0] + 1
        return (found.update or 0) + 1 if found.quantity == "step" else 0

    def arrays(self) -> Iterator[Number]:
        """Every tensor that a generator makes, in its order."""
        for group in (self.inputs, self.weights, self.cotangents, self.targets):
            yield from (number for number in group.values() if number.drawn)


def case_of(
    graph: Graph,
    comparison: Comparison,
    inputs: Mapping[str, Array],
    weights: Mapping[str, Array],
    *,
    plain: bool,
) -> Case:
    """Numbers for a script.

    Args:
        graph: the network, as it was checked.
        comparison: what is wrong.
        inputs: that show it.
        weights: that show it.
        plain: whether numbers are rounded to few digits, or drawn anew where they are many.
    """
    step = comparison.quantity == "step"
    if step:
        names = tuple(output.name for output in graph.outputs)
        training = graph.training or default_training(names)
        graph = dataclasses.replace(graph, training=training)
    else:
        graph = dataclasses.replace(graph, training=None)
    rng = np.random.default_rng(0)
    size = len(next(iter(inputs.values())))
    single = comparison.dtype == "float32"

    def number(name: str, value: Array) -> Number:
        return _number(name, value, rng, plain=plain, single=single)

    given = {name: number(name, value) for name, value in inputs.items()}
    owned = {name: number(name, weights[name]) for name in graph.params()}
    pulled: dict[str, Number] = {}
    wanted: dict[str, Number] = {}
    if step:
        drawn = samples.targets(graph, graph.seed, 0, size)
        wanted = {name: number(name, value) for name, value in drawn.items()}
    else:
        present = {output.name for output in modes.outputs_of(graph, comparison.training)}
        seeds = samples.cotangents(graph, graph.seed, 0, size)
        pulled = {name: number(name, v) for name, v in seeds.items() if name in present}
    case = Case(graph, comparison, given, owned, pulled, wanted, np.zeros(()), 0.0)
    return dataclasses.replace(case, expected=_expected(case), tolerance=_tolerance(comparison))


def _number(
    name: str, value: Array, rng: np.random.Generator, *, plain: bool, single: bool
) -> Number:
    """A tensor and its code; labels stay what they are."""
    value = np.asarray(value)
    if np.issubdtype(value.dtype, np.integer):
        return Number(value, f"np.array({written(value)})")
    if value.size > MOST_INLINE and plain:
        positive = name.endswith("running_var")
        code = f"rng.{'uniform(0.5, 1.5, ' if positive else 'normal(size='}{value.shape})"
        made = rng.uniform(0.5, 1.5, value.shape) if positive else rng.normal(size=value.shape)
        return Number(np.round(made, DIGITS), f"{code}.round({DIGITS})")
    if plain:
        rounded = np.round(value, DIGITS)
        unit = 10.0**-DIGITS
        value = np.where((rounded == 0) & (value != 0), np.copysign(unit, value), rounded)
    elif single:
        value = value.astype(np.float32).astype(np.float64)
    return Number(value, f"np.array({written(value)})")


def written(value: Array) -> str:
    """An array as nested lists; what is not finite is no literal, and cannot be expected."""
    text = pprint.pformat(np.asarray(value).tolist(), width=WIDTH - 8, compact=True)
    return text.replace("nan", "np.nan").replace("inf", "np.inf")


def _expected(case: Case) -> Array:
    """What the reference answers, in float64."""
    from cnnspec.backends.numpy.session import NumpySession

    found = case.comparison
    emitted = get(REFERENCE).emit(case.graph, Style(random="counter"))
    session = NumpySession(emitted, dtype="float64", drawn=False)
    inputs = {name: number.value for name, number in case.inputs.items()}
    try:
        session.assign({name: number.value for name, number in case.weights.items()})
        if found.name == "learning_rate":
            return np.array(session.learning_rates(case.steps, stepping.UPDATES_PER_EPOCH))
        if case.steps:
            targets = {name: number.value for name, number in case.targets.items()}
            for update in range(case.steps):
                loss = session.step(
                    inputs,
                    targets,
                    at=At(update),
                    updates_per_epoch=stepping.UPDATES_PER_EPOCH,
                )
            return np.asarray(loss if found.name == "loss" else session.weights()[found.name])
        answer = session.gradients(
            inputs,
            cotangents={name: number.value for name, number in case.cotangents.items()},
            training=found.training,
        )
        return np.array(wrong_of(answer, case))
    finally:
        session.close()


def wrong_of(answer: Any, case: Case) -> Array:
    """The tensor that is wrong, of a pass end to end."""
    found = case.comparison
    if found.quantity == "forward":
        name = output_of(case)
        return np.asarray(answer.outputs[name])
    if found.quantity == "input_gradient":
        return np.asarray(answer.inputs[input_of(case)])
    group = answer.parameters if found.quantity == "parameter_gradient" else answer.statistics
    return np.asarray(group[found.name])


def output_of(case: Case) -> str:
    """The output whose value is wrong."""
    names = {output.value.id: output.name for output in case.graph.outputs}
    return names.get(case.comparison.node, case.graph.outputs[0].name)


def input_of(case: Case) -> str:
    """The input whose gradient is wrong."""
    names = [entry.name for entry in case.graph.inputs]
    return case.comparison.name if case.comparison.name in names else names[0]


def _tolerance(comparison: Comparison) -> float:
    """A power of ten half way, in orders of magnitude, from the bound to the error."""
    worst = comparison.worst
    if worst is None or not worst.bound:
        return 0.0
    error = abs(worst.a - worst.b)
    middle = np.sqrt(error * worst.bound) if np.isfinite(error) else worst.bound * 1e3
    return float(10.0 ** np.floor(np.log10(middle)))
