"""Losses that torch has no function of its own for."""

from __future__ import annotations

import torch
import torch.nn.functional as F


def weighted_cross_entropy(
    outputs: torch.Tensor,
    targets: torch.Tensor,
    class_weights: tuple[float, ...],
    weight_norm: str,
    label_smoothing: float = 0.0,
) -> tuple[torch.Tensor, torch.Tensor | int]:
    """Sum of a cross entropy, and the weights of its targets (`sum_w`) or their number."""
    weights = outputs.new_tensor(class_weights)
    total = F.cross_entropy(
        outputs, targets, weights, reduction="sum", label_smoothing=label_smoothing
    )
    labels = targets.ndim < outputs.ndim
    if weight_norm == "batch":
        return total, targets.numel() if labels else targets[:, 0].numel()
    return total, (weights[targets] if labels else targets.movedim(1, -1) * weights).sum()


def binary_cross_entropy(
    outputs: torch.Tensor,
    targets: torch.Tensor,
    label_smoothing: float = 0.0,
    pos_weight: float | tuple[float, ...] = 1.0,
) -> torch.Tensor:
    """Sum of a binary cross entropy whose targets are smoothed, or weighted by channel."""
    targets = (1 - label_smoothing) * targets + label_smoothing / 2
    return F.binary_cross_entropy_with_logits(
        outputs.movedim(1, -1),
        targets.movedim(1, -1),
        pos_weight=outputs.new_tensor(pos_weight),
        reduction="sum",
    )
