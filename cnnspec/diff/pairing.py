"""Which layer of one network is which of another.

1. By the full name, where it depends on no other layer.
2. Between these, in order: by the same op with the same fields, then by the same op. Positions and
   names such as `relu2` count the layers above, so that by their names one inserted layer would
   change everything below it.
3. What is left over, in order: by the same op with the same fields and shapes, under another name.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence

from cnnspec.diff.align import Pair, in_order, matches
from cnnspec.diff.outline import Entry

Key = Callable[[Entry], Hashable]


def paired(a: Sequence[Entry], b: Sequence[Entry]) -> list[Pair]:
    """Positions of the layers that are the same one, in the order of the first network."""
    places = {entry.node.id: j for j, entry in enumerate(b) if entry.fixed}
    named = [
        (i, places[entry.node.id])
        for i, entry in enumerate(a)
        if entry.fixed and entry.node.id in places
    ]
    found = list(named)
    taken_a, taken_b = {i for i, _ in named}, {j for _, j in named}
    for start, end in _gaps(in_order(named), len(a), len(b)):
        left = [i for i in range(start[0], end[0]) if i not in taken_a]
        right = [j for j in range(start[1], end[1]) if j not in taken_b]
        found += _aligned(a, b, left, right, (_same, _alike))
    taken_a, taken_b = {i for i, _ in found}, {j for _, j in found}
    left = [i for i in range(len(a)) if i not in taken_a]
    right = [j for j in range(len(b)) if j not in taken_b]
    found += _aligned(a, b, left, right, (_moved,))
    return sorted(found)


def _same(entry: Entry) -> Hashable:
    return entry.pattern, _spec(entry)


def _alike(entry: Entry) -> Hashable:
    return entry.pattern, entry.node.op.key


def _moved(entry: Entry) -> Hashable:
    return _spec(entry), entry.node.input_shapes, entry.node.shape


def _spec(entry: Entry) -> Hashable:
    """The op with its fields: ops are equal where these are."""
    return entry.node.op


def _gaps(anchors: Sequence[Pair], most_a: int, most_b: int) -> list[tuple[Pair, Pair]]:
    """The stretches between anchors, the start included and the end not."""
    starts = [(0, 0), *((i + 1, j + 1) for i, j in anchors)]
    return list(zip(starts, [*anchors, (most_a, most_b)], strict=True))


def _aligned(
    a: Sequence[Entry],
    b: Sequence[Entry],
    left: Sequence[int],
    right: Sequence[int],
    keys: Sequence[Key],
) -> list[Pair]:
    """Pair by the first key, and what lies between these pairs by the next."""
    if not (keys and left and right):
        return []
    key, *others = keys
    pairs = matches([key(a[i]) for i in left], [key(b[j]) for j in right])
    found = [(left[i], right[j]) for i, j in pairs]
    for start, end in _gaps(pairs, len(left), len(right)):
        found += _aligned(a, b, left[start[0] : end[0]], right[start[1] : end[1]], others)
    return found
