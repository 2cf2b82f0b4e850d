"""Training steps: losses, parameters and statistics after each, and the learning rates."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import numpy.typing as npt

from cnnspec.backends import At
from cnnspec.check import effort, modes, samples
from cnnspec.check.answers import Answers, Part
from cnnspec.check.bounds import FLOOR, UNIT, Bounds
from cnnspec.check.trajectory import AVERAGE, Batch, Trajectory
from cnnspec.heap import give_back
from cnnspec.quantities import REFERENCE
from cnnspec.training import Training

if TYPE_CHECKING:
    from cnnspec.check.run import Checker

Array = npt.NDArray[Any]

UPDATES_PER_EPOCH = 2
MOST_RATES = 10_000

STEP: dict[str, Any] = {
    "quantity": "step",
    "mode": "end_to_end",
    "dtype": "float64",
    "training": True,
}
"""What all comparisons of steps have in common."""


def steps(checker: Checker, known: modes.Known) -> None:
    """Some updates by each file's own `train_step`, compared after each.

    Args:
        checker: of the network; the reference's weights are the initial ones, before and after.
        known: of training mode.
    """
    if not checker.graph.trains():
        lack = "trains no parameters" if checker.graph.params() else "has no parameters"
        checker.report.notes.append(f"the network {lack}, so no steps are compared")
        return
    names = [
        name
        for name in checker.names("float64")
        if modes.deterministic(checker, name, modes.TRAINING) and trains(checker, name)
    ]
    count = effort.steps(checker.graph) if checker.options.steps is None else checker.options.steps
    drawn = list(itertools.islice(batches(checker), count))
    inputs = known.sample.inputs
    trajectory = Trajectory(
        checker.reference,
        checker.weights,
        drawn,
        updates_per_epoch=UPDATES_PER_EPOCH,
        after=inputs,
    )
    if trajectory.diverged is not None:
        checker.report.notes.append(
            f"training diverges at update {trajectory.diverged}, in the reference as well; "
            "from there on steps are not compared"
        )
    _, replicates = effort.replicates(checker.graph)
    coming = None  # the first update, while this process perturbs its own
    if trajectory.losses and not checker.one_by_one:
        coming = checker.start(dict.fromkeys(names, _update(drawn, 0)))
    trajectory.perturb(checker.graph, known.own, checker.seed, replicates)
    known.own = Bounds()  # gigabytes, and no longer needed
    if checker.one_by_one:
        give_back()
    if trajectory.chaotic is not None:
        checker.report.notes.append(
            f"at update {trajectory.chaotic} rounding has grown to a part of the weights that no "
            "bound can be made of, in the reference itself; from there on steps are not compared"
        )
    sizes: dict[Part, int] = {n: 8 * param.size for n, param in checker.graph.params().items()}
    skipped, owners = noise_driven(checker), checker.graph.owners()
    trained = trajectory.weights[0] if trajectory.weights else {}
    for average in (str(name) for name in trained if str(name).startswith(AVERAGE)):
        weight = average.removeprefix(AVERAGE)
        sizes[average], owners[average] = sizes[weight], owners[weight]
        if weight in skipped:
            skipped[average] = f"it follows `{weight}`"
    for update, loss in enumerate(trajectory.losses):
        if checker.one_by_one:
            give_back()  # of the weights that have been compared, for an engine's update
        losses = checker.collect(
            coming or checker.start(dict.fromkeys(names, _update(drawn, update)))
        )
        coming = None
        names = [name for name in names if name in losses]
        answers = Answers(checker, "float64", "trained")
        if checker.reference_stands_in:
            losses = {REFERENCE: loss, **losses}
            answers.add(REFERENCE, cast("Mapping[Part, Array]", trajectory.weights[update]))
        answers.ask(dict.fromkeys(names, ("trained", (), {})))
        _compare_losses(checker, losses, trajectory.loss_bound(update), update)
        for name, found in answers.each(sizes):
            assert isinstance(name, str)
            bound = trajectory.bound(update, name)
            for (a, left), (b, right) in itertools.combinations(found.items(), 2):
                checker.add(
                    left,
                    right,
                    bound,
                    unit=UNIT["float64"],
                    floor=FLOOR["float64"],
                    backends=(a, b),
                    node=owners[name],
                    name=name,
                    update=update,
                    judged=name not in skipped,
                    reason=skipped.get(name, ""),
                    **STEP,
                )
    if coming:  # perturbed runs part at once
        checker.collect(coming)
    if trajectory.outputs:
        _after_training(checker, names, inputs, trajectory, skipped)
    trajectory.close()
    learning_rates(checker, names)


def _update(batches: Sequence[Batch], update: int) -> tuple[str, Batch, dict[str, Any]]:
    options = {"at": At(update), "updates_per_epoch": UPDATES_PER_EPOCH}
    return "step", batches[update], options


def _after_training(
    checker: Checker,
    names: Iterable[str],
    inputs: Mapping[str, Array],
    trajectory: Trajectory,
    skipped: Mapping[str, str],
) -> None:
    """Inference with the weights and statistics that each file has trained for itself."""
    found = checker.tell(dict.fromkeys(names, ("forward", (inputs,), {})))
    if checker.reference_stands_in:
        found = {REFERENCE: trajectory.outputs, **found}
    reason = next(iter(skipped.values()), "")
    ordered = sorted(found, key=checker.options.backends.index)
    for output in modes.outputs_of(checker.graph, modes.INFERENCE):
        bound = trajectory.output_bound(output.name)
        for a, b in itertools.combinations(ordered, 2):
            checker.add(
                found[a][output.name],
                found[b][output.name],
                bound,
                unit=UNIT["float64"],
                floor=FLOOR["float64"],
                backends=(a, b),
                quantity="forward",
                mode="after_training",
                dtype="float64",
                training=False,
                node=output.value.id,
                name=output.name,
                update=len(trajectory.losses) - 1,
                judged=not skipped,
                reason=reason,
            )


def batches(checker: Checker) -> Iterator[Batch]:
    """Inputs and targets of update after update; inputs that a user gives are those of each."""
    size = checker.batch_size()
    for update in itertools.count():
        inputs = checker.options.inputs
        if inputs is None:
            draw = samples.DRAWS + update
            inputs = samples.inputs(checker.graph, checker.seed, draw, size)
        drawn = samples.targets(checker.graph, checker.seed, update, size)
        yield inputs, {**drawn, **(checker.options.targets or {})}


def _compare_losses(
    checker: Checker, losses: Mapping[str, float], bound: float, update: int
) -> None:
    order = checker.options.backends
    pairs = itertools.combinations(sorted(losses, key=order.index), 2)
    for a, b in pairs:
        checker.add(
            np.asarray(losses[a]),
            np.asarray(losses[b]),
            bound,
            unit=UNIT["float64"],
            floor=FLOOR["float64"],
            backends=(a, b),
            node=checker.graph.outputs[0].value.id,
            name="loss",
            update=update,
            **STEP,
        )


def trains(checker: Checker, name: str, dtype: str = "float64") -> bool:
    """Whether a file has training functions, which one of the user's own may not have."""
    if name not in checker.options.sources:
        return True
    (trains,) = checker.tell({name: ("trains", (), {})}, dtype).values() or (False,)
    if not trains:
        checker.report.notes.append(
            f"{name}: the file has no training functions, so no steps are compared"
        )
    return bool(trains)


