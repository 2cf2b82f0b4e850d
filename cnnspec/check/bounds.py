"""How far two right answers may lie apart: bounds derived from the arithmetic, never a constant.

Every bound is `u * coefficient`, element by element, with the unit roundoff u of the dtype.
Ops that are linear in each argument: 2 K B, with the reduction length K and B the same op on
absolute values. Others: c |y|, plus the deviation that relative perturbations of size h of the
inputs cause, divided by h. End to end: the deviation that such perturbations of every value and
cotangent on the way cause, plus the node's own bound.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from cnnspec.backends.base import At, Trace
from cnnspec.check.samples import Sample, generator
from cnnspec.graph import Graph, Node
from cnnspec.ops.base import Op

Array = npt.NDArray[Any]

UNIT = {"float64": 2.0**-53, "float32": 2.0**-24}
FLOOR = {"float64": 1e-300, "float32": 1e-37}
"""TensorFlow flushes denormals to zero, the others keep them."""

ISOLATED_STEP = 2.0**-24
END_TO_END_STEP = 2.0**-45
"""Far above the unit roundoff of float64, far below what would flip a decision."""

REPLICATES = 8
"""Of each layer on its own."""
END_TO_END_REPLICATES = 5
"""Of a whole pass or training run; the root mean square over a tensor steadies them."""
SPREAD = 10.0
STATISTIC_ROUNDING = 16.0
UPDATE_ROUNDING = 4.0


@dataclass(slots=True)
class Bounds:
    """Coefficients of u: of node values, of gradients by node, of parameters and statistics."""

    values: dict[str, Array] = field(default_factory=dict)
    own: dict[str, tuple[Array, ...]] = field(default_factory=dict)
    gradients: dict[str, Array] = field(default_factory=dict)
    inputs: dict[str, Array] = field(default_factory=dict)
    parameters: dict[str, Array] = field(default_factory=dict)
    statistics: dict[str, Array] = field(default_factory=dict)
    spread: dict[str, Array] = field(default_factory=dict)


def feeds(graph: Graph, inputs: Mapping[str, Array], trace: Trace) -> dict[str, tuple[Array, ...]]:
    """For each node, its inputs as the reference has them."""
    known = {**inputs, **trace.values}
    return {node.id: tuple(known[value.id] for value in node.inputs) for node in graph.nodes}


def _map(function: Any, feed: Mapping[str, Sequence[Array]]) -> dict[str, tuple[Array, ...]]:
    return {node: tuple(function(value) for value in values) for node, values in feed.items()}


class _Spread:
    """The largest deviation from a first answer, element by element, over replicates."""

    def __init__(self, first: Mapping[str, Array]) -> None:
        self.first = dict(first)
        self.largest = {name: np.zeros(np.shape(value)) for name, value in first.items()}

    def add(self, other: Mapping[str, Array]) -> None:
        for name, value in self.first.items():
            np.maximum(self.largest[name], np.abs(other[name] - value), out=self.largest[name])

    def coefficient(self, name: str, step: float, factor: float = SPREAD) -> Array:
        """Per unit of u.

        One element's few replicates may be small by chance, so the root mean square over the
        tensor counts as well.
        """
        largest = self.largest[name]
        typical = math.sqrt(float(np.mean(np.square(largest)))) if largest.size else 0.0
        return factor * np.maximum(largest, typical) / step


def _flat(own: Mapping[str, tuple[Array, ...]]) -> dict[str, Array]:
    return {f"{node}:{i}": value for node, values in own.items() for i, value in enumerate(values)}


def isolated(
    graph: Graph,
    reference: Any,
    weights: Mapping[str, Array],
    inputs: Mapping[str, Array],
    feed: Mapping[str, Sequence[Array]],
    cotangents: Mapping[str, Array],
    answer: Trace,
    *,
    training: bool,
    at: At,
    seed: int,
) -> Bounds:
    """Bounds of every node on its own, fed with the reference's inputs and cotangents."""
    options: dict[str, Any] = {"training": training, "at": at}
    positive = {name: np.abs(value) for name, value in cotangents.items()}
    signed = reference.trace(inputs, feed=feed, cotangents=positive, **options)
    reference.assign({name: np.abs(value) for name, value in weights.items()})
    absolute = reference.trace(inputs, feed=_map(np.abs, feed), cotangents=positive, **options)
    smooth = {node.id for node in graph.nodes if node.op.bound == "perturbation"}
    owned = {name for name in weights if name.rpartition(".")[0] in smooth}
    values = _Spread({name: answer.values[name] for name in smooth})
    own = _Spread(_flat({name: answer.own[name] for name in smooth}))
    parameters = _Spread({n: v for n, v in answer.parameters.items() if n in owned})
    moved = _Spread(answer.statistics)
    for replicate in range(REPLICATES):
        rng = generator(seed, "isolated", replicate)

        def shake(value: Array, rng: np.random.Generator = rng) -> Array:
            return value * (1 + ISOLATED_STEP * rng.uniform(-1, 1, np.shape(value)))

        reference.assign({n: shake(v) if n in owned else v for n, v in weights.items()})
        other = reference.trace(
            inputs,
            feed={
                node: tuple(shake(v) for v in given) if node in smooth else given
                for node, given in feed.items()
            },
            cotangents={n: shake(v) if n in smooth else v for n, v in cotangents.items()},
            **options,
        )
        values.add(other.values)
        own.add(_flat(other.own))
        parameters.add(other.parameters)
        moved.add(other.statistics)
    reference.assign(dict(weights))
    found = Bounds()
    batch = len(next(iter(inputs.values())))
    for node in graph.nodes:
        lengths = node.op.lengths(node.input_shapes, node.shape, batch)
        linear = node.op.bound == "linear"
        if linear:
            scale = absolute.values if not node.op.selects else _absolute(answer.values, node.id)
            found.values[node.id] = 2 * lengths.output * np.abs(scale[node.id])
            source = signed if node.op.selects else absolute
            found.own[node.id] = tuple(
                2 * lengths.input * np.abs(value) for value in source.own[node.id]
            )
        else:
            # The terms of an elementwise derivative, such as 1 - y^2, are of the order of 1 and
            # may cancel: what is lost is in proportion to the cotangent, not to the result.
            given, cotangent = np.abs(feed[node.id][0]), np.abs(cotangents[node.id])
            same = given.shape == cotangent.shape
            terms = np.abs(answer.values[node.id]) + (given if node.op.cancels else 0.0)
            found.values[node.id] = node.op.rounding * terms + values.coefficient(
                node.id, ISOLATED_STEP, _factor(node.op, lengths.output)
            )
            found.own[node.id] = tuple(
                node.op.rounding * (np.abs(value) + (cotangent if same else 0.0))
                + own.coefficient(f"{node.id}:{i}", ISOLATED_STEP, _factor(node.op, lengths.input))
                for i, value in enumerate(answer.own[node.id])
            )
        for param in node.params:
            name = f"{node.weights_id}.{param.name}"
            if param.statistic:
                found.statistics[name] = STATISTIC_ROUNDING * np.abs(
                    answer.statistics[name]
                ) + moved.coefficient(name, ISOLATED_STEP, _factor(node.op, lengths.output))
                continue
            length = lengths.params.get(param.name, 1)
            if linear:
                bound = 2 * _uses(graph, node, name) * length * absolute.parameters[name]
            else:
                bound = node.op.rounding * np.abs(answer.parameters[name]) + parameters.coefficient(
                    name, ISOLATED_STEP, _factor(node.op, length)
                )
            found.parameters[name] = np.maximum(found.parameters.get(name, 0.0), np.abs(bound))
    return found


