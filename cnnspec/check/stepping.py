"""Training steps: losses, parameters and statistics after each, and the learning rates."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from cnnspec.backends import At
from cnnspec.check import bounds, modes, samples
from cnnspec.check.bounds import FLOOR, UNIT
from cnnspec.training import Adam

if TYPE_CHECKING:
    from cnnspec.check.run import Checker

Array = npt.NDArray[Any]

UPDATES_PER_EPOCH = 2
MOST_RATES = 10_000


def steps(checker: Checker, sample: samples.Sample) -> None:
    """Some updates by each file's own `train_step`, compared after each."""
    count = checker.options.steps
    if not any(param.trainable for param in checker.graph.params().values()):
        checker.report.notes.append("the network has no parameters, so no steps are compared")
        return
    names = [
        name
        for name in checker.names("float64")
        if modes.deterministic(checker, name, modes.TRAINING) and _trains(checker, name)
    ]
    size = len(next(iter(sample.inputs.values())))
    batches = []
    for update in range(count):
        inputs: Mapping[str, Array] = sample.inputs
        if checker.options.inputs is None:
            inputs = samples.sample(
                checker.graph, checker.seed, samples.DRAWS + update, size
            ).inputs
        drawn = samples.targets(checker.graph, checker.seed, update, size)
        batches.append((inputs, {**drawn, **(checker.options.targets or {})}))
    answer = _finite(checker, _trained(checker, checker.reference, batches))
    batches = batches[: len(answer)]
    count = len(batches)
    limits = bounds.steps(
        checker.graph,
        checker.reference,
        checker.weights,
        batches,
        answer,
        checker.own[modes.TRAINING],
        updates_per_epoch=UPDATES_PER_EPOCH,
        seed=checker.seed,
    )
    found: dict[str, list[tuple[float, dict[str, Array]]]] = {name: [] for name in names}
    for update, (inputs, wanted) in enumerate(batches):
        options = {"at": At(update), "updates_per_epoch": UPDATES_PER_EPOCH}
        losses = checker.tell(dict.fromkeys(found, ("step", (inputs, wanted), options)))
        weights = checker.tell({n: ("weights", (), {}) for n in losses})
        for name in list(found):
            if name in weights:
                found[name].append((losses[name], weights[name]))
            else:
                del found[name]
    checker.tell({n: ("assign", (checker.weights,), {}) for n in checker.names("float64")})
    skipped = _noise_driven(checker)
    for a, b in itertools.combinations(found, 2):
        about: dict[str, Any] = {
            "backends": (a, b),
            "mode": "end_to_end",
            "dtype": "float64",
            "training": True,
        }
        for update in range(count):
            (loss_a, left), (loss_b, right) = found[a][update], found[b][update]
            checker.add(
                np.asarray(loss_a),
                np.asarray(loss_b),
                UNIT["float64"] * limits.losses[update] + FLOOR["float64"],
                quantity="step",
                node=checker.graph.outputs[0].value.id,
                name="loss",
                update=update,
                **about,
            )
            for name, coefficient in limits.weights[update].items():
                checker.add(
                    left[name],
                    right[name],
                    UNIT["float64"] * coefficient + FLOOR["float64"],
                    quantity="step",
                    node=name.rpartition(".")[0],
                    name=name,
                    update=update,
                    judged=name not in skipped,
                    reason=skipped.get(name, ""),
                    **about,
                )
    _learning_rates(checker, names)


def _finite(
    checker: Checker, answer: list[tuple[float, dict[str, Array]]]
) -> list[tuple[float, dict[str, Array]]]:
    """The updates before the run diverges, if it does: beyond lies no number to compare."""
    limit = math.sqrt(np.finfo(np.float64).max)
    for update, (loss, weights) in enumerate(answer):
        largest = max((float(np.max(np.abs(v), initial=0.0)) for v in weights.values()), default=0)
        if not (abs(loss) < limit and largest < limit):
            checker.report.notes.append(
                f"training diverges at update {update}, in the reference as well; "
                "from there on steps are not compared"
            )
            return answer[:update]
    return answer


def _trains(checker: Checker, name: str) -> bool:
    if name not in checker.options.sources:
        return True
    (trains,) = checker.tell({name: ("trains", (), {})}).values() or (False,)
    if not trains:
        checker.report.notes.append(
            f"{name}: the file has no training functions, so no steps are compared"
        )
    return bool(trains)


def _trained(
    checker: Checker,
    session: Any,
    batches: Sequence[tuple[Mapping[str, Array], Mapping[str, Array]]],
) -> list[tuple[float, dict[str, Array]]]:
    session.reset()
    found = []
    for update, (inputs, wanted) in enumerate(batches):
        loss = session.step(inputs, wanted, at=At(update), updates_per_epoch=UPDATES_PER_EPOCH)
        found.append((loss, session.weights()))
    session.reset()
    session.assign(checker.weights)
    return found


def _noise_driven(checker: Checker) -> dict[str, str]:
    """Parameters that an adaptive optimizer moves by rounding noise alone, with the reason."""
    training = checker.graph.training
    assert training is not None
    if not isinstance(training.optimizer, Adam):
        return {}
    found = {}
    users = checker.graph.users()
    for name in checker.graph.null_gradients():
        owner = name.rpartition(".")[0]
        reason = "its gradient is zero but for rounding, which an adaptive optimizer divides by"
        found[name] = reason
        for reader in users[owner]:
            found[f"{reader.weights_id}.running_mean"] = f"it follows `{name}`"
    if found:
        checker.report.notes.append(
            "not comparable after steps: " + ", ".join(f"`{n}`" for n in sorted(found))
        )
    return found


def _learning_rates(checker: Checker, names: Iterable[str]) -> None:
    training = checker.graph.training
    assert training is not None
    count = min(UPDATES_PER_EPOCH * training.epochs, MOST_RATES)
    wanted = np.array([training.learning_rate(u, UPDATES_PER_EPOCH) for u in range(count)])
    rates = checker.tell({n: ("learning_rates", (count, UPDATES_PER_EPOCH), {}) for n in names})
    for name, found in rates.items():
        checker.add(
            wanted,
            np.asarray(found),
            8 * UNIT["float64"] * np.abs(wanted),
            backends=("spec", name),
            mode="end_to_end",
            dtype="float64",
            training=True,
            quantity="step",
            node="",
            name="learning_rate",
        )
