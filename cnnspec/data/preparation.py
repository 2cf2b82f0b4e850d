"""From stored values to those that the network reads, alike for every sample of every half."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from cnnspec.augmentation import Augmentation, Normalize, Rescale
from cnnspec.data.dataset import Array, Statistics
from cnnspec.data.stored import Stored
from cnnspec.data_section import DataSection
from cnnspec.diagnostics import DataError, Diagnostic, Label

__all__ = ["apply", "measured", "normalizations", "steps_of", "table", "values_of"]

BYTES = 256
AT_ONCE = 256
"""Samples that are read together while statistics are taken."""

Doubles = npt.NDArray[np.float64]


def steps_of(section: DataSection) -> tuple[Augmentation, ...]:
    """The list of augmentations, and the section's own normalisation at its end."""
    last = () if section.normalize is None else (section.normalize,)
    steps = section.augment
    if steps and steps[-1].key == "mixup":  # it mixes what is done
        return (*steps[:-1], *last, steps[-1])
    return (*steps, *last)


def values_of(stored: Array, rescale: float | None) -> Doubles:
    """Stored numbers as float64: bytes in [0, 1] and others as they are, or times a factor."""
    if rescale is not None:
        return stored * np.float64(rescale)
    if stored.dtype == np.uint8:
        return stored / 255.0
    return stored.astype(np.float64, copy=False)


def apply(step: Augmentation, x: Doubles, *, axis: int) -> Doubles:
    """A step that treats all samples alike; any other changes nothing.

    Args:
        step: `rescale`, or `normalize` with its numbers.
        x: values.
        axis: of the channels.
    """
    if isinstance(step, Rescale):
        return x * step.scale + step.offset
    if isinstance(step, Normalize):
        shape = (-1,) + (1,) * (x.ndim - axis - 1)
        mean, std = np.array(step.mean or (0.0,)), np.array(step.std or (1.0,))
        found: Doubles = (x - mean.reshape(shape)) / std.reshape(shape)
        return found
    return x


def table(channels: int, rescale: float | None, steps: Sequence[Augmentation]) -> Doubles:
    """What every byte becomes, (channels, 256)."""
    found = values_of(np.tile(np.arange(BYTES, dtype=np.uint8), (channels, 1)), rescale)
    for step in steps:
        found = apply(step, found, axis=0)
    return found


def normalizations(
    steps: Sequence[Augmentation],
    shapes: Mapping[str, tuple[int, ...]],
    labels: Sequence[Label | None],
) -> None:
    """Refuse numbers of another count than that of the channels; one is for all of them.

    Raises:
        DataError: with the place of the step.
    """
    for step, label in zip(steps, labels, strict=True):
        if not isinstance(step, Normalize) or step.mean is None:
            continue
        for name, shape in shapes.items():
            if len(step.mean) not in (1, shape[0]):
                raise DataError(
                    Diagnostic(
                        "channel-count",
                        f"`mean` and `std` have {len(step.mean)} numbers, and `{name}` of the data "
                        f"has {shape[0]} channels",
                        label,
                        help="give one number for each channel, or one for all",
                    )
                )


def measured(
    stored: Stored, rescale: float | None, steps: Sequence[Augmentation], label: Label | None
) -> dict[str, Statistics]:
    """Mean and standard deviation of each channel of each input, after these steps.

    Bytes are counted, so that the order of reading changes no digit; images are read once.

    Raises:
        DataError: a channel has one value only, or a file cannot be read.
    """
    found = {}
    for name in stored.shapes:
        mean, std = _moments(stored, name, rescale, steps)
        flat = np.flatnonzero(std == 0)
        if flat.size:
            raise DataError(
                Diagnostic(
                    "channel-constant",
                    f"channel {flat[0]} of `{name}` is {mean[flat[0]]:g} throughout the training "
                    "half, and has no deviation to divide by",
                    label,
                    help="give `mean` and `std`, or leave the normalisation out",
                )
            )
        found[name] = Statistics(tuple(mean.tolist()), tuple(std.tolist()))
    return found


def _moments(
    stored: Stored, name: str, rescale: float | None, steps: Sequence[Augmentation]
) -> tuple[Doubles, Doubles]:
    channels = stored.shapes[name][0]
    if stored.read(slice(0, 1))[name].dtype != np.uint8:  # numbers are all in memory
        x = values_of(stored.read(slice(None))[name], rescale)
        for step in steps:
            x = apply(step, x, axis=1)
        axes = (0, *range(2, x.ndim))
        return x.mean(axis=axes), x.std(axis=axes)
    counts = np.zeros((channels, BYTES), np.int64)
    for start in range(0, len(stored), AT_ONCE):
        read = stored.read(slice(start, start + AT_ONCE))[name]
        for channel in range(channels):
            counts[channel] += np.bincount(read[:, channel].ravel(), minlength=BYTES)
    values = table(channels, rescale, steps)
    shares = counts / counts.sum(axis=1, keepdims=True)
    mean = (shares * values).sum(axis=1)
    return mean, np.sqrt((shares * np.square(values - mean[:, None])).sum(axis=1))