def _absolute(values: Mapping[str, Array], node: str) -> dict[str, Array]:
    return {node: np.abs(values[node])}


def _factor(op: Op, length: int) -> float:
    """A sum of K terms in sequence loses up to the root of K more than its terms deviate."""
    return max(op.amplification, 16 * math.sqrt(length))


def _uses(graph: Graph, node: Node[Op], name: str) -> int:
    owner = name.rpartition(".")[0]
    return sum(1 for other in graph.nodes if other.weights_id == owner)


class Noise:
    """Moves each value and cotangent on the way by what rounding may.

    That is in proportion to itself, and by the node's own error: a value that has cancelled keeps
    the error of its terms. Own bounds hold for the worst order of summation; the noise is what is
    typical, a random walk of K roundings for a sum of K terms. Exact zeros stay, since every
    framework computes them exactly.
    """

    def __init__(self, graph: Graph, own: Bounds, batch: int, step: float) -> None:
        self.step = step
        self.forward: dict[str, Array] = {}
        self.backward: dict[str, Any] = dict.fromkeys(graph.users(), 0.0)
        self.rng = np.random.default_rng(0)
        for node in graph.nodes:
            lengths = node.op.lengths(node.input_shapes, node.shape, batch)
            self.forward[node.id] = own.values[node.id] / _worst_over_typical(
                node.op, lengths.output
            )
            for value, bound in zip(node.inputs, own.own[node.id], strict=True):
                typical = bound / _worst_over_typical(node.op, lengths.input)
                self.backward[value.id] = self.backward[value.id] + typical
            for param in node.params:
                name = f"{node.weights_id}.{param.name}"
                if name in own.parameters:
                    # Nothing behind it evens out a parameter's gradient: its worst order counts.
                    self.backward[name] = own.parameters[name]

    def seeded(self, rng: np.random.Generator) -> Noise:
        """The same noise with other random numbers."""
        self.rng = rng
        return self

    def __call__(self, name: str, value: Array, backward: bool) -> Array:
        """A node's value or cotangent, or a parameter's gradient, moved."""
        scale = self.backward[name] if backward else self.forward[name]
        if np.ndim(scale) and np.shape(scale) != value.shape:
            scale = np.mean(scale, axis=0)  # another batch than the one the bounds were made for
        relative = self.rng.uniform(-1, 1, value.shape) * value
        extra = self.rng.uniform(-1, 1, value.shape) * scale
        return value + self.step * (relative + np.where(value == 0, 0.0, extra))


