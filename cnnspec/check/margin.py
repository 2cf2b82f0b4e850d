"""How far decisions are from flipping: kinks of activations, and the runner-up in max pooling."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from cnnspec.graph import Graph, Node
from cnnspec.ops.base import Op
from cnnspec.ops.pool import MaxPool
from cnnspec.window import Window

Array = npt.NDArray[Any]

MARGIN = 100.0
"""A decision counts as safe this many bounds away."""


def unsafe(
    graph: Graph, values: Mapping[str, Array], spread: Mapping[str, Array], unit: float
) -> list[str]:
    """The nodes with a decision that rounding could flip.

    Args:
        graph: the network.
        values: every value of the reference, inputs included.
        spread: for each value the deviation that perturbation causes, per unit of relative size.
        unit: the unit roundoff.

    A distance of zero between values that do not move at all (dead branches behind a ReLU) can
    not flip, and does not count.
    """
    found = []
    for node in graph.nodes:
        value = values[node.inputs[0].id]
        moves = MARGIN * 10 * unit * spread.get(node.inputs[0].id, np.zeros(value.shape))
        if node.op.selects:
            gap, move = runner_up(node, value, moves)
        elif node.op.kinks:
            gap = np.min([np.abs(value - kink) for kink in node.op.kinks], axis=0)
            move = moves
        else:
            continue
        if bool(np.any((gap <= move) & (move > 0))):
            found.append(node.id)
    return found


def runner_up(node: Node[Op], value: Array, moves: Array) -> tuple[Array, Array]:
    """For each window: the gap between its two largest values, and how far both may move."""
    shape = node.inputs[0].shape
    if isinstance(node.op, MaxPool):
        window = node.op.window(shape)
    else:
        space = shape[1:]
        ones = tuple(1 for _ in space)
        window = Window(space, ones, ones, tuple((0, 0) for _ in space))
    values = taps(value, window, -math.inf)
    order = np.argsort(values, axis=0, kind="stable")
    if len(values) < 2:
        return np.full(values.shape[1:], math.inf), np.zeros(values.shape[1:])
    top = np.take_along_axis(values, order[-2:], axis=0)
    move = np.take_along_axis(taps(moves, window, 0.0), order[-2:], axis=0)
    with np.errstate(invalid="ignore"):
        gap = top[1] - top[0]
    return gap, move[0] + move[1]


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
