"""How far answers move when everything on the way to them is moved a little at random."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from cnnspec.check.pieces import pieces
from cnnspec.graph import Graph
from cnnspec.ops.base import Op

if TYPE_CHECKING:
    from cnnspec.check.bounds import Bounds

Array = npt.NDArray[Any]

SPREAD = 10.0
NARROW_FROM = 1 << 20
"""Elements from which deviations are kept in float32, half the memory; bounds need no more."""


class Spread:
    """The largest deviation from a first answer per unit of step, element by element.

    One element's few replicates may be small by chance, so that the root mean square over the
    tensor counts as well.
    """

    def __init__(self, first: Mapping[str, Array], step: float) -> None:
        self.first = dict(first)
        self.step = step
        self.largest: dict[str, Array] = {}
        for name, value in self.first.items():
            narrow = np.float32 if np.size(value) >= NARROW_FROM else np.float64
            self.largest[name] = np.zeros(np.shape(value), narrow)

    def add(self, other: Mapping[str, Array]) -> None:
        """Another replicate."""
        for name, first in self.first.items():
            values = (np.asarray(first), np.asarray(other[name]), self.largest[name])
            for a, b, largest in pieces(*values):
                deviation = np.subtract(b, a)
                np.abs(deviation, out=deviation)
                deviation /= self.step
                np.maximum(largest, deviation, out=largest, casting="same_kind")

    def typical(self, name: str) -> float:
        """The root mean square over a tensor."""
        largest = self.largest[name]
        if not largest.size:
            return 0.0
        squares = math.fsum(float(np.square(x, dtype=np.float64).sum()) for (x,) in pieces(largest))
        return math.sqrt(squares / largest.size)

    def coefficient(self, name: str, factor: float = SPREAD) -> Array:
        """Bound per unit of u; the memory of the deviations becomes that of the bound."""
        typical = self.typical(name)
        found = self.largest.pop(name)
        for (piece,) in pieces(found):
            np.maximum(piece, typical, out=piece)
            np.multiply(piece, factor, out=piece)
        return found


class Noise:
    """Moves each value and cotangent on the way by what rounding may.

    That is in proportion to itself, and by the node's own error: a value that has cancelled keeps
    the error of its terms. Own bounds hold for the worst order of summation; the noise is what is
    typical, a random walk of K roundings for a sum of K terms. Exact zeros stay, since every
    framework computes them exactly.

    Args:
        graph: the network.
        own: bounds of its nodes.
        batch: number of samples.
        step: the size of the noise, for a unit roundoff.
        parameters: whether the gradients of parameters are moved too, which matters where they
            go on into an optimizer.
    """

    def __init__(
        self, graph: Graph, own: Bounds, batch: int, step: float, *, parameters: bool
    ) -> None:
        self.step = step
        self.forward: dict[str, Array] = {}
        self.backward: dict[str, Any] = dict.fromkeys(graph.users(), 0.0)
        self.rng = np.random.default_rng(0)
        for node in graph.nodes:
            if node.id not in own.values:  # of a mode that does not run it
                continue
            lengths = node.op.lengths(node.input_shapes, node.shape, batch)
            self.forward[node.id] = own.values[node.id] / _worst_over_typical(
                node.op, lengths.output
            )
            for value, bound in zip(node.inputs, own.own[node.id], strict=True):
                typical = bound / _worst_over_typical(node.op, lengths.input)
                self.backward[value.id] = self.backward[value.id] + typical
        if parameters:
            # Nothing behind it evens out a parameter's gradient: its worst order counts.
            self.backward.update(own.parameters)

    def seeded(self, words: np.random.SeedSequence) -> Noise:
        """The same noise with other random numbers."""
        self.rng = np.random.Generator(np.random.SFC64(words))
        return self

    def __call__(self, name: str, value: Array, backward: bool) -> Array:
        """A node's value or cotangent, or a parameter's gradient, moved."""
        if backward and name not in self.backward:
            return value
        scale = self.backward[name] if backward else self.forward[name]
        if np.shape(scale) != value.shape:
            if np.ndim(scale):
                scale = np.mean(scale, axis=0)  # a batch other than the one of the bounds
            scale = np.broadcast_to(scale, value.shape)
        moved = np.empty(value.shape, value.dtype)
        for before, extra, after in pieces(value, scale, moved):
            relative, random = self.rng.random((2, before.size), np.float32)
            relative -= np.float32(0.5)
            random -= np.float32(0.5)
            change = random * extra
            if not before.all():
                change[before == 0] = 0.0
            change += relative * before
            change *= 2 * self.step
            np.add(before, change, out=after)
        return moved


def _worst_over_typical(op: Op, length: int) -> float:
    return 2 * math.sqrt(length) if op.bound == "linear" else SPREAD
