"""Merges that torch has with another gradient."""

from __future__ import annotations

import torch


def maximum(x: torch.Tensor, *others: torch.Tensor) -> torch.Tensor:
    """Largest of its arguments; the first one that is largest gets the whole gradient."""
    for other in others:
        x = torch.where(other > x, other, x)
    return x
