"""Samples to train and test on, and what every kind of them can be asked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from cnnspec.ops.base import Shape

__all__ = ["Array", "Arrays", "Dataset", "Index", "Samples", "Split", "Statistics", "one_hot"]

Array = npt.NDArray[Any]
Arrays = dict[str, Array]
Index = slice | npt.NDArray[np.int64]


class Samples(Protocol):
    """One half of the data, in memory or read when it is needed."""

    def __len__(self) -> int:
        """How many samples there are."""
        ...

    @property
    def inputs(self) -> Mapping[str, Array]:
        """All inputs by name, as tests and predictions see them; this may read every file."""
        ...

    @property
    def targets(self) -> Mapping[str, Array]:
        """All targets by name."""
        ...

    @property
    def shapes(self) -> Mapping[str, Shape]:
        """The shape of one sample of each input."""
        ...

    @property
    def mixes(self) -> bool:
        """Whether training targets are mixtures: labels become probabilities."""
        ...

    def take(self, index: Index, epoch: int | None = None) -> tuple[Arrays, Arrays]:
        """Inputs and targets of some samples, in this order.

        With an `epoch`, counted from 0, they are augmented as the section says, each one as a
        function of the seed, the epoch and its own number; without, they are as they are.
        """
        ...

    def renamed(
        self,
        inputs: Mapping[str, str],
        targets: Mapping[str, str],
        probabilities: Mapping[str, int] | None = None,
    ) -> Samples:
        """The same under other names, each with the one that it has here.

        Args:
            inputs: new names to old ones.
            targets: the same.
            probabilities: for each new name whose labels are wanted as probabilities, the number
                of classes.
        """
        ...


@dataclass(frozen=True, slots=True, eq=False, weakref_slot=True)
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

    @property
    def shapes(self) -> dict[str, Shape]:
        """The shape of one sample of each input."""
        return {name: array.shape[1:] for name, array in self.inputs.items()}

    @property
    def mixes(self) -> bool:
        """Nothing is augmented here."""
        return False

    def take(self, index: Index, epoch: int | None = None) -> tuple[Arrays, Arrays]:
        """Inputs and targets of some samples, in this order; the epoch changes nothing."""
        return (
            {name: array[index] for name, array in self.inputs.items()},
            {name: array[index] for name, array in self.targets.items()},
        )

    def renamed(
        self,
        inputs: Mapping[str, str],
        targets: Mapping[str, str],
        probabilities: Mapping[str, int] | None = None,
    ) -> Split:
        """The same arrays under other names; see `Samples`."""
        known = probabilities or {}
        found = {name: self.targets[source] for name, source in targets.items()}
        return Split(
            {name: self.inputs[source] for name, source in inputs.items()},
            {name: one_hot(y, known[name]) if name in known else y for name, y in found.items()},
        )


@dataclass(frozen=True, slots=True)
class Statistics:
    """Mean and standard deviation (of the whole, not of a sample of it) of each channel."""

    mean: tuple[float, ...]
    std: tuple[float, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Dataset:
    """What a network is trained and tested on.

    Attributes:
        name: for messages.
        train: to train on.
        test: to test on, with the same names.
        classes: what the labels stand for, by number; empty where targets are no labels.
        statistics: by input, what `per_channel` has measured on the training half; a run keeps
            them, and gives them back to `open` where data of one sample have to be prepared alike.
        validation: what the section keeps for choosing among runs, None where it keeps nothing.
        skipped: files that were left out, each with the reason.
        notes: what else there is to say about the source.
    """

    name: str
    train: Samples
    test: Samples
    classes: tuple[str, ...] = ()
    statistics: Mapping[str, Statistics] = field(default_factory=dict)
    validation: Samples | None = None
    skipped: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def one_hot(labels: Array, channels: int) -> Array:
    """Labels (N, *space) as probabilities (N, channels, *space), float64."""
    found = np.zeros((len(labels), channels, *labels.shape[1:]))
    np.put_along_axis(found, labels[:, None], 1.0, axis=1)
    return found
