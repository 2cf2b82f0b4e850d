"""Initial values that Keras has under this name with another meaning."""

from __future__ import annotations

from typing import Any

from keras import initializers


def he_normal() -> Any:
    """Normal with variance 2 / fan_in; Keras' own of this name is truncated."""
    return initializers.VarianceScaling(2.0, "fan_in", "untruncated_normal")


def glorot_normal() -> Any:
    """Normal with variance 2 / (fan_in + fan_out); Keras' own of this name is truncated."""
    return initializers.VarianceScaling(1.0, "fan_avg", "untruncated_normal")


def lecun_normal() -> Any:
    """Normal with variance 1 / fan_in; Keras' own of this name is truncated."""
    return initializers.VarianceScaling(1.0, "fan_in", "untruncated_normal")
