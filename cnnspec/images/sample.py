"""One sample of a network out of the files that hold it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from cnnspec.diagnostics import DataError, Diagnostic, SetupError, did_you_mean
from cnnspec.graph import Graph, Input
from cnnspec.images.arrays import ARRAYS, read_array
from cnnspec.images.pictures import read_picture

__all__ = ["Sample", "Scaling", "assemble", "read_sample"]

Array = npt.NDArray[Any]


@dataclass(frozen=True, slots=True)
class Scaling:
    """From pixels in [0, 1] to what a network was trained on.

    A value p becomes (low + p * (high - low) - mean) / std, mean and std for each channel, or one
    for all; `invert` takes 1 - p first, for dark strokes on white.
    """

    low: float = 0.0
    high: float = 1.0
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    invert: bool = False

    def inverted(self, wanted: bool) -> Scaling:
        """The same, with `invert` as it is wanted."""
        return dataclasses.replace(self, invert=wanted)

    def apply(self, pixels: Array) -> Array:
        """Scale (channels, rows, columns).

        Raises:
            SetupError: there are not as many means or deviations as channels, or a deviation is 0.
        """
        array = 1 - pixels if self.invert else pixels
        array = self.low + array * (self.high - self.low)
        mean = self._each("mean", self.mean, len(pixels), 0.0)
        return (array - mean) / self._each("std", self.std, len(pixels), 1.0)

    def _each(self, name: str, values: tuple[float, ...], channels: int, default: float) -> Array:
        if len(values) not in (0, 1, channels):
            raise SetupError(
                Diagnostic(
                    "bad-scaling", f"`{name}` has {len(values)} numbers for {channels} channels"
                )
            )
        array = np.array(values or (default,), np.float64)[:, None, None]
        if not np.isfinite(array).all() or (name == "std" and not array.all()):
            raise SetupError(
                Diagnostic(
                    "bad-scaling",
                    f"`{name}` is {', '.join(map(str, values))}",
                    help="deviations are finite and not 0" if name == "std" else "",
                )
            )
        return array

    def said(self) -> str:
        """In words."""
        text = f"pixels in [{self.low:g}, {self.high:g}]"
        if self.invert:
            text += ", inverted"
        if self.mean or self.std:
            mean = ", ".join(f"{value:g}" for value in self.mean or (0.0,))
            std = ", ".join(f"{value:g}" for value in self.std or (1.0,))
            text += f", less {mean}, divided by {std}"
        return text


AS_IT_IS = Scaling()
"""Pixels in [0, 1]."""


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """One sample.

    Attributes:
        name: where it is from.
        inputs: by name, float64, with a batch of 1.
        notes: what was done on the way, a remark each.
    """

    name: str
    inputs: Mapping[str, Array]
    notes: tuple[str, ...] = ()


def read_sample(
    path: str, entry: Input, *, resize: bool = False, scaling: Scaling = AS_IT_IS
) -> Sample:
    """Read a file for one input: a picture, or by its suffix an array, which is used as it is.

    Args:
        path: PNG, JPEG, .npy, .npz or safetensors.
        entry: the input.
        resize: whether a picture of another size is resized.
        scaling: of a picture's pixels.

    Raises:
        SetupError: there is no such file, or it cannot be read.
        DataError: it is damaged or does not fit.
    """
    if path.lower().endswith(ARRAYS):
        arrays = read_array(path, {entry.name: entry.shape})
        return Sample(path, {entry.name: arrays[entry.name][None]}, ("an array, used as it is",))
    pixels, notes = read_picture(path, entry.shape, resize=resize)
    return Sample(path, {entry.name: scaling.apply(pixels)[None]}, (*notes, scaling.said()))


def assemble(
    given: Sequence[str], graph: Graph, *, resize: bool = False, scaling: Scaling = AS_IT_IS
) -> Sample:
    """One sample for all inputs of a network.

    Args:
        given: one file for the only input; for several inputs a `NAME=FILE` each, or one .npz or
            safetensors file with an array for each.
        graph: the network.
        resize: see `read_sample`.
        scaling: see `read_sample`.

    Raises:
        SetupError: a file is missing, or an input is not named or named twice.
        DataError: a file is damaged or does not fit.
    """
    entries = {entry.name: entry for entry in graph.inputs}
    if len(entries) == 1 and len(given) == 1:
        (entry,) = graph.inputs
        return read_sample(
            given[0].removeprefix(f"{entry.name}="), entry, resize=resize, scaling=scaling
        )
    if len(given) == 1 and given[0].lower().endswith(ARRAYS[1:]) and "=" not in given[0]:
        arrays = read_array(given[0], {name: entry.shape for name, entry in entries.items()})
        _require_all(list(arrays), entries)
        return Sample(given[0], {name: array[None] for name, array in arrays.items()})
    named: dict[str, str] = {}
    for text in given:
        name, equals, path = text.partition("=")
        if not equals or name not in entries or name in named:
            what = f"`{name}` is given twice" if name in named else f"`{text}` names no input"
            raise SetupError(
                Diagnostic(
                    "unknown-input",
                    f"{what}, and the network has {len(entries)}",
                    help=did_you_mean(name, list(entries)) if equals else f"{given_as(entries)}",
                )
            )
        named[name] = path
    _require_all(list(named), entries)
    samples = {
        name: read_sample(path, entries[name], resize=resize, scaling=scaling)
        for name, path in named.items()
    }
    return Sample(
        ", ".join(named.values()),
        {name: sample.inputs[name] for name, sample in samples.items()},
        tuple(f"{name}: {note}" for name, sample in samples.items() for note in sample.notes),
    )


def given_as(entries: Mapping[str, Input]) -> str:
    """How to name the file of each input."""
    return "give " + " ".join(f"`{name}=FILE`" for name in entries)


def _require_all(names: Sequence[str], entries: Mapping[str, Input]) -> None:
    missing = [name for name in entries if name not in names]
    if missing:
        raise DataError(
            Diagnostic(
                "image-does-not-fit",
                f"there is no file for the input `{missing[0]}`",
                help=given_as(entries),
            )
        )
