"""How far decisions are from flipping: kinks of activations, and the runner-up in max pooling."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from cnnspec.graph import Node
from cnnspec.ops.adaptive_pool import AdaptiveMaxPool, Bins
from cnnspec.ops.base import Op
from cnnspec.ops.pool import MaxPool
from cnnspec.window import Window

Array = npt.NDArray[Any]

MARGIN = 100.0
"""A decision counts as safe this many bounds away."""


def unsafe(
    nodes: Sequence[Node[Op]],
    values: Mapping[str, Array],
    spread: Mapping[str, Array],
    unit: float,
) -> dict[str, int]:
    """The nodes with decisions that rounding could flip, and how many.

    Args:
        nodes: of the network, in order.
        values: every value of the reference, inputs included.
        spread: for each value the deviation that perturbation causes, per unit of relative size.
        unit: the unit roundoff.

    A distance of zero between values that do not move at all (dead branches behind a ReLU) can
    not flip, and does not count. Nor do equal values that have always moved alike: they are copies
    of one, as in the windows of a max pool behind another one.
    """
    found: dict[str, int] = {}
    for node in nodes:
        value = values[node.inputs[0].id]
        moves = MARGIN * 10 * unit * spread.get(node.inputs[0].id, np.zeros(value.shape))
        if node.op.selects and len(node.inputs) > 1:
            gap, move = closest(node, values, spread, unit)
        elif node.op.selects:
            gap, move = runner_up(node, value, moves)
        elif node.op.kinks:
            gap = np.min([np.abs(value - kink) for kink in node.op.kinks], axis=0)
            move = moves
        else:
            continue
        count = int(np.count_nonzero((gap <= move) & (move > 0)))
        if count:
            found[node.id] = count
    return found


def runner_up(node: Node[Op], value: Array, moves: Array) -> tuple[Array, Array]:
    """For each window: the gap from its largest value to a rival, and how far both may move."""
    shape = node.inputs[0].shape
    if isinstance(node.op, AdaptiveMaxPool):
        bins = node.op.bins(shape)
        return nearest(binned(value, bins, -math.inf), binned(moves, bins, 0.0))
    if isinstance(node.op, MaxPool):
        window = node.op.window(shape)
    else:
        space = shape[1:]
        ones = tuple(1 for _ in space)
        window = Window(space, ones, ones, tuple((0, 0) for _ in space))
    return nearest(taps(value, window, -math.inf), taps(moves, window, 0.0))


def closest(
    node: Node[Op], values: Mapping[str, Array], spread: Mapping[str, Array], unit: float
) -> tuple[Array, Array]:
    """For each element: the gap from its largest input to a rival, and how far both may move.

    Two inputs that are one value tie everywhere, and never come apart.
    """
    inputs = list(dict.fromkeys(value.id for value in node.inputs))
    candidates = np.stack([values[name] for name in inputs])
    still = np.zeros(candidates.shape[1:])
    moves = np.stack([MARGIN * 10 * unit * spread.get(name, still) for name in inputs])
    return nearest(candidates, moves)


def nearest(values: Array, moves: Array) -> tuple[Array, Array]:
    """Along the first axis: the gap to the rival that is most likely to pass the largest value.

    Returns:
        The gap, infinite where there is no rival, and how far both may move together.
    """
    first = np.argmax(values, axis=0)[np.newaxis]
    top, top_moves = (np.take_along_axis(each, first, axis=0) for each in (values, moves))
    with np.errstate(invalid="ignore"):
        gaps = top - values
        gaps[(gaps == 0) & (moves == top_moves)] = math.inf  # itself, and its copies
        both = top_moves + moves
        rival = np.argmin(gaps - both, axis=0)[np.newaxis]
    gap, move = (np.take_along_axis(each, rival, axis=0)[0] for each in (gaps, both))
    return gap, move


def binned(value: Array, bins: Sequence[Bins], fill: float) -> Array:
    """The elements of every bin, one after the other: (taps, N, C, *out)."""
    widths = [max(end - first for first, end in axis) for axis in bins]
    padded = np.pad(value, [(0, 0), (0, 0), *((0, 1) for _ in bins)], constant_values=fill)
    found = []
    for offsets in itertools.product(*(range(width) for width in widths)):
        index = [
            [first + q if first + q < end else -1 for first, end in axis]  # -1 is the filling
            for axis, q in zip(bins, offsets, strict=True)
        ]
        key: tuple[Any, ...] = (..., *np.ix_(*index))
        found.append(padded[key])
    return np.stack(found)


def taps(value: Array, window: Window, fill: float) -> Array:
    """The elements of every window, one tap of the kernel after the other: (taps, N, C, *out)."""
    padded = np.pad(value, [(0, 0), (0, 0), *window.pads], constant_values=fill)
    sizes = window.output(value.shape[2:])
    slices = []
    for offsets in itertools.product(*(range(k) for k in window.kernel)):
        index = tuple(
            slice(q * d, q * d + (o - 1) * s + 1, s)
            for q, d, o, s in zip(offsets, window.dilation, sizes, window.stride, strict=True)
        )
        slices.append(padded[(slice(None), slice(None), *index)])
    return np.stack(slices)
