"""Samples whose targets are converted to what a loss reads."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from cnnspec.data import kinds
from cnnspec.data.dataset import Array, Arrays, Index, Samples
from cnnspec.ops.base import Shape
from cnnspec.training.losses import Targets

__all__ = ["Converted"]


@dataclass(frozen=True, slots=True, eq=False, weakref_slot=True)
class Converted:
    """Samples as they are, but for targets of some names.

    Attributes:
        samples: under the network's names.
        wanted: by name, what the loss compares with, and the output's shape.
    """

    samples: Samples
    wanted: Mapping[str, tuple[Targets, Shape]]

    def __len__(self) -> int:
        return len(self.samples)

    @property
    def inputs(self) -> Mapping[str, Array]:
        """As they are."""
        return self.samples.inputs

    @property
    def targets(self) -> Mapping[str, Array]:
        """All of them, converted."""
        return self._converted(self.samples.targets)

    @property
    def shapes(self) -> Mapping[str, Shape]:
        """As they are."""
        return self.samples.shapes

    @property
    def mixes(self) -> bool:
        """As it is."""
        return self.samples.mixes

    def take(self, index: Index, epoch: int | None = None) -> tuple[Arrays, Arrays]:
        """Some samples, their targets converted."""
        inputs, targets = self.samples.take(index, epoch)
        return inputs, self._converted(targets)

    def renamed(
        self,
        inputs: Mapping[str, str],
        targets: Mapping[str, str],
        probabilities: Mapping[str, int] | None = None,
    ) -> Converted:
        """The same under other names."""
        wanted = {n: self.wanted[source] for n, source in targets.items() if source in self.wanted}
        return Converted(self.samples.renamed(inputs, targets, probabilities), wanted)

    def _converted(self, targets: Mapping[str, Array]) -> Arrays:
        found = dict(targets)
        for name, (kind, shape) in self.wanted.items():
            found[name] = kinds.converted(kind, targets[name], shape)
        return found
