"""What is measured after an epoch: loss and accuracy, in inference mode."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cnnspec.backends.base import Session
from cnnspec.data import Samples
from cnnspec.training import Training

__all__ = ["HEADER", "Epoch", "Score", "evaluate"]

HEADER = "epoch,train_loss,train_accuracy,test_loss,test_accuracy"


@dataclass(frozen=True, slots=True)
class Score:
    """Loss and accuracy over a split; the accuracy is None where no target is a label."""

    loss: float
    accuracy: float | None


@dataclass(frozen=True, slots=True)
class Epoch:
    """The metrics of one epoch.

    Attributes:
        epoch: counted from 1.
        train_loss: sample-weighted mean of the losses of the steps, as they occurred: in training
            mode, each before its update.
        train_accuracy: over the training set in inference mode, after the epoch, so that it can
            be compared with that of the test set; None where no target is a label.
        test_loss: over the test set in inference mode, after the epoch.
        test_accuracy: the same.
    """

    epoch: int
    train_loss: float
    train_accuracy: float | None
    test_loss: float
    test_accuracy: float | None

    def row(self) -> str:
        """A line of metrics.csv, without its end; numbers that read back as the same ones."""
        return ",".join(
            (
                str(self.epoch),
                repr(self.train_loss),
                _field(self.train_accuracy),
                repr(self.test_loss),
                _field(self.test_accuracy),
            )
        )


def evaluate(session: Session, split: Samples, training: Training, *, batch: int) -> Score:
    """Loss and accuracy in inference mode.

    Args:
        session: holds the weights.
        split: under the network's names.
        training: whose losses these are.
        batch: samples at a time; it changes nothing but the memory that is needed.

    Returns:
        The loss as training counts it: the sum over outputs of the loss's `weight` times its mean.
        The accuracy of the first output with a loss on labels: how often the label is the channel
        with the largest value, the first of them in a tie.
    """
    sums = dict.fromkeys(training.losses, 0.0)
    weights = dict.fromkeys(training.losses, 0.0)
    graded = next((n for n, loss in training.losses.items() if loss.targets == "labels"), None)
    right = positions = 0
    for start in range(0, len(split), batch):
        inputs, targets = split.take(slice(start, start + batch))
        found = session.evaluate(inputs, targets)
        for name, (total, weight) in found.losses.items():
            sums[name] += total
            weights[name] += weight
        if graded is not None:
            hits = found.outputs[graded].argmax(axis=1) == targets[graded]
            right += int(np.count_nonzero(hits))
            positions += hits.size
    loss = sum(each.weight * sums[n] / weights[n] for n, each in training.losses.items())
    return Score(loss, None if graded is None else right / positions)


def _field(value: float | None) -> str:
    return "" if value is None else repr(value)