def noise_driven(checker: Checker) -> dict[str, str]:
    """Parameters that an adaptive optimizer moves by rounding noise alone, with the reason."""
    training = checker.graph.training
    assert training is not None
    if not training.optimizer.adaptive:
        return {}
    found = {}
    users, owners = checker.graph.users(), checker.graph.owners()
    for name in checker.graph.null_gradients():
        reason = "its gradient is zero but for rounding, which an adaptive optimizer divides by"
        found[name] = reason
        for reader in users[owners[name]]:
            if f"{reader.weights_id}.running_mean" in owners:  # of the norms only one has it
                found[f"{reader.weights_id}.running_mean"] = f"it follows `{name}`"
    note = "not comparable after steps: " + ", ".join(f"`{n}`" for n in sorted(found))
    if found and note not in checker.report.notes:
        checker.report.notes.append(note)
    return found


def _finite_rates(training: Training) -> Iterator[float]:
    """Of all updates, up to one that is beyond all numbers."""
    for update in range(min(UPDATES_PER_EPOCH * training.epochs, MOST_RATES)):
        try:
            rate = training.learning_rate(update, UPDATES_PER_EPOCH)
        except OverflowError:
            return
        if not math.isfinite(rate):
            return
        yield rate


def learning_rates(checker: Checker, names: Iterable[str], dtype: str = "float64") -> None:
    """Those of the whole run, which are Python numbers whatever the dtype of a session."""
    training = checker.graph.training
    assert training is not None
    wanted = np.array(list(_finite_rates(training)))
    count = len(wanted)
    call = "learning_rates", (count, UPDATES_PER_EPOCH), dict[str, Any]()
    rates = checker.tell(dict.fromkeys(names, call), dtype)
    if checker.reference_stands_in and dtype == "float64":
        own = checker.reference.learning_rates(count, UPDATES_PER_EPOCH)
        rates = {REFERENCE: own, **rates}
    for name, found in rates.items():
        checker.add(
            wanted,
            np.asarray(found),
            # Near the end of a wave what is left of the rate has cancelled.
            8 * UNIT["float64"] * (np.abs(wanted) + training.optimizer.lr),
            backends=("spec", name),
            node="",
            name="learning_rate",
            **STEP,
        )