def _worst_over_typical(op: Op, length: int) -> float:
    return 2 * math.sqrt(length) if op.bound == "linear" else SPREAD


def end_to_end(
    graph: Graph,
    reference: Any,
    sample: Sample,
    answer: Trace,
    own: Bounds,
    *,
    training: bool,
    at: At,
    seed: int,
) -> Bounds:
    """Bounds of the whole network, by perturbing everything on the way."""
    values, gradients = _Spread(answer.values), _Spread(answer.gradients)
    inputs, parameters = _Spread(answer.inputs), _Spread(answer.parameters)
    moved = _Spread(answer.statistics)
    step = END_TO_END_STEP
    noise = Noise(graph, own, len(next(iter(sample.inputs.values()))), step)
    for replicate in range(END_TO_END_REPLICATES):
        # Weights, inputs and cotangents are the same bits everywhere: only what happens on the
        # way is moved.
        other = reference.trace(
            sample.inputs,
            cotangents=sample.cotangents,
            noise=noise.seeded(generator(seed, "end to end", replicate)),
            training=training,
            at=at,
        )
        values.add(other.values)
        gradients.add(other.gradients)
        inputs.add(other.inputs)
        parameters.add(other.parameters)
        moved.add(other.statistics)
    found = Bounds(spread={name: values.largest[name] / step for name in values.first})
    users = graph.users()
    for name in values.first:
        found.values[name] = values.coefficient(name, step) + own.values[name]
        found.gradients[name] = gradients.coefficient(name, step) + _read(users, own, name)
    for name in inputs.first:
        found.inputs[name] = inputs.coefficient(name, step) + _read(users, own, name)
    for name in parameters.first:
        found.parameters[name] = parameters.coefficient(name, step) + own.parameters[name]
    for name in moved.first:
        found.statistics[name] = moved.coefficient(name, step) + own.statistics[name]
    return found


def _read(users: Mapping[str, list[Node[Op]]], own: Bounds, name: str) -> Any:
    """The bounds of all own gradients that add up to the gradient of one value."""
    total: Any = 0.0
    for node in {reader.id: reader for reader in users[name]}.values():
        for index, value in enumerate(node.inputs):
            if value.id == name:
                total = total + own.own[node.id][index]
    return total


@dataclass(slots=True)
class StepBounds:
    """Coefficients of u after each update: of the loss, and of all weights by name."""

    losses: list[float]
    weights: list[dict[str, Array]]


def steps(
    graph: Graph,
    reference: Any,
    weights: Mapping[str, Array],
    batches: Sequence[tuple[Mapping[str, Array], Mapping[str, Array]]],
    answer: Sequence[tuple[float, Mapping[str, Array]]],
    own: Bounds,
    *,
    updates_per_epoch: int,
    seed: int,
) -> StepBounds:
    """Bounds of a training run, by perturbing everything on the way of every update."""
    step = END_TO_END_STEP
    size = len(next(iter(batches[0][0].values()))) if batches else 1
    noise = Noise(graph, own, size, step)
    spreads = [_Spread({**found, "": np.asarray(loss)}) for loss, found in answer]
    for replicate in range(END_TO_END_REPLICATES):
        rng = generator(seed, "steps", replicate)
        other = reference.perturbed_steps(
            batches, noise.seeded(rng), updates_per_epoch=updates_per_epoch
        )
        for spread, (loss, found) in zip(spreads, other, strict=True):
            spread.add({**found, "": np.asarray(loss)})
    made = StepBounds([], [])
    terms = size * sum(math.prod(value.shape) for value in graph.logits().values())
    summed = STATISTIC_ROUNDING + 16 * math.sqrt(terms)
    before = dict(weights)
    rounded = {name: np.zeros(np.shape(value)) for name, value in before.items()}
    for spread, (loss, after) in zip(spreads, answer, strict=True):
        made.losses.append(float(spread.coefficient("", step)) + summed * abs(loss))
        limits = {}
        for name, value in after.items():
            # The new weight is rounded, and so is what is added to it, a few times: with an
            # adaptive optimizer that is of the order of the learning rate, however small both are.
            moved = np.abs(value - before[name])
            rounded[name] += UPDATE_ROUNDING * (np.abs(value) + np.abs(before[name]) + moved)
            limits[name] = spread.coefficient(name, step) + rounded[name]
            limits[name] = limits[name] + own.statistics.get(name, 0.0)
        made.weights.append(limits)
        before = dict(after)
    return made
