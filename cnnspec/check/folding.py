"""A network that has been optimized for inference against its original, on the same weights.

Both are run by the reference in float64. They round differently, and the weights of the optimized
one are rounded results themselves: two answers may lie as far apart as both lie from the exact one.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from cnnspec.backends import At, Style, get
from cnnspec.backends.base import Trace
from cnnspec.check import bounds, effort, samples
from cnnspec.check.bounds import END_TO_END_STEP, FLOOR, UNIT, Bounds
from cnnspec.check.spread import Noise, Spread
from cnnspec.graph import Graph
from cnnspec.liveness import inference_nodes
from cnnspec.passes.fold import fold, magnitudes
from cnnspec.passes.inference import Optimized
from cnnspec.quantities import REFERENCE

if TYPE_CHECKING:
    from cnnspec.check.run import Checker

Array = npt.NDArray[Any]

COMMON: dict[str, Any] = {"training": False, "at": At()}
ROUNDINGS = 6
"""Of a folded weight: a sum, a root, a quotient, a product; a bias has a difference and a sum."""


@dataclass(frozen=True, slots=True)
class Original:
    """What an optimized network was made of.

    Attributes:
        graph: the original.
        weights: of it, by canonical name, in float64.
        made: the optimized network.
    """

    graph: Graph
    weights: Mapping[str, Array]
    made: Optimized

    def folded(self) -> dict[str, Array]:
        """Weights of the optimized network."""
        return fold(self.made, self.weights)


def compare(checker: Checker, original: Original, sample: samples.Sample) -> None:
    """Compare the values of all layers that both networks have, in inference.

    Args:
        checker: of the optimized network; its reference has the weights of `original.folded()`.
        original: what it was made of.
        sample: inputs, and cotangents of the optimized network's outputs.
    """
    from cnnspec.backends.numpy.session import NumpySession

    values = original.made.values
    style = Style(random="counter")
    emitted = get(REFERENCE).emit(original.graph, style)
    session = NumpySession(emitted, dtype="float64", drawn=False)
    session.assign(original.weights)
    ids = values.values()
    before = _spread(checker, session, original.graph, original.weights, sample, {}, ids)
    session.close()
    sizes = magnitudes(original.made, original.weights)
    rounded = {
        f"{id}.{param.name}": ROUNDINGS * len(given) * sizes[f"{id}.{param.name}"]
        for id, (_, *given) in original.made.weights.items()
        if given
        for param in checker.graph.node(id).params
    }
    after = _spread(
        checker, checker.reference, checker.graph, checker.weights, sample, rounded, values
    )
    checker.reference.assign(checker.weights)
    names = {o.value.id: o.name for o in checker.graph.outputs}
    for id, old in values.items():
        checker.add(
            before.answer.values[old],
            after.answer.values[id],
            before.bound(old) + after.bound(id),
            unit=UNIT["float64"],
            floor=FLOOR["float64"],
            backends=("original", "optimized"),
            quantity="forward",
            mode="optimized",
            dtype="float64",
            training=False,
            node=id,
            name=names.get(id, id),
        )


@dataclass(frozen=True, slots=True)
class _Answer:
    answer: Trace
    own: Bounds
    spread: Spread

    def bound(self, id: str) -> Any:
        """How far the right value may lie from this one, in units of u."""
        return self.spread.coefficient(id) + self.own.values[id]


def _spread(
    checker: Checker,
    session: Any,
    graph: Graph,
    weights: Mapping[str, Array],
    sample: samples.Sample,
    rounded: Mapping[str, Array],
    wanted: Collection[str],
) -> _Answer:
    """The values of one network, and how far they move where everything on the way does.

    Args:
        checker: whose seed it is.
        session: of the network, with the weights.
        graph: the network.
        weights: of it.
        sample: inputs and cotangents.
        rounded: how much of each weight is uncertain, in units of u.
        wanted: ids of the layers whose values are wanted.
    """
    alone, whole = effort.replicates(graph)
    answer = session.trace(sample.inputs, cotangents=sample.cotangents, **COMMON)
    own = bounds.isolated(
        inference_nodes(graph),
        session,
        weights,
        sample.inputs,
        answer,
        seed=checker.seed,
        replicates=alone,
        **COMMON,
    )
    spread = Spread({id: answer.values[id] for id in wanted}, END_TO_END_STEP)
    batch = len(next(iter(sample.inputs.values())))
    noise = Noise(graph, own, batch, END_TO_END_STEP, parameters=False)

    def see(kind: str, id: str, value: Any) -> None:
        if kind == "values" and id in spread.first:
            spread.see(id, value)

    for replicate in range(whole):
        seeds = samples.seeds(checker.seed, "optimized", replicate)
        random = np.random.Generator(np.random.SFC64(seeds))
        session.put(
            {
                name: weights[name] + random.uniform(-1, 1, size.shape) * size * END_TO_END_STEP
                for name, size in rounded.items()
            }
        )
        session.trace(sample.inputs, noise=noise.seeded(seeds), observe=see, **COMMON)
    return _Answer(answer, own, spread)
