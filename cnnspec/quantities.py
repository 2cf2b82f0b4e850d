"""What `check` compares, by name; a module of its own, as its readers import no NumPy."""

from __future__ import annotations

from typing import Final, Literal, get_args

__all__ = ["DEFAULT_BACKENDS", "MODES", "QUANTITIES", "REFERENCE", "Mode", "Quantity"]

DEFAULT_BACKENDS = ("numpy", "torch", "keras")
REFERENCE = "numpy"

Quantity = Literal[
    "initializer",
    "forward",
    "input_gradient",
    "parameter_gradient",
    "running_statistics",
    "step",
]
Mode = Literal["initial", "isolated", "probe", "end_to_end", "after_training", "optimized"]

QUANTITIES: Final[tuple[Quantity, ...]] = get_args(Quantity)
MODES: Final[tuple[Mode, ...]] = get_args(Mode)
