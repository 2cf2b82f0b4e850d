"""Data in memory: arrays by name, split into what is trained on and what is tested on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["Array", "Dataset", "Split"]

Array = npt.NDArray[Any]
Index = slice | npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Split:
    """Samples with their targets, along the first axis of every array.

    Attributes:
        inputs: by name; N, channels, then space.
        targets: by name; integer labels (N, then the output's space), or values of the output's
            own shape.

    Raises:
        ValueError: there are no samples, or not as many in every array.
    """

    inputs: Mapping[str, Array]
    targets: Mapping[str, Array]

    def __post_init__(self) -> None:
        counts = {len(array) for array in (*self.inputs.values(), *self.targets.values())}
        if len(counts) != 1 or not self.inputs or not self.targets or 0 in counts:
            raise ValueError(f"inputs and targets need one number of samples, not {sorted(counts)}")

    def __len__(self) -> int:
        return len(next(iter(self.inputs.values())))

    def take(self, index: Index) -> tuple[dict[str, Array], dict[str, Array]]:
        """Inputs and targets of some samples, in this order."""
        return (
            {name: array[index] for name, array in self.inputs.items()},
            {name: array[index] for name, array in self.targets.items()},
        )


@dataclass(frozen=True, slots=True, eq=False)
class Dataset:
    """What a network is trained and tested on.

    Attributes:
        name: for messages.
        train: to train on.
        test: to test on, with the same names.
        classes: what the labels stand for, by number; empty where targets are no labels.
    """

    name: str
    train: Split
    test: Split
    classes: tuple[str, ...] = ()
