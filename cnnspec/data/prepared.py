"""Stored samples as the network is given them: scaled, augmented in training, in any order."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from cnnspec.augmentation import Crop
from cnnspec.data.augment import Augmenter
from cnnspec.data.dataset import Array, Arrays, Index, one_hot
from cnnspec.data.preparation import table, values_of
from cnnspec.data.stored import Numbers, Stored
from cnnspec.ops.base import Shape

__all__ = ["Prepared"]

FEW_CHANNELS = 16


@dataclass(frozen=True, slots=True, eq=False, weakref_slot=True)
class Prepared:
    """One half of a section's data; see `Samples`.

    Attributes:
        stored: where the samples are.
        rescale: of the section.
        augmenter: its steps.
        training: whether an epoch augments; the other halves are the same in each.
        classes: number of classes, 0 where targets are no labels.
        input_names: what each input is called to what it is called where it is stored.
        target_names: the same of the targets.
        probabilities: targets whose labels are given as probabilities, with their channels.
    """

    stored: Stored
    rescale: float | None
    augmenter: Augmenter
    training: bool
    classes: int
    input_names: Mapping[str, str]
    target_names: Mapping[str, str]
    probabilities: Mapping[str, int] = dataclasses.field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.stored)

    @property
    def inputs(self) -> Arrays:
        """All of them, as they are without augmentation; images are all read."""
        return self.take(slice(None))[0]

    @property
    def targets(self) -> Arrays:
        """All of them, not mixed."""
        return self._targets(slice(None))

    @property
    def shapes(self) -> dict[str, Shape]:
        """Of one sample of each input, after crops."""
        found = {}
        for name, source in self.input_names.items():
            shape = self.stored.shapes[source]
            empty = np.empty((0, *shape))
            found[name] = self.augmenter.plain(source, empty).shape[1:]
        return found

    @property
    def mixes(self) -> bool:
        """Whether training mixes targets."""
        return self.training and self.augmenter.mixup is not None

    def renamed(
        self,
        inputs: Mapping[str, str],
        targets: Mapping[str, str],
        probabilities: Mapping[str, int] | None = None,
    ) -> Prepared:
        """The same samples under other names; see `Samples`."""
        return dataclasses.replace(
            self,
            input_names={name: self.input_names[source] for name, source in inputs.items()},
            target_names={name: self.target_names[source] for name, source in targets.items()},
            probabilities=probabilities or {},
        )

    def take(self, index: Index, epoch: int | None = None) -> tuple[Arrays, Arrays]:
        """Inputs and targets of some samples; see `Samples`.

        Raises:
            DataError: an image cannot be read.
        """
        if epoch is None or not self.training or not self.augmenter.random:
            return self._plain(index), self._targets(index)
        numbers = np.arange(len(self))[index]
        if not numbers.size:
            return self._plain(numbers), self._targets(numbers, mixed=self.mixes)
        if not self.mixes:
            return self._augmented(numbers, epoch), self._targets(numbers)
        return self._mixed(numbers, epoch)

    def _plain(self, index: Index) -> Arrays:
        """What is the same in every epoch."""
        read = self.stored.read(index)
        done = {source: self._prepared(source, read[source]) for source in self._sources}
        return {name: done[source] for name, source in self.input_names.items()}

    def _prepared(self, source: str, stored: Array) -> Array:
        steps = self.augmenter.steps[source]
        if stored.dtype != np.uint8:
            return self.augmenter.plain(source, values_of(stored, self.rescale))
        # Everything up to the first crop is one look-up.
        first = next((i for i, step in enumerate(steps) if isinstance(step, Crop)), len(steps))
        values = table(stored.shape[1], self.rescale, steps[:first])
        return self.augmenter.plain(source, _looked_up(values, stored), first=first)

    def _augmented(self, numbers: Numbers, epoch: int) -> Arrays:
        read = self.stored.read(numbers)
        values = {source: values_of(read[source], self.rescale) for source in self._sources}
        found: dict[str, list[Array]] = {source: [] for source in values}
        for i, number in enumerate(numbers):
            one = self.augmenter.one({s: x[i] for s, x in values.items()}, epoch, int(number))
            for source, x in one.items():
                found[source].append(x)
        stacked = {source: np.stack(arrays) for source, arrays in found.items()}
        return {name: stacked[source] for name, source in self.input_names.items()}

    @property
    def _sources(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(self.input_names.values()))

    def _mixed(self, numbers: Numbers, epoch: int) -> tuple[Arrays, Arrays]:
        drawn = [self.augmenter.partner(epoch, int(n), len(self)) for n in numbers]
        partners = np.array([partner for partner, _ in drawn])
        both = np.concatenate([numbers, partners])
        inputs, targets = self._augmented(both, epoch), self._targets(both, mixed=True)
        own = np.array([share for _, share in drawn])
        return (
            {name: _mix(x, own) for name, x in inputs.items()},
            {name: _mix(y, own) for name, y in targets.items()},
        )

    def _targets(self, index: Index, *, mixed: bool = False) -> Arrays:
        found = {}
        for name, source in self.target_names.items():
            array = self.stored.targets[source][index]
            channels = self.probabilities.get(name)
            if channels is None and mixed and np.issubdtype(array.dtype, np.integer):
                channels = self.classes
            found[name] = array if channels is None else one_hot(array, channels)
        return found


def _mix(both: Array, own: Array) -> Array:
    """The first half of the samples with its share, the second with what is left of it."""
    first, second = both[: len(own)], both[len(own) :]
    share = own.reshape(-1, *(1,) * (both.ndim - 1))
    found: Array = share * first + (1 - share) * second
    return found


def _looked_up(values: Array, stored: Array) -> Array:
    """What each byte of (n, channels, *space) becomes."""
    if (values == values[0]).all():
        return np.take(values[0], stored)
    channels = len(values)
    if channels > FEW_CHANNELS:
        rows = np.arange(channels).reshape(-1, *(1,) * (stored.ndim - 2))
        found: Array = values[rows, stored]
        return found
    found = np.empty(stored.shape)
    for channel in range(channels):
        np.take(values[channel], stored[:, channel], out=found[:, channel], mode="clip")
    return found
