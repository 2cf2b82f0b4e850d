"""What is measured after an epoch: loss, accuracy and confusion, in inference mode."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from cnnspec.backends.base import Ranks, Session
from cnnspec.data import Samples
from cnnspec.data.dataset import Array
from cnnspec.training import Training

__all__ = ["Epoch", "OutputScore", "Score", "columns", "evaluate", "measured"]

TOP = 5
MOST_CLASSES = 1024
"""Of an output that a confusion matrix is made for: it has the square of them."""


@dataclass(frozen=True, slots=True, eq=False)
class OutputScore:
    """What one output has come to over a split.

    Attributes:
        loss: its mean, not weighted.
        accuracy: how often the label is the channel with the largest value, the first of them in
            a tie; None where targets are no labels.
        top5: how often the label is among the five channels with the largest values, in a tie the
            first ones; None where there are no more than five channels, or no labels.
        confusion: int64, (channels, channels): how often the label of a row has been taken for the
            channel of a column; None where there are no labels, or too many channels.
    """

    loss: float
    accuracy: float | None = None
    top5: float | None = None
    confusion: Array | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Score:
    """What a network has come to over a split.

    Attributes:
        loss: as training counts it, the sum over outputs of the loss's `weight` times its mean.
        outputs: by name, those that inference has.
        graded: the first of them with a loss on labels, whose accuracy is the network's.
    """

    loss: float
    outputs: Mapping[str, OutputScore]
    graded: str | None = None

    @property
    def accuracy(self) -> float | None:
        """Of the graded output."""
        return None if self.graded is None else self.outputs[self.graded].accuracy

    @property
    def top5(self) -> float | None:
        """Of the graded output."""
        return None if self.graded is None else self.outputs[self.graded].top5


@dataclass(frozen=True, slots=True)
class Epoch:
    """The metrics of one epoch, each a column of metrics.csv.

    Attributes:
        epoch: counted from 1.
        train_loss: sample-weighted mean of the losses of the updates, as they occurred: in
            training mode, each before its update.
        train_accuracy: over the training set in inference mode, after the epoch, so that it can
            be compared with that of the test set; None where no target is a label.
        test_loss: over the test set in inference mode, after the epoch.
        test_accuracy: the same.
        learning_rate: of the last update of the epoch.
        train_top5: as the accuracy; None where there are no more than five classes.
        test_top5: the same.
        outputs: of a network with several outputs, the columns of each of them.
    """

    epoch: int
    train_loss: float
    train_accuracy: float | None
    test_loss: float
    test_accuracy: float | None
    learning_rate: float = 0.0
    train_top5: float | None = None
    test_top5: float | None = None
    outputs: Mapping[str, float | None] = field(default_factory=dict)

    def values(self) -> dict[str, int | float | None]:
        """Every column by its name, in order."""
        return {name: getattr(self, name) for name in FIELDS} | dict(self.outputs)

    def row(self) -> str:
        """A line of metrics.csv, with every digit; what there is not is empty."""
        return ",".join("" if value is None else repr(value) for value in self.values().values())


FIELDS = tuple(name for name in Epoch.__dataclass_fields__ if name != "outputs")
PER_OUTPUT = ("test_loss", "test_accuracy", "test_top5")


def columns(outputs: tuple[str, ...]) -> tuple[str, ...]:
    """The columns of metrics.csv for a network with these outputs in inference."""
    if len(outputs) < 2:
        return FIELDS
    return (*FIELDS, *(f"{metric}.{name}" for name in outputs for metric in PER_OUTPUT))


def measured(number: int, loss: float, rate: float, train: Score, test: Score) -> Epoch:
    """The metrics of an epoch out of its parts.

    Args:
        number: of the epoch, from 1.
        loss: mean of the losses of its updates.
        rate: the learning rate of its last update.
        train: over the training set.
        test: over the test set.
    """
    outputs: dict[str, float | None] = {}
    if len(test.outputs) > 1:
        for name, score in test.outputs.items():
            own = (score.loss, score.accuracy, score.top5)
            outputs |= {f"{m}.{name}": v for m, v in zip(PER_OUTPUT, own, strict=True)}
    return Epoch(
        number,
        loss,
        train.accuracy,
        test.loss,
        test.accuracy,
        rate,
        train.top5,
        test.top5,
        outputs,
    )


class _Tally:
    """Sums of one output over the batches of a split."""

    def __init__(self, *, labels: bool, confusion: bool) -> None:
        self.labels, self.wants_confusion = labels, confusion
        self.loss = self.weight = 0.0
        self.positions = self.first = self.top = 0
        self.channels = 0
        self.confusion: Array | None = None

    def add(self, loss: float, weight: float, values: Array, targets: Array) -> None:
        self.loss += loss
        self.weight += weight
        if not self.labels:
            return
        self.channels = values.shape[1]
        rank = ranks(values, targets)
        self.positions += rank.size
        self.first += int(np.count_nonzero(rank == 0))
        self.top += int(np.count_nonzero(rank < TOP))
        if self.wants_confusion and self.channels <= MOST_CLASSES:
            pairs = targets.astype(np.int64) * self.channels + values.argmax(axis=1)
            found = np.bincount(pairs.ravel(), minlength=self.channels**2)
            found = found.reshape(self.channels, self.channels)
            self.confusion = found if self.confusion is None else self.confusion + found

    def join(self, other: _Tally) -> None:
        """Add another's sums."""
        self.loss += other.loss
        self.weight += other.weight
        self.positions += other.positions
        self.first += other.first
        self.top += other.top
        if self.confusion is not None and other.confusion is not None:
            self.confusion = self.confusion + other.confusion

    def score(self) -> OutputScore:
        loss = self.loss / self.weight if self.weight else math.nan
        if not self.labels:
            return OutputScore(loss)
        top5 = self.top / self.positions if self.channels > TOP else None
        return OutputScore(loss, self.first / self.positions, top5, self.confusion)


