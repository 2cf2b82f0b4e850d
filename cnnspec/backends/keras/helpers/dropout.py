"""Random masks that are the same in every framework, from a counter-based generator."""

from __future__ import annotations

import hashlib
import math
from typing import Any

import keras
from keras import layers, ops

from cnnspec.backends.keras.helpers.package import PACKAGE


def philox(counters: Any, step: Any, layer: int, seed: int) -> Any:
    """Philox4x32-10: four 32-bit words, held in int64, for each counter."""
    mask = 0xFFFFFFFF
    xor = ops.bitwise_xor

    def low(x: Any) -> Any:
        return ops.bitwise_and(x, mask)

    def high(x: Any) -> Any:
        return low(ops.right_shift(x, 32))

    c0, c1 = low(counters), high(counters)
    c2, c3 = ops.full_like(c0, low(step)), ops.full_like(c0, layer)
    k0, k1 = seed & mask, (seed >> 32) & mask
    for _ in range(10):
        # A product of two 32-bit words wraps in int64; shift and mask still give both halves.
        p0, p1 = c0 * 0xD2511F53, c2 * 0xCD9E8D57
        c0, c1 = xor(xor(high(p1), c1), k0), low(p1)
        c2, c3 = xor(xor(high(p0), c3), k1), low(p0)
        k0, k1 = (k0 + 0x9E3779B9) & mask, (k1 + 0xBB67AE85) & mask
    return ops.reshape(ops.stack((c0, c1, c2, c3), -1), (-1,))


@keras.saving.register_keras_serializable(PACKAGE)
class CounterDropout(layers.Layer):
    """Dropout whose mask depends on seed, layer, step and position alone."""

    def __init__(self, p: float, seed: int, **kwargs: Any):
        super().__init__(**kwargs)
        self.p, self.seed = p, seed
        # Its state, which is no weight, holds the step and the first sample's index.
        self.position = keras.random.SeedGenerator(0)

    def call(self, x: Any, training: bool | None = None) -> Any:
        """In training keep each element with probability 1 - p, and scale it."""
        if not training or self.p == 0:
            return x
        if self.p == 1:
            return x * 0.0
        layer = hashlib.blake2b(self.name.encode(), digest_size=4).digest()
        step, first = ops.unstack(ops.cast(self.position.state, "int64"), 2)
        size = math.prod(x.shape[1:])
        count = ops.shape(x)[0] * size
        start = first * size
        blocks = start // 4 + ops.cast(ops.arange((count + 6) // 4), "int64")
        words = philox(blocks, step, int.from_bytes(layer, "little"), self.seed)
        words = ops.slice(words, [ops.cast(start % 4, "int32")], [count])
        # The masks count channels first.
        words = ops.moveaxis(ops.reshape(words, (-1, x.shape[-1], *x.shape[1:-1])), 1, -1)
        keep = words >= math.floor(self.p * 2**32)
        return ops.where(keep, x * (1 / (1 - self.p)), 0.0)

    def compute_output_shape(self, shape: Any) -> Any:
        """The input's."""
        return shape

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {**super().get_config(), "p": self.p, "seed": self.seed}


def set_position(model: Any, step: int, first: int = 0) -> None:
    """Set completed updates, and the index of the first sample within the global batch."""
    for layer in model.layers:
        if isinstance(layer, CounterDropout):
            layer.position.state.assign([step, first])
        for block in vars(layer).get("blocks", []):  # a layer that repeats blocks
            set_position(block, step, first)
