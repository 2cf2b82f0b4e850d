"""The batches of an epoch, in the order that the seed and the epoch give."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from cnnspec.data import Samples, order
from cnnspec.data.dataset import Array

__all__ = ["Batch", "batches"]


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """A batch, or the contiguous slice of it that one process has.

    Attributes:
        number: of the batch within the epoch, from 0.
        first: index of the first sample of the slice within the batch.
        size: samples of the whole batch.
        inputs: by name; N, channels, then space.
        targets: by name.
    """

    number: int
    first: int
    size: int
    inputs: Mapping[str, Array]
    targets: Mapping[str, Array]


def batches(
    split: Samples, *, batch: int, seed: int, epoch: int, start: int = 0
) -> Iterator[Batch]:
    """The batches of an epoch from number `start` on; they depend on nothing but the arguments.

    Args:
        split: to train on.
        batch: samples of a batch; the last one has what is left.
        seed: of the network.
        epoch: counted from 0.
        start: number of the first batch to give.
    """
    visited = order(seed, epoch, len(split))
    for number in range(start, math.ceil(len(split) / batch)):
        index = visited[number * batch : (number + 1) * batch]
        inputs, targets = split.take(index)
        yield Batch(number, 0, len(index), inputs, targets)
