"""Changes of shape."""

from __future__ import annotations

from cnnspec.backends.numpy.kernels.annotations import Array, Forward


def flatten(x: Array) -> Forward:
    """(N, C, *space) to (N, features)."""
    return x.reshape(len(x), -1), lambda g: g.reshape(x.shape)
