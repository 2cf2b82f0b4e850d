"""Which elements go into which bin of adaptive pooling, with the numbers substituted."""

from __future__ import annotations

from collections.abc import Iterator

from cnnspec.ops.adaptive_pool import bin_of
from cnnspec.ops.base import AXIS_NAMES, Shape, spatial

MOST = 8
"""Bins that are listed along one axis."""


def short(shape: Shape, output: Shape) -> Iterator[str]:
    """One line for each axis."""
    for name, n, count in _axes(shape, output):
        rule = f"[floor(i * {n} / {count}), ceil((i + 1) * {n} / {count}))"
        listed = [_range(*bin_of(i, n, count)) for i in range(min(count, MOST))]
        listed += ["..."] if count > MOST else []
        yield f"{name}: bins {rule}: {', '.join(listed)}"


def long(shape: Shape, output: Shape) -> Iterator[str]:
    """The rule along each axis, and its first bins one by one."""
    for index, (name, n, count) in enumerate(_axes(shape, output)):
        if index:
            yield ""
        what = "1 bin" if count == 1 else f"{count} bins"
        yield f"along {name}, {what} of {n} elements: bin i goes from floor(i * {n} / {count})"
        yield f"up to, not including, ceil((i + 1) * {n} / {count})"
        for i in range(min(count, MOST)):
            first, end = bin_of(i, n, count)
            size = "1 element" if end - first == 1 else f"{end - first} elements"
            start = f"floor({i * n} / {count}) = {first}"
            yield f"  bin {i}: {start} to ceil({(i + 1) * n} / {count}) - 1 = {end - 1}, {size}"
        if count > MOST:
            yield f"  and {count - MOST} more"
        if n % count == 0:
            each = n // count
            elements = "1 element" if each == 1 else f"{each} elements"
            yield f"  {n} / {count} = {each}: {elements} in each bin, none in two"
        else:
            yield f"  {count} does not divide {n}, so neighbouring bins share elements"


def _axes(shape: Shape, output: Shape) -> Iterator[tuple[str, int, int]]:
    space = spatial(shape)
    yield from zip(AXIS_NAMES[len(space)], space, spatial(output), strict=True)


def _range(first: int, end: int) -> str:
    return str(first) if end - first == 1 else f"{first}-{end - 1}"
