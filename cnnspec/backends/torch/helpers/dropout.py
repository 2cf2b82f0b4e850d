"""Random masks that are the same in every framework, from a counter-based generator."""

from __future__ import annotations

import hashlib
import math

import torch
from torch import nn


def philox(counters: torch.Tensor, step: int, layer: int, seed: int) -> torch.Tensor:
    """Philox4x32-10: four 32-bit words, held in int64, for each counter."""
    mask = 0xFFFFFFFF
    c0, c1 = counters & mask, (counters >> 32) & mask
    c2, c3 = torch.full_like(c0, step & mask), torch.full_like(c0, layer)
    k0, k1 = seed & mask, (seed >> 32) & mask
    for _ in range(10):
        # A product of two 32-bit words wraps in int64; shift and mask still give both halves.
        p0, p1 = c0 * 0xD2511F53, c2 * 0xCD9E8D57
        c0, c1, c2, c3 = (
            ((p1 >> 32) & mask) ^ c1 ^ k0,
            p1 & mask,
            ((p0 >> 32) & mask) ^ c3 ^ k1,
            p0 & mask,
        )
        k0, k1 = (k0 + 0x9E3779B9) & mask, (k1 + 0xBB67AE85) & mask
    return torch.stack((c0, c1, c2, c3), -1).reshape(-1)


class CounterDropout(nn.Module):
    """Dropout whose mask depends on seed, layer, step and position alone."""

    def __init__(self, p: float, seed: int):
        super().__init__()
        self.p, self.seed = p, seed
        self.layer, self.step, self.first = 0, 0, 0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """In training keep each element with probability 1 - p, and scale it."""
        if not self.training or self.p == 0:
            return x
        if self.p == 1:
            return x * 0.0
        size = math.prod(x.shape[1:])
        start, count = self.first * size, x.numel()
        blocks = torch.arange(start // 4, (start + count + 3) // 4, device=x.device)
        words = philox(blocks, self.step, self.layer, self.seed)
        words = words[start % 4 : start % 4 + count].reshape(x.shape)
        keep = words >= math.floor(self.p * 2**32)
        return torch.where(keep, x * (1 / (1 - self.p)), 0.0)


def name_random_layers(model: nn.Module) -> None:
    """Tell each random layer its path, which is part of its counter."""
    for path, module in model.named_modules():
        if isinstance(module, CounterDropout):
            digest = hashlib.blake2b(path.encode(), digest_size=4).digest()
            module.layer = int.from_bytes(digest, "little")


def set_position(model: nn.Module, step: int, first: int = 0) -> None:
    """Set completed updates, and the index of the first sample within the global batch."""
    for module in model.modules():
        if isinstance(module, CounterDropout):
            module.step, module.first = step, first
