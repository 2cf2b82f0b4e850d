"""One update of several batches, by the functions of a Keras file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import keras

from cnnspec.backends.base import At, Part
from cnnspec.backends.keras.engines import Leaves, Pass
from cnnspec.backends.keras.live import parameters, plain, single

if TYPE_CHECKING:
    from cnnspec.backends.keras.session import KerasSession


def update(session: KerasSession, parts: Sequence[Part], at: At, updates_per_epoch: int) -> float:
    """What `train_step` does, but for gradients that are added up first; see `Session.update`."""
    module, model = session.module, session.logits
    weights = _weights(session, parts)
    trained = parameters(session.emitted, session.model)
    if not session.pulls:
        session.pulls = {first: _pull(session, trained, penalties=first) for first in (True, False)}
    gradients: dict[str, Any] = {}
    value = 0.0
    for number, part in enumerate(parts):
        session.position(At(at.update, part.first))
        # Penalties once for an update, and not for each part.
        pull = session.pulls[number == 0]
        loss, pulled = pull(session.inputs(part.inputs), session.targets(part.targets), weights)
        value += float(plain(loss))
        for name, gradient in pulled.items():
            gradients[name] = gradients[name] + gradient if number else gradient
    of = {id(variable): gradients[name] for name, variable in trained.items()}
    variables = model.trainable_variables
    model.optimizer.learning_rate = module.learning_rate(at.update, updates_per_epoch)
    model.optimizer.apply([of[id(variable)] for variable in variables], variables)
    return value


def _pull(session: KerasSession, trained: Mapping[str, Any], *, penalties: bool) -> Any:
    """The loss and the gradients of a part, traced before it runs where the engine can do that."""

    def pull(inputs: Leaves, targets: Any, weights: Mapping[str, Any]) -> tuple[Any, Any]:
        run = _pass(session, targets, weights, penalties=penalties)
        found, pulled = session.engine.pull(run, inputs, trained, session.logits)
        return found.loss, pulled.parameters

    return pull if session.eager else session.engine.traced(pull)


def _pass(
    session: KerasSession, targets: Any, weights: Mapping[str, Any], *, penalties: bool
) -> Any:
    module, model = session.module, session.logits
    factors = getattr(module, "LOSS_WEIGHTS", {})

    def run(leaves: Leaves, _: Mapping[str, Any]) -> Pass:
        outputs = session.named(model(single(leaves), training=True))
        losses = module.loss_sum(single(outputs), targets)
        total = sum(factors.get(n, 1.0) * s / weights[n] for n, (s, _) in losses.items())
        if penalties:
            total = sum(model.losses, total)
        return Pass([total], [keras.ops.ones_like(total)], outputs, loss=total)

    return run


def _weights(session: KerasSession, parts: Sequence[Part]) -> dict[str, Any]:
    """The weight of each output's loss over all parts; of the targets alone."""
    # `output_shape` has no names.
    outputs = session.named(session.logits._outputs_struct)
    total: dict[str, Any] = {}
    for part in parts:
        count = len(next(iter(part.targets.values())))
        nothing = {n: keras.ops.zeros((count, *x.shape[1:])) for n, x in outputs.items()}
        targets = session.targets(part.targets)
        for name, (_, weight) in session.module.loss_sum(single(nothing), targets).items():
            total[name] = total[name] + weight if name in total else weight
    return total
