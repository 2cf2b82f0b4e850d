"""Where a run that diverged went wrong first: the layer, and its line of the spec."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from cnnspec.backends.base import At, Session
from cnnspec.data.batches import Batch
from cnnspec.data.dataset import Array
from cnnspec.diagnostics import DataError, Diagnostic, Label
from cnnspec.graph import Graph, Value
from cnnspec.train.checkpoint import Checkpoint
from cnnspec.train.updates import Updates

__all__ = ["Place", "fault", "finite", "in_evaluation", "in_update"]


@dataclass(frozen=True, slots=True)
class Place:
    """What was the first that was not finite.

    Attributes:
        message: says so.
        value: the node or input whose line of the spec is shown, None where it cannot be told.
    """

    message: str
    value: Value | None = None


def finite(arrays: Mapping[str, Array]) -> bool:
    """Whether every number of all arrays is."""
    return all(np.isfinite(array).all() for array in arrays.values())


def fault(what: str, place: Place, kept: str) -> DataError:
    """What to raise.

    Args:
        what: the symptom and when it was seen.
        place: where it began.
        kept: what of the run is still there.
    """
    origin = None if place.value is None else place.value.origin
    notes = (place.message, kept) if place.message else (kept,)
    return DataError(
        Diagnostic(
            "loss-not-finite",
            what,
            None if origin is None else Label(origin.span, "went non-finite first"),
            notes=notes,
            help="a smaller `lr`, or inputs of about unit size",
        )
    )


def in_update(
    session: Session,
    updates: Updates,
    graph: Graph,
    good: Checkpoint,
    groups: Iterable[Sequence[Batch]],
    updates_per_epoch: int,
    between: Callable[[], None],
) -> Place:
    """Repeat the updates since a checkpoint, up to the one that went wrong.

    An update has changed the weights before its loss is known, so they have to be made again.

    Args:
        session: its weights and state are those of the last update that is examined afterwards.
        updates: makes them.
        graph: the network.
        good: the weights and state to begin with.
        groups: the batches of each update since then; the last one is that whose loss was not
            finite, or after which the weights were not.
        updates_per_epoch: number of them.
        between: is called before each; what it raises ends the search.
    """
    session.assign(good.weights)
    session.reset()
    session.restore(good.state)
    number = good.epoch * updates_per_epoch + good.update
    for group in groups:
        between()
        at = At(update=number)
        before = dict(session.weights())
        with np.errstate(all="ignore"):
            loss = updates.update(group, at, updates_per_epoch)
        bad = [n for n, v in session.weights(copy=False).items() if not np.isfinite(v).all()]
        if bad or not np.isfinite(loss):
            session.assign(before)
            places = (_traced(session, graph, batch, at, bad=bad) for batch in group)
            place = next((found for found in places if found.value is not None), Place(""))
            where = f"in update {number % updates_per_epoch + 1} of the epoch"
            return Place(f"{where}, {place.message}", place.value)
        number += 1
    return Place("the same updates, made once more, stayed finite")


def in_evaluation(
    session: Session, graph: Graph, inputs: Mapping[str, Array], targets: Mapping[str, Array]
) -> Place:
    """The place in a pass in inference mode, with the weights that the session has."""
    batch = Batch(0, 0, len(next(iter(inputs.values()))), dict(inputs), dict(targets))
    return _traced(session, graph, batch, At())


def _traced(
    session: Session, graph: Graph, batch: Batch, at: At, *, bad: Sequence[str] | None = None
) -> Place:
    """The place in a pass with the weights that the session has.

    Args:
        session: holds them.
        graph: the network.
        batch: the one that goes wrong.
        at: where in training.
        bad: the weights that an update with this batch makes infinite or undefined; None in
            inference mode.
    """
    training = bad is not None
    for entry in graph.inputs:
        if not np.isfinite(batch.inputs[entry.name]).all():
            return Place(f"the data of the input `{entry.name}` are not finite", entry)
    owners = graph.owners()
    for name, array in session.weights(copy=False).items():
        if not np.isfinite(array).all():
            return Place(f"`{name}` is not finite", graph.node(owners[name]))
    with np.errstate(all="ignore"):
        values = session.trace(batch.inputs, training=training, at=at).values
    for node in graph.nodes:
        if node.id in values and not np.isfinite(values[node.id]).all():
            what = "the values of `{}` are the first that are not finite"
            return Place(what.format(node.id), node)
    if bad is not None:
        place = _backwards(session, graph, batch, at, bad)
        if place is not None:
            return place
    return _losses(session, graph, batch, at, training=training)


def _backwards(
    session: Session, graph: Graph, batch: Batch, at: At, after: Sequence[str]
) -> Place | None:
    """The last layer with such a gradient, which is the first on the way back."""
    with np.errstate(all="ignore"):
        found = session.gradients(batch.inputs, targets=batch.targets, training=True, at=at)
    if found.loss is None or not np.isfinite(found.loss):
        return None
    owners = graph.owners()
    order = {node.id: position for position, node in enumerate(graph.nodes)}
    bad = [name for name, g in found.parameters.items() if not np.isfinite(g).all()]
    if bad:
        name = max(bad, key=lambda name: order[owners[name]])
        what = f"the gradient of `{name}` is the first, on the way back, that is not finite"
        return Place(what, graph.node(owners[name]))
    if after:
        what = f"values and gradients are finite, and `{after[0]}` is not after the update"
        return Place(what, graph.node(owners[after[0]]))
    return None


def _losses(session: Session, graph: Graph, batch: Batch, at: At, *, training: bool) -> Place:
    with np.errstate(all="ignore"):
        found = session.evaluate(batch.inputs, batch.targets, training=training, at=at)
    for output in graph.outputs:
        total, _ = found.losses.get(output.name, (0.0, 0.0))
        if not np.isfinite(total):
            what = f"all values are finite, and the loss of the output `{output.name}` is not"
            return Place(what, output.value)
    return Place("")
