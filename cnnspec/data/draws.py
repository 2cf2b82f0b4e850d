"""Random numbers as functions of what they are for: no generator has a state to keep."""

from __future__ import annotations

import hashlib

import numpy as np
import numpy.typing as npt

__all__ = ["raw", "shuffled", "uniforms"]

DIGITS = 53
"""Binary digits of a float64."""


def raw(name: str, count: int) -> npt.NDArray[np.uint64]:
    """Philox words under a name, such as `0/order/3`.

    They depend neither on the machine nor on the version of NumPy, whose raw Philox stream is
    guaranteed to stay the same.
    """
    digest = hashlib.blake2b(name.encode(), digest_size=16).digest()
    # `key=` by keyword: the first positional argument is a seed, which is hashed again.
    stream = np.random.Philox(key=np.frombuffer(digest, "<u8").astype(np.uint64))
    return stream.random_raw(count)


def uniforms(name: str, count: int) -> npt.NDArray[np.float64]:
    """Numbers in [0, 1), float64: the upper 53 bits of each word."""
    upper = raw(name, count) >> np.uint64(64 - DIGITS)
    return upper.astype(np.float64) * 2.0**-DIGITS


def shuffled(name: str, count: int) -> npt.NDArray[np.int64]:
    """A permutation of 0 to count - 1."""
    # Stable, so that equal numbers do not leave the order to the sorting algorithm.
    return np.argsort(raw(name, count), kind="stable").astype(np.int64)