def ranks(values: Array, labels: Array) -> Array:
    """How many channels come before the label's: the larger ones, and equal ones of lower number.

    Args:
        values: N, channels, then space.
        labels: integers, N, then space.

    Returns:
        Integers of the labels' shape; 0 where the prediction is right.
    """
    along = (1, -1, *([1] * (values.ndim - 2)))
    chosen = labels[:, None]
    own = np.take_along_axis(values, chosen, axis=1)
    number = np.arange(values.shape[1]).reshape(along)
    before = (values > own) | ((values == own) & (number < chosen))
    found: Array = np.count_nonzero(before, axis=1)
    return found


def evaluate(
    session: Session,
    split: Samples,
    training: Training,
    *,
    batch: int,
    confusion: bool = False,
    between: Callable[[], None] = lambda: None,
    ranks: Ranks | None = None,
) -> Score:
    """Loss and accuracy in inference mode.

    Args:
        session: holds the weights.
        split: under the network's names.
        training: whose losses these are.
        batch: samples at a time; it changes nothing but the memory that is needed.
        confusion: whether to count which label is taken for which.
        between: is called before each batch; what it raises ends the evaluation.
        ranks: processes that go through a part of the batches each.
    """
    tallies: dict[str, _Tally] = {}
    own, several = (0, 1) if ranks is None else (ranks.rank, ranks.count)
    for start in range(own * batch, len(split), several * batch):
        between()
        inputs, targets = split.take(np.arange(start, min(start + batch, len(split))))
        found = session.evaluate(inputs, targets)
        for name, (total, weight) in found.losses.items():
            labels = training.losses[name].expects == "labels"
            tally = tallies.setdefault(name, _Tally(labels=labels, confusion=confusion))
            tally.add(total, weight, found.outputs[name], targets[name])
    if ranks is not None:
        tallies = _joined(ranks.gather(tallies))
    # In the order of the spec, whatever the order of the file's own mapping.
    outputs = {name: tallies[name].score() for name in training.losses if name in tallies}
    return Score(
        sum(training.losses[name].weight * score.loss for name, score in outputs.items()),
        outputs,
        next((name for name in outputs if tallies[name].labels), None),
    )


def _joined(found: Sequence[Mapping[str, _Tally]]) -> dict[str, _Tally]:
    """The tallies of several processes as one; some may have had no batch."""
    whole: dict[str, _Tally] = {}
    for tallies in found:
        for name, tally in tallies.items():
            if name in whole:
                whole[name].join(tally)
            else:
                whole[name] = tally
    return whole


def per_class(confusion: Array) -> dict[str, list[Any]]:
    """Precision and recall of each class, None where it is never predicted or never occurs.

    Args:
        confusion: see `OutputScore`.

    Returns:
        `samples`, `predicted`, `precision` and `recall`, a list over classes each.
    """
    right = np.diag(confusion)
    samples, predicted = confusion.sum(axis=1), confusion.sum(axis=0)

    def share(of: Array) -> list[float | None]:
        return [r / n if n else None for r, n in zip(right.tolist(), of.tolist(), strict=True)]

    return {
        "samples": samples.tolist(),
        "predicted": predicted.tolist(),
        "precision": share(predicted),
        "recall": share(samples),
    }
