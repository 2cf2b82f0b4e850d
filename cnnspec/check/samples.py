"""What a network is checked on: weights, inputs, targets and cotangents, all seeded."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from cnnspec.graph import Graph
from cnnspec.initializers import initial_weights
from cnnspec.ops.base import Shape
from cnnspec.training import default_training
from cnnspec.training.losses import Targets

Array = npt.NDArray[Any]

DRAWS = 20
"""How often inputs are drawn again where a decision could flip."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One batch: inputs and cotangents of the outputs, by name, float64 in N, C, space."""

    inputs: Mapping[str, Array]
    cotangents: Mapping[str, Array]


def generator(seed: int, purpose: str, draw: int = 0) -> np.random.Generator:
    """Random numbers for one purpose."""
    return np.random.Generator(np.random.Philox(seeds(seed, purpose, draw)))


def seeds(seed: int, purpose: str, draw: int = 0) -> np.random.SeedSequence:
    """What random numbers for one purpose grow out of."""
    return np.random.SeedSequence([seed & 0xFFFFFFFF, seed >> 32, draw, *purpose.encode()])


def weights(graph: Graph, seed: int) -> dict[str, Array]:
    """The initial weights, with what starts constant moved off its constant.

    A bias of 0 or a running mean of 0 would hide that a back end leaves it out.
    """
    found: dict[str, Array] = dict(initial_weights(graph, seed=seed))
    for name, param in graph.params().items():
        rng = generator(seed, f"weights/{name}")
        if param.statistic:
            if name.endswith("running_var"):
                found[name] = rng.uniform(0.5, 1.5, param.shape)
            else:
                found[name] = rng.normal(0.0, 0.5, param.shape)
        elif np.ptp(found[name]) == 0:
            found[name] = found[name] + rng.normal(0.0, 0.1, param.shape)
    return found


def sample(graph: Graph, seed: int, draw: int, size: int) -> Sample:
    """Normal inputs and cotangents."""
    return Sample(inputs(graph, seed, draw, size), cotangents(graph, seed, draw, size))


def inputs(graph: Graph, seed: int, draw: int, size: int) -> dict[str, Array]:
    """Normal values for each input."""
    return {
        entry.name: generator(seed, f"input/{entry.name}", draw).normal(size=(size, *entry.shape))
        for entry in graph.inputs
    }


def cotangents(graph: Graph, seed: int, draw: int, size: int) -> dict[str, Array]:
    """A normal cotangent for each output, those of training only included."""
    return {
        output.name: generator(seed, f"cotangent/{output.name}", draw).normal(
            size=(size, *output.value.shape)
        )
        for output in graph.outputs
    }


def targets(graph: Graph, seed: int, draw: int, size: int) -> dict[str, Array]:
    """Targets as each loss expects them; values are normal."""
    training = graph.training or default_training(tuple(o.name for o in graph.outputs))
    logits = graph.logits()
    found: dict[str, Array] = {}
    for output in graph.outputs:
        rng = generator(seed, f"target/{output.name}", draw)
        shape = logits[output.name].shape
        kind = training.losses[output.name].expects
        found[output.name] = _targets(kind, rng, (size, *shape))
    return found


def _targets(kind: Targets, rng: np.random.Generator, shape: Shape) -> Array:
    """Targets of an output of this shape, batch included."""
    match kind:
        case "labels":
            return rng.integers(0, shape[1], (shape[0], *shape[2:]), dtype=np.int64)
        case "values":
            return rng.normal(size=shape)
        case "fractions":
            return rng.uniform(size=shape)
        case "signs":
            return rng.choice((-1.0, 1.0), shape)
        case "probabilities":
            drawn = rng.exponential(size=shape)
            return np.asarray(drawn / drawn.sum(1, keepdims=True))
