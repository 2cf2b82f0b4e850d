"""Faults that are known before the first update, so that none of them costs an hour of training."""

from __future__ import annotations

import math

from cnnspec.diagnostics import DataError, Diagnostic, Label, Span, SpecError
from cnnspec.graph import Graph
from cnnspec.training import Training

__all__ = ["require_batches", "require_schedule", "require_training"]


def require_training(graph: Graph) -> Training:
    """The graph's `train:` section.

    Raises:
        SpecError: there is none.
    """
    if graph.training is not None:
        return graph.training
    origin = graph.inputs[0].origin
    raise SpecError(
        Diagnostic(
            "train-missing",
            "the spec has no `train:` section, which says what to train with",
            None if origin is None else Label(Span(origin.span.source, 1, 1, 1, 1)),
            help="add `train: {loss: cross_entropy, optimizer: {adam: {lr: 0.001}}, batch: 32, "
            "epochs: 20}`",
        )
    )


def require_batches(graph: Graph, batch: int, count: int) -> None:
    """Refuse batches of which a batch norm would see one value per channel.

    Its variance would be that of a single number: 0, and in the unbiased form undefined.

    Args:
        graph: the network.
        batch: samples of a batch.
        count: samples of an epoch; what is left over makes a smaller last batch.

    Raises:
        DataError: with the first such layer.
    """
    last = count % batch or min(batch, count)
    smallest = min(batch, count, last)
    if smallest > 1:
        return
    narrow = [
        node
        for node in graph.nodes
        if node.op.key == "batch_norm" and math.prod(node.inputs[0].shape[1:]) == 1
    ]
    if not narrow:
        return
    which = "every batch" if batch == 1 else "the last batch of an epoch"
    others = len(narrow) - 1
    raise DataError(
        Diagnostic(
            "batch-of-one",
            f"{which} would be one sample, of which the batch norm `{narrow[0].id}` has one value "
            "per channel and no variance",
            None if narrow[0].origin is None else Label(narrow[0].origin.span),
            notes=(
                f"{count} samples in batches of {batch} leave a last one of {smallest}",
                *([f"{others} more batch norms are in the same place"] if others else []),
            ),
            help=_other_batch(batch, count),
        )
    )


def _other_batch(batch: int, count: int) -> str:
    """The nearest size of batches whose last one is larger than one sample."""
    for distance in range(1, count + batch):
        for size in (batch - distance, batch + distance):
            last = count % size or size if 2 <= size <= count else 1
            if last > 1:
                return f"`batch: {size}` leaves a last batch of {last}"
    return "train on more samples"


def require_schedule(training: Training, updates_per_epoch: int) -> None:
    """Refuse a schedule that goes on beyond the run, or beyond all numbers.

    Args:
        training: with the epochs of the run.
        updates_per_epoch: which come from the data.

    Raises:
        DataError: it needs more updates than there are, or its last rate is not finite.
    """
    schedule = training.schedule
    updates = training.epochs * updates_per_epoch
    if schedule.every == "update" and schedule.longest > updates:
        epochs = math.ceil(schedule.longest / updates_per_epoch)
        raise DataError(
            Diagnostic(
                "schedule-too-long",
                f"`{schedule.key}` needs {schedule.longest} updates, and the run has {updates}",
                notes=(f"an epoch of these data has {updates_per_epoch} of them",),
                help=f"`epochs: {epochs}` or more, or a shorter schedule",
            )
        )
    try:
        rate = training.learning_rate(updates - 1, updates_per_epoch)
    except OverflowError:
        rate = math.inf
    if not math.isfinite(rate):
        raise DataError(
            Diagnostic(
                "rate-not-finite",
                f"the learning rate of the last of {updates} updates is beyond all numbers",
                help=f"a smaller `gamma` of `{schedule.key}`, or `every: epoch`",
            )
        )
