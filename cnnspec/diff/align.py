"""Pairing equal elements of two sequences in order."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Hashable, Sequence

Pair = tuple[int, int]

MOST_EDITS = 1000
"""Beyond so many differences in one stretch its elements are not paired; time is its square."""


def matches(a: Sequence[Hashable], b: Sequence[Hashable]) -> list[Pair]:
    """Positions of equal elements in order, as many as there can be.

    What both have in common at the start and at the end costs nothing; the rest is Myers' greedy
    method, whose time is the length times the number of differences.

    Args:
        a: one sequence.
        b: the other.
    """
    start, most = 0, min(len(a), len(b))
    while start < most and a[start] == b[start]:
        start += 1
    end = 0
    while end < most - start and a[-1 - end] == b[-1 - end]:
        end += 1
    inner = _myers(a[start : len(a) - end], b[start : len(b) - end])
    return [
        *((i, i) for i in range(start)),
        *((start + i, start + j) for i, j in inner),
        *((len(a) - i, len(b) - i) for i in range(end, 0, -1)),
    ]


def _myers(a: Sequence[Hashable], b: Sequence[Hashable]) -> list[Pair]:
    """Myers, "An O(ND) difference algorithm and its variations", 1986."""
    if not a or not b:
        return []
    n, m = len(a), len(b)
    furthest = {1: 0}  # diagonal -> how far along `a` a path with so many edits gets on it
    trace: list[dict[int, int]] = []
    for edits in range(min(n + m, MOST_EDITS) + 1):
        reached: dict[int, int] = {}
        for diagonal in range(-edits, edits + 1, 2):
            down = diagonal == -edits or (
                diagonal != edits and furthest[diagonal - 1] < furthest[diagonal + 1]
            )
            x = furthest[diagonal + 1] if down else furthest[diagonal - 1] + 1
            y = x - diagonal
            while x < n and y < m and a[x] == b[y]:
                x, y = x + 1, y + 1
            reached[diagonal] = x
            if x >= n and y >= m:
                trace.append(reached)
                return _walked_back(trace, n, m)
        trace.append(reached)
        furthest = reached
    return []


def _walked_back(trace: Sequence[dict[int, int]], x: int, y: int) -> list[Pair]:
    pairs: list[Pair] = []
    for edits in range(len(trace) - 1, 0, -1):
        before, diagonal = trace[edits - 1], x - y
        down = diagonal == -edits or (
            diagonal != edits and before[diagonal - 1] < before[diagonal + 1]
        )
        previous = diagonal + 1 if down else diagonal - 1
        from_x = before[previous]
        from_y = from_x - previous
        while x > from_x and y > from_y:
            x, y = x - 1, y - 1
            pairs.append((x, y))
        x, y = from_x, from_y
    while x > 0 and y > 0:
        x, y = x - 1, y - 1
        pairs.append((x, y))
    return pairs[::-1]


def in_order(pairs: Sequence[Pair]) -> list[Pair]:
    """The longest part of pairs, given in the order of the first, in which the second rises too."""
    tails: list[int] = []  # the least last element of a rising part, by its length
    ends: list[int] = []  # the pair that it belongs to
    before: list[int | None] = []
    for number, (_, j) in enumerate(pairs):
        length = bisect_left(tails, j)
        before.append(ends[length - 1] if length else None)
        if length == len(tails):
            tails.append(j)
            ends.append(number)
        else:
            tails[length], ends[length] = j, number
    found: list[Pair] = []
    at = ends[-1] if ends else None
    while at is not None:
        found.append(pairs[at])
        at = before[at]
    return found[::-1]
