"""The order of the samples in an epoch, the same in every back end and on every machine."""

from __future__ import annotations

import hashlib

import numpy as np
import numpy.typing as npt

__all__ = ["order"]


def order(seed: int, epoch: int, count: int) -> npt.NDArray[np.int64]:
    """The order in which an epoch visits its samples.

    It depends on the seed and the epoch alone, and neither on the epochs before it nor on the
    version of NumPy, whose raw Philox stream is guaranteed to stay the same.

    Args:
        seed: of the network.
        epoch: counted from 0.
        count: number of samples.

    Returns:
        A permutation of 0 to count - 1.

    Example:
        >>> order(0, 0, 10).tolist()
        [1, 4, 7, 2, 8, 5, 6, 9, 0, 3]
    """
    digest = hashlib.blake2b(f"{seed}/order/{epoch}".encode(), digest_size=16).digest()
    # `key=` by keyword: the first positional argument is a seed, which is hashed again.
    stream = np.random.Philox(key=np.frombuffer(digest, "<u8").astype(np.uint64))
    # Stable, so that equal numbers do not leave the order to the sorting algorithm.
    return np.argsort(stream.random_raw(count), kind="stable").astype(np.int64)
