"""How far answers move when everything on the way to them is moved a little at random."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from cnnspec.check.pieces import bound_dtype, pieces, root_mean_square
from cnnspec.graph import Graph, Node
from cnnspec.ops.base import Op, Shape

if TYPE_CHECKING:
    from cnnspec.check.bounds import Bounds

Array = npt.NDArray[Any]
Scaled = tuple[Array, float]

SPREAD = 10.0


class Spread:
    """The largest deviation from a first answer per unit of step, element by element.

    One element's few replicates may be small by chance, so that the root mean square over the
    tensor counts as well.
    """

    def __init__(self, first: Mapping[str, Array], step: float) -> None:
        self.first = first
        self.step = step
        self.largest = {
            name: np.zeros(np.shape(value), bound_dtype(np.size(value)))
            for name, value in first.items()
        }

    def add(self, other: Mapping[str, Array]) -> None:
        """Another replicate."""
        for name in self.first:
            self.see(name, other[name])

    def see(self, name: str, value: Array) -> None:
        """One tensor of another replicate."""
        values = (np.asarray(self.first[name]), np.asarray(value), self.largest[name])
        for a, b, largest in pieces(*values):
            deviation = np.subtract(b, a)
            np.abs(deviation, out=deviation)
            deviation /= self.step
            with np.errstate(over="ignore"):  # float32 has no more, and a run that far is chaotic
                np.maximum(largest, deviation, out=largest, casting="same_kind")

    def typical(self, name: str) -> float:
        """The root mean square over a tensor."""
        return root_mean_square(self.largest[name])

    def coefficient(self, name: str, factor: float = SPREAD) -> Array:
        """Bound per unit of u; the memory of the deviations becomes that of the bound."""
        typical = self.typical(name)
        found = self.largest.pop(name)
        for (piece,) in pieces(found):
            np.maximum(piece, typical, out=piece)
            np.multiply(piece, factor, out=piece)
        return found


@dataclass(frozen=True, slots=True)
class _Together:
    """How elements that share a statistic are moved together.

    Attributes:
        bound: of each element.
        factor: of it, what is typical.
        view: of a sample.
        axes: of (batch, *view), along which they share it.
    """

    bound: Array
    factor: float
    view: Shape
    axes: tuple[int, ...]

    def change(self, value: Array, rng: np.random.Generator, step: float) -> Array:
        """For a step of this size."""
        viewed = value.reshape(len(value), *self.view)
        shape = [1 if axis in self.axes else size for axis, size in enumerate(viewed.shape)]
        shift, stretch = rng.uniform(-step, step, (2, *shape)) * self.factor
        signs = np.sign(viewed)
        change: Array = stretch * signs
        change += shift * np.abs(signs)
        change *= _fitted(self.bound, value.shape).reshape(viewed.shape)
        moved: Array = change.reshape(value.shape)
        return moved


class Noise:
    """Moves each value and cotangent on the way by what rounding may.

    That is in proportion to itself, and by the node's own error: a value that has cancelled keeps
    the error of its terms. Own bounds hold for the worst order of summation; the noise is what is
    typical, a random walk of K roundings for a sum of K terms. Elements that share a mean or a
    variance are also moved together, up or down and away from zero or towards it: behind them is
    what averages out the roundings of elements, but not that of what they share. Exact zeros stay,
    since every framework computes them exactly, and so does the value of an op that only copies.

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
        self.forward: dict[str, Scaled] = {}
        self.backward: dict[str, list[Scaled]] = {name: [] for name in graph.users()}
        self.together: dict[tuple[str, bool], list[_Together]] = {}
        self.rng = np.random.default_rng(0)
        for node in graph.nodes:
            if node.id not in own.values:  # of a mode that does not run it
                continue
            lengths = node.op.lengths(node.input_shapes, node.shape, batch)
            if not node.op.exact:
                worst = _worst_over_typical(node.op, lengths.output)
                self.forward[node.id] = own.values[node.id], 1 / worst
                self._share(node, own.values[node.id], 1 / worst, (node.id, False))
            worst = _worst_over_typical(node.op, lengths.input)
            for value, bound in zip(node.inputs, own.own[node.id], strict=True):
                self.backward[value.id].append((bound, 1 / worst))
                self._share(node, bound, 1 / worst, (value.id, True))
        if parameters:
            # Nothing behind it evens out a parameter's gradient: its worst order counts.
            self.backward.update({n: [(bound, 1.0)] for n, bound in own.parameters.items()})

    def seeded(self, words: np.random.SeedSequence) -> Noise:
        """The same noise with other random numbers."""
        self.rng = np.random.Generator(np.random.SFC64(words))
        return self

    def __call__(self, name: str, value: Array, backward: bool) -> Array:
        """A node's value or cotangent, or a parameter's gradient, moved."""
        if name not in (self.backward if backward else self.forward):
            return value
        scale, factor = self._scale(name) if backward else self.forward[name]
        scale = _fitted(scale, value.shape)
        moved = np.empty(value.shape, value.dtype)
        for before, extra, after in pieces(value, scale, moved):
            relative, random = self.rng.random((2, before.size), np.float32)
            relative -= np.float32(0.5)
            random -= np.float32(0.5)
            change = random * extra
            change *= factor
            if not before.all():
                change[before == 0] = 0.0
            change += relative * before
            change *= 2 * self.step
            np.add(before, change, out=after)
        for each in self.together.get((name, backward), ()):
            moved += each.change(value, self.rng, self.step)
        return moved

    def _share(self, node: Node[Op], bound: Array, factor: float, key: tuple[str, bool]) -> None:
        found = node.op.common(node.inputs[0].shape)
        if found is not None:
            view, axes = found
            self.together.setdefault(key, []).append(_Together(bound, factor, view, axes))

    def _scale(self, name: str) -> Scaled:
        """What all readers of a value lose of its cotangent together."""
        readers = self.backward[name]
        if len(readers) == 1:
            return readers[0]
        return sum((bound * factor for bound, factor in readers), start=np.zeros(())), 1.0


def _fitted(scale: Array, shape: tuple[int, ...]) -> Array:
    if scale.shape == shape:
        return scale
    if scale.ndim:
        scale = np.mean(scale, axis=0)  # a batch other than the one of the bounds
    return np.broadcast_to(scale, shape)


def _worst_over_typical(op: Op, length: int) -> float:
    return 2 * math.sqrt(length) if op.bound == "linear" else SPREAD
