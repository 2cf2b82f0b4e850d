"""Samples as they are stored: bytes or numbers, not scaled yet, in memory or on the disk."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import numpy.typing as npt

from cnnspec.data.dataset import Array, Arrays
from cnnspec.ops.base import Shape

__all__ = ["Found", "InMemory", "Numbers", "Stored"]

Numbers = npt.NDArray[np.int64]
"""Of samples, from 0."""


class Stored(Protocol):
    """Samples of one half."""

    def __len__(self) -> int:
        """How many there are."""
        ...

    @property
    def targets(self) -> Mapping[str, Array]:
        """By name, in memory."""
        ...

    @property
    def shapes(self) -> Mapping[str, Shape]:
        """The shape of one sample of each input: channels, then space."""
        ...

    def read(self, numbers: Numbers | slice) -> Arrays:
        """Inputs of some samples, uint8 or float64, (n, channels, *space)."""
        ...

    def select(self, numbers: Numbers) -> Stored:
        """Some of them only, in this order."""
        ...

    def labelled(self, targets: Mapping[str, Array]) -> Stored:
        """The same inputs with other targets."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class InMemory:
    """Arrays; inputs are uint8 or float64."""

    inputs: Mapping[str, Array]
    targets: Mapping[str, Array]

    def __len__(self) -> int:
        return len(next(iter(self.inputs.values())))

    @property
    def shapes(self) -> dict[str, Shape]:
        """Of one sample of each input."""
        return {name: array.shape[1:] for name, array in self.inputs.items()}

    def read(self, numbers: Numbers | slice) -> Arrays:
        """Inputs of some samples."""
        return {name: array[numbers] for name, array in self.inputs.items()}

    def select(self, numbers: Numbers) -> InMemory:
        """Some of them only."""
        return InMemory(
            self.read(numbers), {name: array[numbers] for name, array in self.targets.items()}
        )

    def labelled(self, targets: Mapping[str, Array]) -> InMemory:
        """The same inputs with other targets."""
        return InMemory(self.inputs, targets)


@dataclass(frozen=True, slots=True, eq=False)
class Found:
    """What a source holds.

    Attributes:
        train: the training half, or everything where there is no other.
        test: None where the source has no test half.
        classes: names of the labels, empty where targets are none.
        skipped: files that were left out, each with the reason.
        notes: what else there is to say.
    """

    train: Stored
    test: Stored | None = None
    classes: tuple[str, ...] = ()
    skipped: tuple[str, ...] = field(default=())
    notes: tuple[str, ...] = field(default=())
