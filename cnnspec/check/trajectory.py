"""Training runs of the reference: the weights after each update, and how far they may be off."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from cnnspec.backends.base import At
from cnnspec.check.bounds import (
    END_TO_END_STEP,
    STATISTIC_ROUNDING,
    Bounds,
)
from cnnspec.check.pieces import bound_dtype, magnitude, pieces, root_mean_square
from cnnspec.check.samples import seeds
from cnnspec.check.spread import Noise, Spread
from cnnspec.check.store import Kept, Store
from cnnspec.graph import Graph

Array = npt.NDArray[Any]
Batch = tuple[Mapping[str, Array], Mapping[str, Array]]

AVERAGE = "average/"
"""In front of the name of a weight, that of its moving average."""
UPDATE_ROUNDING = 4.0
LIMIT = float(np.finfo(np.float64).max) ** 0.25
"""Larger numbers are those of a training run that diverges: deviations of them, in units of a step,
have no squares."""
MOST_GROWTH = 2.0**-10
"""Of the weights themselves, that perturbed runs may be apart: beyond, decisions flip in numbers
and deviations stop growing in proportion, so that nothing follows for smaller ones."""


def _meaningful(values: Mapping[str, Array]) -> bool:
    """Whether numbers are finite, and small enough for what is made of them."""
    return all(magnitude(value) < LIMIT for value in values.values())


class Trajectory:
    """A training run: its losses, the weights after each update, and bounds of both.

    Attributes:
        losses: before each update.
        weights: after each update.
        diverged: the first update whose numbers no longer mean anything, None if there is none.
        chaotic: the first update at which rounding has grown beyond what a bound can be made of.
        outputs: of inference after the last update, by name; empty where there is no meaning in
            them, or nobody has asked.
    """

    def __init__(
        self,
        reference: Any,
        weights: Mapping[str, Array],
        batches: Sequence[Batch],
        *,
        updates_per_epoch: int,
        after: Mapping[str, Array] | None = None,
    ) -> None:
        self._after = after
        self.outputs: dict[str, Array] = {}
        self._reference = reference
        self._start = {**weights, **{f"{AVERAGE}{name}": v for name, v in weights.items()}}
        self._per_epoch = updates_per_epoch
        self._store = Store()
        self.losses: list[float] = []
        self.weights: list[Kept] = []
        self.diverged: int | None = None
        self.chaotic: int | None = None
        reference.reset()
        for update, (inputs, targets) in enumerate(batches):
            loss = reference.step(
                inputs, targets, at=At(update), updates_per_epoch=updates_per_epoch
            )
            trained = reference.trained()
            if not (abs(loss) < LIMIT and all(magnitude(v) < LIMIT for v in trained.values())):
                self.diverged = update
                break
            self.losses.append(loss)
            self.weights.append(self._store.keep(trained))
        if after is not None and self.weights and self.diverged is None:
            with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
                found = reference.forward(after)
            if _meaningful(found):
                self.outputs = found
        reference.reset()
        reference.assign(weights)
        self._begin = weights
        self._batches = batches[: len(self.losses)]

    def close(self) -> None:
        """Forget the weights."""
        self.weights = []
        self._store.close()

    def perturb(
        self,
        graph: Graph,
        own: Bounds,
        seed: int,
        replicates: int,
        step: float = END_TO_END_STEP,
    ) -> None:
        """Run it again and again with everything on the way of every update moved, by this much."""
        self._step = step
        self._statistics = own.statistics
        self._values = {
            output.name: own.values[output.value.id]
            for output in graph.outputs
            if output.name in self.outputs
        }
        self._last = Spread(self.outputs, step)
        self._losses: list[Spread] = []
        self._spreads: list[Spread] = []
        for loss, found in zip(self.losses, self.weights, strict=True):
            self._losses.append(Spread({"loss": np.asarray(loss)}, step))
            self._spreads.append(Spread(found, step))
        if not self._batches:
            return
        meaningful = len(self._batches)
        size = len(next(iter(self._batches[0][0].values())))
        noise = Noise(graph, own, size, step, parameters=True)
        for replicate in range(replicates):
            runs = self._reference.perturbed_steps(
                self._batches[:meaningful],
                noise.seeded(seeds(seed, "steps", replicate)),
                updates_per_epoch=self._per_epoch,
            )
            for update, (loss, found) in enumerate(runs):
                self._losses[update].add({"loss": np.asarray(loss)})
                self._spreads[update].add(found)
                if self._grown(update):
                    meaningful = self.chaotic = update
                    self.outputs = {}
                    break
                if self.outputs and update == len(self._batches) - 1:
                    moved = self._inference(found, noise)
                    if _meaningful(moved):
                        self._last.add(moved)
                    else:
                        self.outputs = {}
            runs.close()
            self._reference.assign(self._begin)
        terms = size * sum(math.prod(value.shape) for value in graph.logits().values())
        self._summed = STATISTIC_ROUNDING + 16 * math.sqrt(terms)
        self._rounded = {
            name: np.zeros(np.shape(value), bound_dtype(np.size(value)))
            for name, value in self._start.items()
            if name in self.weights[0]
        }
        for each in (self.losses, self.weights, self._losses, self._spreads):
            del each[meaningful:]

    def _inference(self, weights: Mapping[str, Array], noise: Noise) -> Mapping[str, Array]:
        """What a perturbed run ends in, perturbed once more on the way."""
        assert self._after is not None
        self._reference.assign({name: weights[name] for name in self._begin})
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            trace = self._reference.trace(self._after, noise=noise, observe=lambda *_: None)
        outputs: Mapping[str, Array] = trace.outputs
        return outputs

    def _grown(self, update: int) -> bool:
        """Whether the perturbed runs have left the straight line that bounds are scaled along."""
        if self._step > END_TO_END_STEP:  # as large as what it stands for: nothing is scaled
            return False
        spread, weights = self._spreads[update], self.weights[update]
        limit = MOST_GROWTH / self._step
        return any(
            spread.typical(name) > limit * root_mean_square(value)
            for name, value in weights.items()
        )

    def loss_bound(self, update: int) -> float:
        """Coefficient of u of the loss before an update; once for each."""
        spread = float(self._losses[update].coefficient("loss"))
        return spread + self._summed * abs(self.losses[update])

    def output_bound(self, name: str) -> Array:
        """Coefficient of u of an output of inference after the last update; once for each."""
        return self._last.coefficient(name) + self._values[name]

    def bound(self, update: int, name: str) -> Array:
        """Coefficient of u of some weights after an update; update after update, once for each."""
        value = self.weights[update][name]
        before = self._start[name] if update == 0 else self.weights[update - 1][name]
        found = self._spreads[update].coefficient(name)
        # The new weight is rounded, and so is what is added to it, a few times: with an
        # adaptive optimizer that is of the order of the learning rate, however small both are.
        for new, old, rounded, bound in pieces(value, before, self._rounded[name], found):
            lost = UPDATE_ROUNDING * (np.abs(new) + np.abs(old) + np.abs(new - old))
            np.add(rounded, lost, out=rounded, casting="same_kind")
            np.add(bound, rounded, out=bound, casting="same_kind")
        if name in self._statistics:
            found += self._statistics[name]
        return found
