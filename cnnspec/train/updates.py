"""Who makes an update out of a batch; the loop knows nothing else of it."""

from __future__ import annotations

from typing import Protocol

from cnnspec.backends.base import At, Session
from cnnspec.train.batches import Batch

__all__ = ["Updates", "WholeBatch"]


class Updates(Protocol):
    """One update of a session's weights for each batch."""

    def update(self, batch: Batch, at: At, updates_per_epoch: int) -> float:
        """Change the weights; returns the loss before, over the samples of the whole batch."""


class WholeBatch:
    """The emitted file's own `train_step` on the batch as it is."""

    def __init__(self, session: Session) -> None:
        self.session = session

    def update(self, batch: Batch, at: At, updates_per_epoch: int) -> float:
        """One call of it."""
        return self.session.step(
            batch.inputs, batch.targets, at=at, updates_per_epoch=updates_per_epoch
        )
