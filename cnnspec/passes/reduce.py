"""The same network on the smallest inputs on which it is still itself.

A convolution's rounding and its mistakes are the same on 34 columns as on 224, so a proof may use
a small input, if nothing degenerates on it. A size counts where

- every shape is legal, and no parameter's shape changes,
- no axis that is longer than 1 at the spec's own size shrinks to 1: a stride between two windows,
  a mean over several positions, a norm's statistics stay what they are,
- every tap of a kernel that reads data at the spec's own size still does, so that no part of a
  weight lies in the padding.

Of these the fewest elements win, among those with all spatial axes of an input pairwise different.
Only where the spec's own are not, and nothing smaller is, axes may be equal.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from cnnspec.graph import Graph, Input, Node
from cnnspec.ops.base import Op, Reject, Shape, spatial
from cnnspec.passes.rebuild import resize
from cnnspec.window import Window, output_size

EVERY_SIZE = 512
"""Up to here each size of an axis is tried; beyond, multiples of `COARSE` about 3 % apart."""
COARSE = 64
KEPT = 8
"""Sizes of each axis, the smallest ones, that are tried together with those of the other axes."""

Sizes = tuple[int, ...]


def reduce(graph: Graph) -> Graph:
    """The graph on its smallest inputs; the graph itself where its own are the smallest.

    Axes are searched one by one, then together, which finds the smallest input for ops that treat
    axes one by one; for others all axes shrink in proportion, if that is legal. Inputs
    of equal size change together, and all in proportion where that alone is legal.
    """
    probe = _Probe(graph)
    own = {entry.name: entry.shape for entry in graph.inputs}
    best, elements = own, _elements(own)
    for groups in _groupings(graph.inputs):
        found = dict(own)
        for group in groups:
            found.update(_smallest(probe, found, group))
        if _elements(found) < elements:
            best, elements = found, _elements(found)
    return graph if best == own else resize(graph, best)


def _groupings(inputs: Sequence[Input]) -> list[list[_Group]]:
    """Ways to tie inputs together: those of equal size, then all that have as many axes."""
    found: list[list[_Group]] = []
    for key in (spatial, len):
        tied: dict[object, list[Input]] = {}
        for entry in inputs:
            if spatial(entry.shape):
                tied.setdefault(key(entry.shape), []).append(entry)
        groups = [_Group(tuple(members)) for members in tied.values()]
        if groups not in found:
            found.append(groups)
    return found


@dataclass(frozen=True, slots=True)
class _Group:
    """Inputs whose sizes stay in proportion; sizes are those of the first."""

    members: tuple[Input, ...]

    @property
    def own(self) -> Sizes:
        return spatial(self.members[0].shape)

    def shapes(self, sizes: Sizes) -> dict[str, Shape] | None:
        """Each member's shape at these sizes of the first, None where one is no whole number."""
        found = {}
        for entry in self.members:
            space = []
            for n, own, size in zip(spatial(entry.shape), self.own, sizes, strict=True):
                if n * size % own:
                    return None
                space.append(n * size // own)
            found[entry.name] = (entry.shape[0], *space)
        return found


def _smallest(probe: _Probe, shapes: Mapping[str, Shape], group: _Group) -> Mapping[str, Shape]:
    """The smallest shapes of a group, the other inputs as they are."""

    def legal(sizes: Sizes) -> dict[str, Shape] | None:
        made = group.shapes(sizes)
        return made if made is not None and probe.legal({**shapes, **made}) else None

    choices = []
    for axis, own in enumerate(group.own):
        fitting = (
            n
            for n in _sizes(own)
            if legal((*group.own[:axis], n, *group.own[axis + 1 :])) is not None
        )
        choices.append([*itertools.islice(fitting, KEPT), own])
    together = sorted(
        {*itertools.product(*choices), *_scaled(group.own)},
        key=lambda sizes: (math.prod(sizes), sizes),
    )
    smaller = [sizes for sizes in together if math.prod(sizes) < math.prod(group.own)]
    for different in (True, False) if _repeats(group.own) else (True,):
        for sizes in smaller:
            if _repeats(sizes) is not different:
                made = legal(sizes)
                if made is not None:
                    return made
    return {entry.name: shapes[entry.name] for entry in group.members}


def _scaled(own: Sizes) -> Iterator[Sizes]:
    """Smaller sizes in proportion, for networks that do not treat axes one by one."""
    for size in _sizes(own[0]):
        if all(n * size % own[0] == 0 for n in own):
            yield tuple(n * size // own[0] for n in own)


def _repeats(sizes: Sizes) -> bool:
    return len(set(sizes)) < len(sizes)


def _sizes(own: int) -> Iterator[int]:
    """Sizes below an axis' own, in order."""
    yield from range(1, min(own, EVERY_SIZE + 1))
    size = EVERY_SIZE + COARSE
    while size < own:
        yield size
        size += COARSE * max(1, size // (32 * COARSE))


def _elements(shapes: Mapping[str, Shape]) -> int:
    return sum(math.prod(shape) for shape in shapes.values())


class _Probe:
    """Infers a graph's shapes for other inputs, and compares them with its own.

    Layers of equal op, input shapes and own shapes share one answer: a deep network has few.
    """

    def __init__(self, graph: Graph) -> None:
        places = {entry.id: i for i, entry in enumerate(graph.inputs)}
        self.names = [entry.name for entry in graph.inputs]
        self.steps: list[tuple[int, tuple[int, ...]]] = []
        self.kinds: list[Node[Op]] = []
        indices: dict[object, int] = {}
        for node in graph.nodes:
            key = (_identity(node.op), node.input_shapes)
            if key not in indices:
                indices[key] = len(self.kinds)
                self.kinds.append(node)
            self.steps.append((indices[key], tuple(places[value.id] for value in node.inputs)))
            places[node.id] = len(places)
        self.answers: dict[tuple[int, tuple[Shape, ...]], Shape | None] = {}

    def legal(self, inputs: Mapping[str, Shape]) -> bool:
        """Whether the network stays itself on inputs of these shapes."""
        shapes = [inputs[name] for name in self.names]
        for kind, places in self.steps:
            given = tuple([shapes[place] for place in places])
            key = (kind, given)
            if key not in self.answers:
                self.answers[key] = _answer(self.kinds[kind], given)
            shape = self.answers[key]
            if shape is None:
                return False
            shapes.append(shape)
        return True


def _identity(op: Op) -> object:
    """Equal for ops that mean the same; an op of a plug-in may not be hashable."""
    try:
        hash(op)
    except TypeError:
        return id(op)
    return op


def _answer(node: Node[Op], given: tuple[Shape, ...]) -> Shape | None:
    """A layer's output shape for other inputs; None where it is no longer itself."""
    try:
        inferred = node.op.infer(*given)
    except Reject:
        return None
    if [(p.name, p.shape) for p in inferred.params] != [(p.name, p.shape) for p in node.params]:
        return None
    pairs = [(node.shape, inferred.shape), *zip(node.input_shapes, given, strict=True)]
    if any(_shrunk(own, shape) for own, shape in pairs):
        return None
    if any(
        _dead_taps(node.op, shape) > _dead_taps(node.op, own)
        for own, shape in zip(node.input_shapes, given, strict=True)
    ):
        return None
    return inferred.shape


def _shrunk(own: Shape, shape: Shape) -> bool:
    """Whether an axis that was longer has become 1."""
    pairs: Iterable[tuple[int, int]] = zip(spatial(own), spatial(shape), strict=False)
    return any(n > 1 and m == 1 for n, m in pairs)


def _dead_taps(op: Op, shape: Shape) -> int:
    """How many taps of a window, counted along each axis, read nothing but padding."""
    window = op.window(shape)
    return 0 if window is None else sum(_dead(window, axis, n) for axis, n in enumerate(shape[1:]))


def _dead(window: Window, axis: int, n: int) -> int:
    stride, dilation = window.stride[axis], window.dilation[axis]
    before, after = window.pads[axis]
    positions = output_size(n, window.extent[axis], stride, before, after)
    dead = 0
    for tap in range(window.kernel[axis]):
        offset = tap * dilation - before
        position = max(0, -(offset // stride))  # the first whose tap does not lie in front of data
        dead += position >= positions or offset + position * stride >= n
    return dead
