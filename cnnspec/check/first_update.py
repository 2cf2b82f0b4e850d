"""The first update in float32, of engines that have no float64.

In float32 some decision is always near: of LeNet's 60,000 pre-activations a hundred lie closer to
a kink than two right answers lie to each other, and where one flips a gradient jumps. After several
updates no bound holds, so the first one alone is compared. Its loss and the running statistics
come from values, which are continuous, and are judged; parameters where no decision could flip.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import numpy as np
import numpy.typing as npt

from cnnspec.backends import At
from cnnspec.check import effort, modes, samples, single, stepping
from cnnspec.check.answers import Answers, Part
from cnnspec.check.bounds import FLOOR, UNIT
from cnnspec.check.trajectory import Trajectory
from cnnspec.quantities import REFERENCE

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cnnspec.check.run import Checker

Array = npt.NDArray[Any]

STEP: dict[str, Any] = {**stepping.STEP, "dtype": "float32", "update": 0}


def compare(checker: Checker, known: modes.Known) -> None:
    """One update by each file's own `train_step`, on the inputs of end-to-end comparison.

    Args:
        checker: of the network; the reference's weights are the initial ones, before and after.
        known: of training mode.
    """
    names = [
        name
        for name in checker.single()
        if modes.deterministic(checker, name, modes.TRAINING)
        and stepping.trains(checker, name, "float32")
    ]
    if not names or not checker.graph.trains():
        return
    if checker.options.steps == 0:
        return
    exact = single.in_float32(checker, known)
    drawn = samples.targets(checker.graph, checker.seed, 0, checker.batch_size())
    targets = {
        name: value if value.dtype.kind == "i" else single.rounded(value, "float32")
        for name, value in {**drawn, **(checker.options.targets or {})}.items()
    }
    weights = {n: single.rounded(v, "float32") for n, v in checker.weights.items()}
    batch = exact.sample.inputs, targets
    per_epoch = stepping.UPDATES_PER_EPOCH
    checker.reference.assign(weights)
    trajectory = Trajectory(checker.reference, weights, [batch], updates_per_epoch=per_epoch)
    _, replicates = effort.replicates(checker.graph)
    trajectory.perturb(checker.graph, known.own, checker.seed, replicates, step=UNIT["float32"])
    checker.reference.assign(checker.weights)
    flipping = bool(exact.unsafe)
    checker.report.notes.append(
        f"{', '.join(names)}: checked in float32 alone; of training the first update is compared"
        + (", and its parameters are not judged, as a decision could flip" if flipping else "")
    )
    stepping.learning_rates(checker, names, "float32")
    if trajectory.losses:
        _compare(checker, names, trajectory, batch, flipping=flipping)
    trajectory.close()


def _compare(
    checker: Checker,
    names: list[str],
    trajectory: Trajectory,
    batch: tuple[Mapping[str, Array], Mapping[str, Array]],
    *,
    flipping: bool,
) -> None:
    graph, unit, floor = checker.graph, UNIT["float32"], FLOOR["float32"]
    options = {"at": At(), "updates_per_epoch": stepping.UPDATES_PER_EPOCH}
    losses = checker.tell(dict.fromkeys(names, ("step", batch, options)), "float32")
    bound = trajectory.loss_bound(0)
    for name, loss in losses.items():
        checker.add(
            np.asarray(trajectory.losses[0]),
            np.asarray(loss),
            bound,
            unit=unit,
            floor=floor,
            backends=(REFERENCE, name),
            node=graph.outputs[0].value.id,
            name="loss",
            **STEP,
        )
    skipped, owners = stepping.noise_driven(checker), graph.owners()
    answers = Answers(checker, "float32", "weights")
    answers.ask(dict.fromkeys(losses, ("weights", (), {"copy": False})))
    sizes: dict[Part, int] = {n: 8 * param.size for n, param in graph.params().items()}
    after = cast("Mapping[str, Array]", trajectory.weights[0])
    for part, found in answers.each(sizes):
        name = str(part)
        limit = trajectory.bound(0, name)
        limit = limit + _corrections(checker) * np.abs(after[name] - checker.weights[name])
        reason = skipped.get(name, "")
        if flipping and not graph.params()[name].statistic:
            reason = reason or single.FLIPS
        for backend, value in found.items():
            checker.add(
                after[name],
                value,
                limit,
                unit=unit,
                floor=floor,
                backends=(REFERENCE, backend),
                node=owners[name],
                name=name,
                judged=not reason,
                reason=reason,
                **STEP,
            )


def _corrections(checker: Checker) -> float:
    """Roundings of 1 - b^t, in proportion to the update: b is near 1, so that most cancels.

    The power of b loses a few u of itself, and its root halves what that is of the difference.
    """
    training = checker.graph.training
    assert training is not None
    return 4 * sum(b / (1 - b) for b in training.optimizer.corrected)
