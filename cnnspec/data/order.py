"""The order of the samples in an epoch, the same in every back end and on every machine."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from cnnspec.data.draws import shuffled

__all__ = ["order"]


def order(seed: int, epoch: int, count: int) -> npt.NDArray[np.int64]:
    """The order in which an epoch visits its samples.

    It depends on the seed and the epoch alone, and not on the epochs before it.

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
    return shuffled(f"{seed}/order/{epoch}", count)
