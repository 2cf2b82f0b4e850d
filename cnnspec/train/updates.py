"""Updates out of batches: one each, or one of several, alone or with other processes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Protocol

from cnnspec.backends.base import At, Part, Ranks, Session
from cnnspec.data.batches import Batch

__all__ = ["Updates", "UpdatesOf", "grouped"]


class Updates(Protocol):
    """One update of a session's weights for each group of batches."""

    def update(self, batches: Sequence[Batch], at: At, updates_per_epoch: int) -> float:
        """Change the weights; returns the loss before, over the samples of all of them."""


class UpdatesOf:
    """The emitted file's own `train_step` where it is enough, else its parts.

    Args:
        session: whose weights change.
        batch: samples of a whole batch; several begin at multiples of it.
        ranks: the other processes, None for none.
    """

    def __init__(self, session: Session, batch: int, ranks: Ranks | None = None) -> None:
        self.session, self.batch, self.ranks = session, batch, ranks

    def update(self, batches: Sequence[Batch], at: At, updates_per_epoch: int) -> float:
        """One call of it."""
        if len(batches) == 1 and self.ranks is None:
            (only,) = batches
            return self.session.step(
                only.inputs, only.targets, at=at, updates_per_epoch=updates_per_epoch
            )
        parts = [
            Part(batch.inputs, batch.targets, position * self.batch + batch.first)
            for position, batch in enumerate(batches)
        ]
        return self.session.update(parts, at=at, updates_per_epoch=updates_per_epoch)


def grouped(batches: Iterable[Batch], count: int) -> Iterator[list[Batch]]:
    """So many at a time; the last group may have fewer."""
    rest = iter(batches)
    while group := list(islice(rest, count)):
        yield group
