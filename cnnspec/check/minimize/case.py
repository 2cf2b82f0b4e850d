"""The numbers of a minimal case: what goes in, and what the reference says should come out."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from cnnspec.backends import Style, get
from cnnspec.backends.base import At
from cnnspec.backends.case import MOST_INLINE, Case, Number, written
from cnnspec.check import modes, samples, stepping
from cnnspec.check.compare import Comparison
from cnnspec.graph import Graph
from cnnspec.quantities import REFERENCE
from cnnspec.training import default_training

Array = npt.NDArray[Any]

DIGITS = 1
"""That plain numbers have behind the point."""
PARTS = 8
"""Plain numbers in float32 are multiples of an eighth, which are the same in float64."""


def case_of(
    graph: Graph,
    comparison: Comparison,
    inputs: Mapping[str, Array],
    weights: Mapping[str, Array],
    style: Style,
    *,
    plain: bool,
) -> Case:
    """Numbers for a script.

    Args:
        graph: the network, as it was checked.
        comparison: what is wrong.
        inputs: that show it.
        weights: that show it.
        style: of the text that is wrong.
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
    worst = comparison.worst.index if comparison.worst is not None else ()
    case = Case(
        graph,
        style,
        comparison.quantity,
        comparison.node if comparison.quantity == "forward" else comparison.name,
        comparison.training,
        comparison.dtype,
        worst,
        given,
        owned,
        pulled,
        wanted,
        expected=np.zeros(()),
        tolerance=_tolerance(comparison),
        steps=_steps(comparison),
        per_epoch=stepping.UPDATES_PER_EPOCH,
    )
    return dataclasses.replace(case, expected=_expected(case))


def _steps(found: Comparison) -> int:
    if found.name == "learning_rate" and found.worst is not None:
        return found.worst.index[0] + 1
    return (found.update or 0) + 1 if found.quantity == "step" else 0


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
        code = f"({code} * {PARTS}).round() / {PARTS}" if single else f"{code}.round({DIGITS})"
        return Number(few_digits(made, single=single), code, drawn=True)
    if plain:
        unit = 1 / PARTS if single else 10.0**-DIGITS
        rounded = few_digits(value, single=single)
        value = np.where((rounded == 0) & (value != 0), np.copysign(unit, value), rounded)
    elif single:
        value = value.astype(np.float32).astype(np.float64)
    return Number(value, f"np.array({written(value)})")


def few_digits(value: Array, *, single: bool) -> Array:
    """Numbers that are short to write; of float32 such that are the same in float64."""
    return np.round(value * PARTS) / PARTS if single else np.round(value, DIGITS)


def _expected(case: Case) -> Array:
    """What the reference answers, in float64."""
    from cnnspec.backends.numpy.session import NumpySession

    emitted = get(REFERENCE).emit(case.graph, Style(random="counter"))
    session = NumpySession(emitted, dtype="float64", drawn=False)
    inputs = {name: number.value for name, number in case.inputs.items()}
    try:
        session.assign({name: number.value for name, number in case.weights.items()})
        if case.name == "learning_rate":
            return np.array(session.learning_rates(case.steps, case.per_epoch))
        if case.steps:
            targets = {name: number.value for name, number in case.targets.items()}
            for update in range(case.steps):
                loss = session.step(
                    inputs,
                    targets,
                    at=At(update),
                    updates_per_epoch=case.per_epoch,
                )
            return np.asarray(loss if case.name == "loss" else session.trained()[case.name])
        answer = session.gradients(
            inputs,
            cotangents={name: number.value for name, number in case.cotangents.items()},
            training=case.training,
        )
        return np.array(wrong_of(answer, case))
    finally:
        session.close()


def wrong_of(answer: Any, case: Case) -> Array:
    """The tensor that is wrong, of a pass end to end."""
    if case.quantity == "forward":
        return np.asarray(answer.outputs[case.output])
    if case.quantity == "input_gradient":
        return np.asarray(answer.inputs[case.input])
    group = answer.parameters if case.quantity == "parameter_gradient" else answer.statistics
    return np.asarray(group[case.name])


def _tolerance(comparison: Comparison) -> float:
    """A power of ten half way, in orders of magnitude, from the bound to the error."""
    worst = comparison.worst
    if worst is None or not worst.bound:
        return 0.0
    error = abs(worst.a - worst.b)
    middle = np.sqrt(error * worst.bound) if np.isfinite(error) else worst.bound * 1e3
    return float(10.0 ** np.floor(np.log10(middle)))
