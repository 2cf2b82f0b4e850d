"""Random layers: with NumPy's generator, or by counter and the same in every framework."""

from __future__ import annotations

import hashlib
import math
from typing import Any

import numpy as np

from cnnspec.backends.numpy.kernels.annotations import Array, Forward
from cnnspec.backends.numpy.kernels.base import Layer, Model, walk


def drop(x: Array, keep: Array, p: float) -> Forward:
    """Compute x / (1 - p) where kept, 0 elsewhere; `keep` broadcasts against x."""
    scale = 1 / (1 - p)
    return np.where(keep, x * scale, 0), lambda g: np.where(keep, g * scale, 0)


class Dropout(Layer):
    """Drop elements with probability p in training and scale the others by 1 / (1 - p)."""

    def __init__(self, p: float, rng: np.random.Generator | None = None) -> None:
        super().__init__()
        self.p, self.rng = p, rng or np.random.default_rng()

    def forward(self, x: Array, training: bool = False) -> Forward:
        """Any shape."""
        if not training or self.p == 0:
            return x, lambda g: g
        if self.p == 1:
            return np.zeros_like(x), np.zeros_like
        return drop(x, self.rng.random(x.shape) >= self.p, self.p)


def philox(counter: Any, key: Any) -> Any:
    """Philox4x32-10 (Salmon et al., 2011): four 32-bit words for each counter of four words."""
    a, b, c, d = counter
    k, l = key
    for _ in range(10):
        p, q = a * 0xD2511F53, c * 0xCD9E8D57
        a, b, c, d = (q >> 32) ^ b ^ k, q & 0xFFFFFFFF, (p >> 32) ^ d ^ l, p & 0xFFFFFFFF
        k, l = (k + 0x9E3779B9) & 0xFFFFFFFF, (l + 0xBB67AE85) & 0xFFFFFFFF
    return a, b, c, d


class CounterRandom(Layer):
    """A layer whose decisions depend on seed, name, step and position in the batch only."""

    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        self.seed, self.layer_id, self.step, self.first = seed, 0, 0, 0

    def keep(self, shape: tuple[int, ...], p: float) -> Array:
        """Keep with probability 1 - p; `first` samples of the batch come before these."""
        sample = math.prod(shape[1:])
        start, stop = self.first * sample, (self.first + shape[0]) * sample
        block = np.arange(start // 4, (stop + 3) // 4, dtype=np.uint64)
        counter = block & 0xFFFFFFFF, block >> 32, self.step, self.layer_id
        words = np.stack(philox(counter, (self.seed & 0xFFFFFFFF, self.seed >> 32)), axis=1)
        kept = words.reshape(-1) >= math.floor(p * 2**32)
        return kept[start % 4 :][: stop - start].reshape(shape)


class CounterDropout(CounterRandom):
    """Drop elements with probability p in training and scale the others by 1 / (1 - p)."""

    def __init__(self, p: float, seed: int = 0) -> None:
        super().__init__(seed)
        self.p = p

    def forward(self, x: Array, training: bool = False) -> Forward:
        """Any shape."""
        if not training or self.p == 0:
            return x, lambda g: g
        if self.p == 1:
            return np.zeros_like(x), np.zeros_like
        return drop(x, self.keep(x.shape, self.p), self.p)


class CounterModel(Model):
    """A model with counter-based random layers: they are told their name, step and position."""

    def name_random_layers(self) -> None:
        """Give each random layer the number that belongs to its path."""
        for path, layer in walk(self, "", set()):
            if isinstance(layer, CounterRandom):
                digest = hashlib.blake2b(path.encode(), digest_size=4).digest()
                layer.layer_id = int.from_bytes(digest, "little")

    def at(self, step: int, first: int = 0) -> None:
        """Set the number of completed updates and the batch position of the next sample."""
        for _, layer in walk(self, "", set()):
            if isinstance(layer, CounterRandom):
                layer.step, layer.first = step, first
