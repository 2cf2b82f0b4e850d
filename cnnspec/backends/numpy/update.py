"""One update of several batches, by the functions of a NumPy file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from cnnspec.backends.base import At, Part

if TYPE_CHECKING:
    from cnnspec.backends.numpy.session import NumpySession


def update(
    session: NumpySession, optimizer: Any, parts: Sequence[Part], at: At, updates_per_epoch: int
) -> float:
    """What `train_step` does, but for gradients that are added up first; see `Session.update`."""
    module, model = session.module, session.model
    factors = getattr(module, "LOSS_WEIGHTS", {})
    model.zero_gradients()
    weights: dict[str, Any] | None = None
    value = 0.0
    for part in parts:
        session.position(At(at.update, part.first))
        outputs, backward = session.logits(part.inputs)
        if weights is None:
            weights = _weights(session, outputs, parts)
        targets = session.targets(part.targets)
        losses = module.loss_sum(outputs, targets)
        gradients = module.loss_gradient(outputs, targets)
        scaled = {n: factors.get(n, 1.0) * gradients[n] / weights[n] for n in losses}
        backward(next(iter(scaled.values())) if len(scaled) == 1 else scaled)
        value += sum(factors.get(n, 1.0) * s / weights[n] for n, (s, _) in losses.items())
    trained = getattr(module, "trained_gradients", type(model).gradients)
    found = trained(model)
    if hasattr(module, "penalty"):
        found = module.penalty_gradient(model, found)
        value += module.penalty(model)
    optimizer.step(module.clip(found), module.learning_rate(at.update, updates_per_epoch))
    if hasattr(module, "after_update"):
        module.after_update(model)
    return float(value)


def _weights(session: NumpySession, outputs: Any, parts: Sequence[Part]) -> dict[str, Any]:
    """The weight of each output's loss over all parts; of the targets alone."""
    total: dict[str, Any] = {}
    for part in parts:
        targets = session.targets(part.targets)
        nothing = _zeros(outputs, len(next(iter(part.targets.values()))))
        for name, (_, weight) in session.module.loss_sum(nothing, targets).items():
            total[name] = total[name] + weight if name in total else weight
    return total


def _zeros(outputs: Any, count: int) -> Any:
    """Outputs of so many samples."""
    if isinstance(outputs, Mapping):
        return {name: _zeros(value, count) for name, value in outputs.items()}
    return np.zeros((count, *outputs.shape[1:]), outputs.dtype)
