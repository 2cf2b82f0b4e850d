"""The batches of an epoch, in the order of its seed, prepared ahead by processes where wanted."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from cnnspec.data.dataset import Arrays, Samples
from cnnspec.data.order import order
from cnnspec.data.workers import workers_of

__all__ = ["Batch", "batches", "share"]

AHEAD = 2
"""Batches that each process is asked for before the first is fetched."""


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """What one process computes with in one step.

    Attributes:
        number: of the batch within its epoch, from 0.
        first: where the samples begin within the whole batch.
        size: samples of the whole batch, of all processes together.
        inputs: by name; may have no samples, where there are fewer than processes.
        targets: by name.
    """

    number: int
    first: int
    size: int
    inputs: Arrays
    targets: Arrays


def batches(
    split: Samples,
    *,
    batch: int,
    seed: int,
    epoch: int,
    start: int = 0,
    workers: int = 0,
    rank: int = 0,
    ranks: int = 1,
) -> Generator[Batch, None, None]:
    """The batches of one epoch, augmented as the split is.

    The arrays are the same for any number of workers. These processes stay for the next epoch;
    they end with the split, with the program, or when `stop` is called.

    Args:
        split: what to go through.
        batch: samples of a whole batch; what is left over makes a smaller last one.
        seed: of the order.
        epoch: counted from 0.
        start: the number of the first batch that is given.
        workers: processes that prepare batches ahead; 0 prepares each when it is asked for.
        rank: which contiguous part of each batch is given; the first parts have one sample more
            where they cannot be equal.
        ranks: how many parts there are.

    Raises:
        DataError: a file cannot be read any more, or a worker is lost.
    """
    visited = order(seed, epoch, len(split))
    numbers = range(start, -(-len(split) // batch))
    if not workers:
        for number in numbers:
            whole = visited[number * batch : (number + 1) * batch]
            first, index = share(whole, rank, ranks)
            yield Batch(number, first, len(whole), *split.take(index, epoch))
        return
    parts = [share(visited[n * batch : (n + 1) * batch], rank, ranks) for n in numbers]
    pool = workers_of(split, workers)
    pool.begin()
    for _, index in parts[: AHEAD * workers]:
        pool.ask(index, epoch)
    for position, (number, (first, _)) in enumerate(zip(numbers, parts, strict=True)):
        inputs, targets = pool.fetch()
        for _, index in parts[position + AHEAD * workers :][:1]:
            pool.ask(index, epoch)
        size = min(batch, len(split) - number * batch)
        yield Batch(number, first, size, inputs, targets)


def share(whole: npt.NDArray[np.int64], rank: int, ranks: int) -> tuple[int, npt.NDArray[np.int64]]:
    """The part of a batch that belongs to a rank, and where it begins."""
    each, more = divmod(len(whole), ranks)
    first = rank * each + min(rank, more)
    return first, whole[first : first + each + (rank < more)]
