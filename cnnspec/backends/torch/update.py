"""One update of several batches, or of several processes, by the functions of a torch file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch

from cnnspec.backends.base import At, Part

if TYPE_CHECKING:
    from cnnspec.backends.torch.ranks import TorchRanks
    from cnnspec.backends.torch.session import TorchSession


def update(
    session: TorchSession,
    optimizer: Any,
    parts: Sequence[Part],
    at: At,
    updates_per_epoch: int,
    ranks: TorchRanks | None,
) -> float:
    """What `train_step` does, but for gradients that are added up first; see `Session.update`."""
    module, model = session.module, session.model
    factors = getattr(module, "LOSS_WEIGHTS", {})
    model.train()
    rate = module.learning_rate(at.update, updates_per_epoch)
    for group in optimizer.param_groups:
        group["lr"] = rate * group.get("scale", 1.0)
    optimizer.zero_grad()
    weights: dict[str, Any] | None = None
    value = 0.0
    for part in parts:
        session.position(At(at.update, part.first))
        outputs = session.logits(part.inputs)
        if weights is None:
            weights = _weights(session, outputs, parts, ranks)
        losses = module.loss_sum(outputs, session.targets(part.targets))
        loss = sum(factors.get(n, 1.0) * s / weights[n] for n, (s, _) in losses.items())
        loss.backward()
        value += loss.item()
    gradients = [p.grad for p in model.parameters() if p.grad is not None]
    if ranks is not None:
        value = ranks.add([*gradients, torch.tensor(value, dtype=torch.float64)])
    if hasattr(module, "penalty"):  # once for an update, and not for each part or process
        penalty = module.penalty(model)
        penalty.backward()
        value += penalty.item()
    module.clip([p.grad for p in model.parameters() if p.grad is not None])
    optimizer.step()
    if hasattr(module, "after_update"):
        module.after_update(model)
    return value


def _weights(
    session: TorchSession, outputs: Any, parts: Sequence[Part], ranks: TorchRanks | None
) -> dict[str, Any]:
    """The weight of each output's loss over all parts of all processes; of the targets alone."""
    total: dict[str, torch.Tensor] = {}
    for part in parts:
        targets = session.targets(part.targets)
        nothing = _zeros(outputs, len(next(iter(part.targets.values()))))
        for name, (_, weight) in session.module.loss_sum(nothing, targets).items():
            found = torch.as_tensor(weight, dtype=torch.float64)
            total[name] = total[name] + found if name in total else found.clone()
    if ranks is not None:
        ranks.add(list(total.values()))
    return {name: weight.item() for name, weight in total.items()}


def _zeros(outputs: Any, count: int) -> Any:
    """Outputs of so many samples, without memory of their own."""
    if isinstance(outputs, Mapping):
        return {name: _zeros(value, count) for name, value in outputs.items()}
    return outputs.new_zeros(()).expand(count, *outputs.shape[1:])
