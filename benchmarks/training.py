"""Epochs of `cnnspec train` against those of a peer, by turns in one run."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.harness import Result, judged, of_pairs
from cnnspec.data import Dataset, Split
from cnnspec.graph import Graph
from cnnspec.train import Progress, train

__all__ = ["epochs", "images", "reaches"]

WARM_UP = 2
"""Epochs that do not count."""


def images(graph: Graph, count: int, classes: int) -> Dataset:
    """Random images in memory as the network reads them, with labels."""
    rng = np.random.default_rng(0)
    shape = graph.inputs[0].shape

    def split(size: int) -> Split:
        x = rng.normal(size=(size, *shape)).astype(np.float32)
        return Split({"input": x}, {"output": rng.integers(0, classes, size)})

    return Dataset("random", split(count), split(1), tuple(str(i) for i in range(classes)))


class Turns(Progress):
    """An epoch of the peer before each of ours, both in processor time.

    Ours runs from where the loop asks for its first batch to the end of the last update: batches,
    updates and progress. Evaluation and files, which the peer has none of, are left out.
    """

    def __init__(self, theirs: Callable[[], object]) -> None:
        self.theirs = theirs
        self.pairs: list[tuple[float, float]] = []
        self._start = self._seconds = self._last = 0.0

    def begin(self, epoch: int, epochs: int, batches: int, done: int) -> None:
        """The peer's turn, then ours begins."""
        start = time.process_time()
        self.theirs()
        self._seconds = time.process_time() - start
        self._start = time.process_time()

    def advance(self, loss: float) -> None:
        """It may have been the last one."""
        self._last = time.process_time()

    def end(self, epoch: Any, epochs: int, rate: float) -> None:
        """One more pair."""
        self.pairs.append((self._last - self._start, self._seconds))


def epochs(
    name: str,
    peer: str,
    graph: Graph,
    backend: str,
    data: Dataset,
    theirs: Callable[[], object],
    *,
    repeats: int,
) -> Result:
    """Train through cnnspec with the peer in between; `theirs` trains for one epoch."""
    turns = Turns(theirs)
    train(graph, backend, data, epochs=WARM_UP + repeats, dtype="float32", progress=turns)
    return of_pairs(name, peer, turns.pairs[WARM_UP:])


def reaches(result: Result, share: float) -> Result:
    """Whether as many images per second are trained as that share of the peer's."""
    goal = f"at least {share} of the peer's images per second"
    return judged(result, 1 / share, goal)
