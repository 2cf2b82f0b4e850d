"""What an answer rests on: the gradient of a class's score, and what covering a part changes."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from cnnspec.backends.base import Session
from cnnspec.diagnostics import Diagnostic, SetupError, did_you_mean
from cnnspec.graph import Graph, Output

__all__ = ["Occlusion", "Saliency", "choose_class", "classified", "occlusion", "saliency", "scores"]

Array = npt.NDArray[Any]

MOST_FEATURES = 1024
"""Of a vector with more of them several are covered at a time."""

BATCH = 32
"""Covered copies that are run at a time."""


@dataclass(frozen=True, slots=True, eq=False)
class Saliency:
    """The gradient of a class's logit with respect to each input.

    Attributes:
        number: of the class.
        score: the logit: what goes into a final softmax or sigmoid, else the output itself. Of an
            output with positions it is the sum over them.
        logit: whether such an activation was left out.
        gradients: by input, without the batch.
    """

    number: int
    score: float
    logit: bool
    gradients: Mapping[str, Array]


@dataclass(frozen=True, slots=True, eq=False)
class Occlusion:
    """How a class's probability falls when a part of an input is covered.

    Attributes:
        number: of the class.
        before: its probability, or score where the output gives none, with nothing covered.
        probability: whether it is one.
        fall: by input, of its spatial shape (features of a vector): the mean, over the patches
            that cover the position, of `before` less what is left.
        patch: by input, the sizes of the patch.
        passes: how many covered copies were run.
    """

    number: int
    before: float
    probability: bool
    fall: Mapping[str, Array]
    patch: Mapping[str, tuple[int, ...]]
    passes: int


def classified(graph: Graph) -> Output:
    """The output whose channels are taken for classes: the first in inference with several.

    Where none has several, the first.
    """
    present = [output for output in graph.outputs if not output.training_only]
    return next((o for o in present if o.value.shape[0] > 1), present[0])


def choose_class(wanted: str | None, score: Array, names: Sequence[str]) -> int:
    """The number of a class.

    Args:
        wanted: its name or number; None for the one with the highest score, the first in a tie.
        score: of each.
        names: of the classes, where they have some.

    Raises:
        SetupError: there is no such class.
    """
    if wanted is None:
        return int(score.argmax())
    if wanted in names:
        return names.index(wanted)
    if wanted.isascii() and wanted.isdigit() and int(wanted) < len(score):
        return int(wanted)
    raise SetupError(
        Diagnostic(
            "unknown-class",
            f"there is no class `{wanted}`",
            help=did_you_mean(wanted, names) if names else f"classes are 0 to {len(score) - 1}",
        )
    )


def scores(value: Array) -> Array:
    """One number for each class: (N, channels, ...) -> (N, channels), summed over positions."""
    return np.asarray(value.reshape(*value.shape[:2], -1).sum(axis=2))


def saliency(
    session: Session, inputs: Mapping[str, Array], output: str, number: int, *, logit: bool
) -> Saliency:
    """The gradient of one class's score with respect to the inputs, in inference mode.

    Args:
        session: of `passes.rebuild.logits`, whose output is the logit.
        inputs: one sample, with its batch of 1.
        output: the output that has the class.
        number: the class.
        logit: see `Saliency`.
    """
    values = session.forward(inputs)
    cotangents = {name: np.zeros_like(value) for name, value in values.items()}
    cotangents[output][:, number] = 1
    found = session.gradients(inputs, cotangents=cotangents, training=False)
    score = float(scores(found.outputs[output])[0, number])
    return Saliency(number, score, logit, {n: g[0] for n, g in found.inputs.items()})


def occlusion(
    measure: Callable[[Mapping[str, Array]], Array],
    inputs: Mapping[str, Array],
    number: int,
    *,
    probability: bool,
    patch: int | None = None,
    stride: int | None = None,
    told: Callable[[int, int], None] = lambda done, total: None,
) -> Occlusion:
    """Cover a part of each input in turn, with its own mean for each channel, and measure again.

    Args:
        measure: a batch of inputs -> (N, classes).
        inputs: one sample, with its batch of 1.
        number: the class.
        probability: whether `measure` gives probabilities.
        patch: positions along each axis; by default a sixth of the axis, at least 2.
        stride: positions from one patch to the next; by default half a patch, in a volume one.
        told: how many passes of how many are done.
    """
    before = float(measure(inputs)[0, number])
    sizes = {name: _patch(value.shape[1:], patch) for name, value in inputs.items()}
    steps = {n: _steps(sizes[n], stride) for n in inputs}
    places = {n: _places(_space(v.shape[1:]), sizes[n], steps[n]) for n, v in inputs.items()}
    total, done = sum(len(each) for each in places.values()), 0
    falls = {}
    for name, value in inputs.items():
        space = _space(value.shape[1:])
        lost, covered = np.zeros(space), np.zeros(space)
        mean = _mean(value)
        for some in _batches(places[name]):
            batch = {n: np.repeat(v, len(some), axis=0) for n, v in inputs.items()}
            for copy, place in zip(batch[name], some, strict=True):
                copy[_region(value.ndim - 1, place)] = mean
            left = measure(batch)[:, number]
            for place, what in zip(some, left, strict=True):
                lost[place] += before - float(what)
                covered[place] += 1
            done += len(some)
            told(done, total)
        falls[name] = lost / np.maximum(covered, 1)
    return Occlusion(number, before, probability, falls, sizes, total)


Place = tuple[slice, ...]


def _space(shape: tuple[int, ...]) -> tuple[int, ...]:
    return shape[1:] or shape


def _patch(shape: tuple[int, ...], patch: int | None) -> tuple[int, ...]:
    space = _space(shape)
    if patch is not None:
        return tuple(min(patch, size) for size in space)
    if len(shape) == 1:
        return (math.ceil(space[0] / MOST_FEATURES),)
    return tuple(min(max(size // 6, 2), size) for size in space)


def _steps(patch: tuple[int, ...], stride: int | None) -> tuple[int, ...]:
    if stride is not None:
        return tuple(stride for _ in patch)
    # Half a patch in a volume would be eight times as many passes.
    return patch if len(patch) > 2 else tuple(max(length // 2, 1) for length in patch)


def _places(space: tuple[int, ...], patch: tuple[int, ...], steps: tuple[int, ...]) -> list[Place]:
    """Every region that a patch covers; the last along an axis ends where the axis does."""
    axes = []
    for size, length, step in zip(space, patch, steps, strict=True):
        starts = (*range(0, size - length, step), size - length)
        axes.append([slice(start, start + length) for start in starts])
    return list(itertools.product(*axes))


def _batches(places: Sequence[Place]) -> Iterator[Sequence[Place]]:
    for start in range(0, len(places), BATCH):
        yield places[start : start + BATCH]


def _region(rank: int, place: Place) -> tuple[slice, ...]:
    """The place in a sample: in all channels, where it has positions."""
    return place if rank == len(place) else (slice(None), *place)


def _mean(value: Array) -> Array:
    """The mean of each channel over its positions; of a vector the mean of its features."""
    if value.ndim == 2:
        return np.asarray(value.mean())
    mean = value[0].mean(axis=tuple(range(1, value.ndim - 1)))
    return np.asarray(mean.reshape(-1, *(1 for _ in range(value.ndim - 2))))
