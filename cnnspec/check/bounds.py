"""How far two right answers may lie apart: bounds derived from the arithmetic, never a constant.

Every bound is `u * coefficient`, element by element, with the unit roundoff u of the dtype.
Ops that are linear in each argument: 2 K B, with the reduction length K and B the same op on
absolute values. Others: c |y|, plus the deviation that relative perturbations of size h of the
inputs cause, divided by h. End to end: the deviation that such perturbations of every value and
cotangent on the way cause, plus the node's own bound.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from cnnspec.backends.base import At, Trace
from cnnspec.check.pieces import as_bound
from cnnspec.check.samples import Sample, seeds
from cnnspec.check.spread import Noise, Spread
from cnnspec.check.terms import sums, terms
from cnnspec.graph import Graph, Node
from cnnspec.ops.base import Op

Array = npt.NDArray[Any]

UNIT = {"float64": 2.0**-53, "float32": 2.0**-24, "bfloat16": 2.0**-8}
FLOOR = {"float64": 1e-300, "float32": 1e-37, "bfloat16": 1e-37}
"""TensorFlow flushes denormals to zero, the others keep them."""

ISOLATED_STEP = 2.0**-24
END_TO_END_STEP = 2.0**-45
"""Far above the unit roundoff of float64, far below what would flip a decision."""

STATISTIC_ROUNDING = 16.0


@dataclass(slots=True)
class Bounds:
    """Coefficients of u: of values, own gradients by node, and all else by canonical name.

    `cotangents`, of each value end to end, are made where they are asked for.
    """

    values: dict[str, Array] = field(default_factory=dict)
    own: dict[str, tuple[Array, ...]] = field(default_factory=dict)
    inputs: dict[str, Array] = field(default_factory=dict)
    parameters: dict[str, Array] = field(default_factory=dict)
    statistics: dict[str, Array] = field(default_factory=dict)
    spread: dict[str, Array] = field(default_factory=dict)
    cotangents: dict[str, Array] = field(default_factory=dict)


class Lazy(Mapping[str, Any]):
    """Values that are made when they are asked for, and not kept."""

    def __init__(self, names: Collection[str], make: Callable[[str], Any]) -> None:
        self._names, self._make = names, make

    def __getitem__(self, name: str) -> Any:
        if name not in self._names:
            raise KeyError(name)
        return self._make(name)

    def __contains__(self, name: object) -> bool:
        return name in self._names

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


def feeds(nodes: Sequence[Node[Op]], known: Mapping[str, Array]) -> dict[str, tuple[Array, ...]]:
    """For each node, its inputs, out of all values by name."""
    return {node.id: tuple(known[value.id] for value in node.inputs) for node in nodes}


def _flat(own: Mapping[str, tuple[Array, ...]]) -> dict[str, Array]:
    return {f"{node}:{i}": value for node, values in own.items() for i, value in enumerate(values)}


def isolated(
    nodes: Sequence[Node[Op]],
    reference: Any,
    weights: Mapping[str, Array],
    inputs: Mapping[str, Array],
    answer: Trace,
    *,
    training: bool,
    at: At,
    seed: int,
    replicates: int,
    feed: Mapping[str, tuple[Array, ...]] | None = None,
    skip: Collection[str] = (),
) -> Bounds:
    """Bounds of every node on its own, fed with the reference's inputs and cotangents.

    Args:
        nodes: those that this mode runs, in order.
        reference: a NumPy session with these weights; it has them again afterwards.
        weights: all of them, by canonical name.
        inputs: of the network.
        answer: the reference's, end to end: on equal inputs and cotangents a node gives the same
            bits on its own.
        training: the mode.
        at: for random layers.
        seed: of the perturbations.
        replicates: their number.
        feed: other inputs of all nodes, which `answer` was given as well.
        skip: owners of weights that none of the nodes needs.
    """
    found = Bounds()
    uses = Counter(node.weights_id for node in nodes)
    batch = len(next(iter(inputs.values())))
    if feed is None:
        feed = feeds(nodes, {**inputs, **answer.values})
    common: dict[str, Any] = {"training": training, "at": at}
    others = frozenset(skip)
    _linear(found, nodes, reference, weights, inputs, answer, feed, uses, batch, common, others)
    _smooth(
        *(found, nodes, reference, weights, inputs, answer, feed, uses, batch, common, others),
        seed,
        replicates,
    )
    for node in nodes:
        if node.op.exact:
            found.values[node.id] = np.zeros_like(found.values[node.id])
    # In the order of the network, whichever kind they are.
    found.values = {node.id: found.values[node.id] for node in nodes}
    found.own = {node.id: found.own[node.id] for node in nodes}
    found.parameters = {n: found.parameters[n] for n in _names(nodes) if n in found.parameters}
    return found


def _linear(
    found: Bounds,
    nodes: Sequence[Node[Op]],
    reference: Any,
    weights: Mapping[str, Array],
    inputs: Mapping[str, Array],
    answer: Trace,
    feed: Mapping[str, tuple[Array, ...]],
    uses: Mapping[str, int],
    batch: int,
    common: Mapping[str, Any],
    skip: frozenset[str],
) -> None:
    """Bounds 2 K B; B from one pass over absolute values, with the other layers left out."""
    linear = {node.id: node for node in nodes if node.op.bound == "linear"}
    chosen = {id for id, node in linear.items() if node.op.selects}
    lengths = {
        id: node.op.lengths(node.input_shapes, node.shape, batch) for id, node in linear.items()
    }
    owners = {node.weights_id for node in nodes if node.params}
    moved = _names(linear.values())
    positive = Lazy(answer.gradients, lambda name: np.abs(answer.gradients[name]))
    absolute = Lazy(feed, lambda id: tuple(np.abs(value) for value in feed[id]))

    def keep(kind: str, id: str, value: Any) -> None:
        if kind == "values":
            found.values[id] = as_bound(2 * lengths[id].output, value)
        elif kind == "own":
            found.own[id] = tuple(as_bound(2 * lengths[id].input, each) for each in value)

    def summed(kind: str, id: str, value: Any) -> None:
        if id in linear and id not in chosen:
            keep(kind, id, value)

    def selected(kind: str, id: str, value: Any) -> None:
        if id in chosen and kind == "own":
            keep(kind, id, value)

    reference.put({name: np.abs(weights[name]) for name in moved})
    others = skip | owners - {node.weights_id for node in linear.values()}
    sums = reference.trace(
        inputs, feed=absolute, cotangents=positive, skip=others, observe=summed, **common
    )
    reference.put({name: weights[name] for name in moved})
    if chosen:  # a maximum keeps its own winners, and nothing but maxima is needed of this pass
        reference.trace(
            inputs, feed=feed, cotangents=positive, skip=skip | owners, observe=selected, **common
        )
    for id in chosen:
        keep("values", id, answer.values[id])
    factors: dict[str, float] = {}
    for node in linear.values():
        for param in node.params:
            name = f"{node.weights_id}.{param.name}"
            factor = 2.0 * uses[node.weights_id] * lengths[node.id].params.get(param.name, 1)
            factors[name] = max(factor, factors.get(name, 0.0))
    for name, factor in factors.items():
        found.parameters[name] = as_bound(factor, sums.parameters.pop(name))


def _smooth(
    found: Bounds,
    nodes: Sequence[Node[Op]],
    reference: Any,
    weights: Mapping[str, Array],
    inputs: Mapping[str, Array],
    answer: Trace,
    feed: Mapping[str, tuple[Array, ...]],
    uses: Mapping[str, int],
    batch: int,
    common: Mapping[str, Any],
    skip: frozenset[str],
    seed: int,
    replicates: int,
) -> None:
    """Bounds c |y| and the deviation under perturbation, with the linear layers left out."""
    smooth = {node.id: node for node in nodes if node.op.bound == "perturbation"}
    if not smooth:
        return
    cotangents = answer.gradients
    others = {node.weights_id for node in nodes if node.params and node.id not in smooth}
    owned = _names(smooth.values())
    step = ISOLATED_STEP
    values = Spread({name: answer.values[name] for name in smooth}, step)
    own = Spread(_flat({name: answer.own[name] for name in smooth}), step)
    parameters = Spread({n: v for n, v in answer.parameters.items() if n in owned}, step)
    moved = Spread({n: v for n, v in answer.statistics.items() if n in owned}, step)

    def see(kind: str, id: str, value: Any) -> None:
        if id in smooth and kind == "values":
            values.see(id, value)
        elif id in smooth and kind == "own":
            for index, each in enumerate(value):
                own.see(f"{id}:{index}", each)

    for replicate in range(replicates):
        rng = np.random.Generator(np.random.SFC64(seeds(seed, "isolated", replicate)))

        def shake(value: Array, rng: np.random.Generator = rng) -> Array:
            relative = rng.random(np.shape(value), np.float32)
            relative -= np.float32(0.5)
            relative *= np.float32(2 * step)
            moved: Array = value * relative
            moved += value
            return moved

        def shaken(id: str, shake: Any = shake) -> tuple[Array, ...]:
            if id not in smooth:
                return feed[id]
            kinks = smooth[id].op.kinks
            return tuple(_off(kinks, value, shake(value)) for value in feed[id])

        def moved_cotangent(id: str, shake: Any = shake) -> Any:
            return shake(cotangents[id]) if id in smooth else cotangents[id]

        reference.put({name: shake(weights[name]) for name in owned})
        other = reference.trace(
            inputs,
            feed=Lazy(feed, shaken),
            cotangents=Lazy(cotangents, moved_cotangent),
            skip=skip | others,
            observe=see,
            **common,
        )
        parameters.add(other.parameters)
        moved.add(other.statistics)
    reference.put({name: weights[name] for name in owned})
    factors: dict[str, float] = {}
    cancelling: dict[str, Array | float] = {}
    added: dict[str, Array | float] = {}
    for node in smooth.values():
        op, lengths = node.op, node.op.lengths(node.input_shapes, node.shape, batch)
        training = common["training"]
        inner = terms(node, feed[node.id], cotangents[node.id], weights, training=training)
        bound = values.coefficient(node.id, _factor(op, lengths.output))
        bound += op.rounding * (np.abs(answer.values[node.id]) + inner.value)
        found.values[node.id] = bound
        found.own[node.id] = ()
        for index, value in enumerate(answer.own[node.id]):
            bound = own.coefficient(f"{node.id}:{index}", _factor(op, lengths.input))
            bound += op.rounding * (np.abs(value) + inner.own)
            found.own[node.id] += (bound,)
        for param in node.params:
            length = lengths.output if param.statistic else lengths.params.get(param.name, 1)
            name = f"{node.weights_id}.{param.name}"
            factors[name] = max(_factor(op, length), factors.get(name, 0.0))
            if param.name == "weight":
                cancelling[name] = cancelling.get(name, 0.0) + inner.weight
        together = sums(node, feed[node.id], cotangents[node.id], weights, training=training)
        for short, value in together.items():
            name = f"{node.weights_id}.{short}"
            added[name] = added.get(name, 0.0) + uses[node.weights_id] * value
    for name, node in owned.items():
        if name in answer.statistics:
            rounding = STATISTIC_ROUNDING * np.abs(answer.statistics[name])
            rounding += added.get(name, 0.0)
            found.statistics[name] = rounding + moved.coefficient(name, factors[name])
        else:
            magnitude = np.abs(answer.parameters[name]) + cancelling.get(name, 0.0)
            rounding = node.op.rounding * magnitude + added.get(name, 0.0)
            found.parameters[name] = rounding + parameters.coefficient(name, factors[name])


def _off(kinks: tuple[float, ...], value: Array, moved: Array) -> Array:
    """Moved values, but for those on a kink: inputs are the same bits everywhere."""
    return np.where(np.isin(value, kinks), value, moved) if kinks else moved


def _names(nodes: Iterable[Node[Op]]) -> dict[str, Node[Op]]:
    """The parameters and statistics that nodes use, by canonical name, with one that does."""
    return {f"{node.weights_id}.{p.name}": node for node in nodes for p in node.params}


def _factor(op: Op, length: int) -> float:
    """A sum of K terms in sequence loses up to the root of K more than its terms deviate."""
    return max(op.amplification, 16 * math.sqrt(length))


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
    replicates: int,
    backward: bool = True,
    step: float = END_TO_END_STEP,
    cotangents: bool = False,
) -> Bounds:
    """Bounds of the whole network, by perturbing everything on the way.

    Args:
        graph: the network.
        reference: a NumPy session with the weights.
        sample: inputs and cotangents.
        answer: the reference's.
        own: bounds of each node on its own.
        training: the mode.
        at: for random layers.
        seed: of the perturbations.
        replicates: their number.
        backward: whether of gradients too.
        step: how far everything is moved.
        cotangents: whether of the gradients of all values too.
    """
    gradients = own.parameters if backward else ()
    spreads = {
        kind: Spread({n: v for n, v in getattr(answer, kind).items() if n in wanted}, step)
        for kind, wanted in (
            ("values", answer.values),
            ("inputs", answer.inputs if backward else ()),
            ("parameters", gradients),
            ("statistics", own.statistics),
            ("gradients", answer.gradients if cotangents else {}),
        )
    }

    def see(kind: str, id: str, value: Any) -> None:
        if kind == "values" or (cotangents and kind == "gradients"):
            spreads[kind].see(id, value)

    batch = len(next(iter(sample.inputs.values())))
    noise = Noise(graph, own, batch, step, parameters=False)
    for replicate in range(replicates):
        # Weights, inputs and cotangents are the same bits everywhere: only what happens on the
        # way is moved.
        other = reference.trace(
            sample.inputs,
            cotangents=sample.cotangents if backward else None,
            noise=noise.seeded(seeds(seed, "end to end", replicate)),
            observe=see,
            training=training,
            at=at,
        )
        for kind in ("inputs", "parameters", "statistics"):
            spreads[kind].add(getattr(other, kind))
    values = spreads["values"]
    found = Bounds(spread={name: value.copy() for name, value in values.largest.items()})
    users = graph.users()
    for name in values.first:
        found.values[name] = values.coefficient(name)
        found.values[name] += own.values[name]
    for name in spreads["inputs"].first:
        found.inputs[name] = spreads["inputs"].coefficient(name) + _read(users, own, name)
    for name in spreads["gradients"].first:
        found.cotangents[name] = spreads["gradients"].coefficient(name) + _read(users, own, name)
    for kind in ("parameters", "statistics"):
        for name in spreads[kind].first:
            bound = spreads[kind].coefficient(name)
            bound += getattr(own, kind)[name]
            getattr(found, kind)[name] = bound
    return found


def _read(users: Mapping[str, list[Node[Op]]], own: Bounds, name: str) -> Any:
    """The bounds of all own gradients that add up to the gradient of one value."""
    total: Any = 0.0
    for node in {reader.id: reader for reader in users[name]}.values():
        for index, value in enumerate(node.inputs):
            if value.id == name and node.id in own.own:
                total = total + own.own[node.id][index]
    return total
