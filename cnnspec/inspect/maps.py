"""Sheets of a layer's value and of its parameters."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from cnnspec.graph import Node
from cnnspec.inspect.drawing import WIDEST, Scale, Sheet, colours, tiles
from cnnspec.inspect.plots import bars, lines
from cnnspec.ops.base import AXIS_NAMES, Op, Param, show

__all__ = ["feature_maps", "filters", "spaced", "summary"]

Array = npt.NDArray[Any]

MOST_LINES = 24
MOST_DEPTHS = 8
MOST_ROWS, MOST_COLUMNS = 256, 512
"""Of a matrix."""


def summary(values: Array) -> str:
    """The range of numbers, how many are 0 where some are, and how many are no numbers at all."""
    finite = values[np.isfinite(values)]
    if not finite.size:
        return "no finite value"
    text = f"min {finite.min():.4g}, max {finite.max():.4g}"
    zeros = int(np.count_nonzero(finite == 0))
    if zeros == finite.size:
        text = "all 0"
    elif zeros:
        text += f", {100 * zeros / finite.size:.0f} % are 0"
    if finite.size < values.size:
        text += f", {values.size - finite.size:,} not finite"
    return text


def spaced(count: int, most: int) -> list[int]:
    """At most so many of 0 to count - 1, the first and the last among them."""
    if count <= most:
        return list(range(count))
    return [round(i * (count - 1) / (most - 1)) for i in range(most)]


def feature_maps(node: Node[Op], value: Array, *, most: int, names: Sequence[str] = ()) -> Sheet:
    """What a layer gives for one sample.

    Args:
        node: the layer.
        value: its value without the batch: channels, then 0 to 3 spatial axes.
        most: channels that are shown at most.
        names: of the channels, where they are classes.
    """
    title = f"{node.id}: {'values' if value.ndim == 1 else 'feature maps'}"
    shape = f"{node.op.key}, {show(value.shape)}"
    facts = f"{shape}; {summary(value)}"
    return draw(value, title=title, facts=facts, most=most, names=names)


def draw(
    value: Array,
    *,
    title: str,
    facts: str,
    most: int,
    names: Sequence[str] = (),
    what: str = "value",
) -> Sheet:
    """Channels, then 0 to 3 spatial axes, as bars, lines, pictures, or pictures of slices."""
    if value.ndim == 1:
        return bars(value, title=title, facts=facts, counted="unit", measured=what, names=names)
    channels = len(value)
    if value.ndim == 2:
        shown = range(min(channels, most, MOST_LINES))
        return lines(
            value[: len(shown)],
            title=title,
            facts=_of(facts, len(shown), channels, "channels"),
            counted="position",
            measured=what,
            names=[f"channel {i}" for i in shown],
        )
    scale = colours(value)
    if value.ndim == 4:
        depths = spaced(value.shape[1], MOST_DEPTHS)
        kept = min(channels, max(most // MOST_DEPTHS, 1) * 2)
        note = _of(facts, kept, channels, "channels")
        return tiles(
            [value[c, d] for c in range(kept) for d in depths],
            title=title,
            facts=_of(note, len(depths), value.shape[1], "slices of the depth"),
            scale=scale,
            columns=len(depths),
            bar=what,
            down=[str(c) for c in range(kept)],
            across=[str(d) for d in depths],
            axes_named=("channel", "depth"),
        )
    kept = min(channels, most)
    return tiles(
        list(value[:kept]),
        title=title,
        facts=_of(facts, kept, channels, "channels"),
        scale=scale,
        columns=_columns(kept, value.shape[1:]),
        bar=what,
        names=[str(c) for c in range(kept)],
        size=_size(kept),
    )


def filters(node: Node[Op], param: Param, value: Array, *, most: int) -> Sheet | None:
    """A parameter of at least two axes; None for a vector.

    A kernel over 1 or 3 input channels is a grey or colour picture for each filter; others are a
    grid of slices, a row for each filter, a column for each of its input channels.

    Args:
        node: the layer.
        param: the parameter.
        value: in canonical layout.
        most: filters that are shown at most.
    """
    if value.ndim < 2:
        return None
    title = f"{node.id}.{param.name}: filters"
    facts = f"{node.op.key}, {show(value.shape)}; {summary(value)}"
    if param.layout.startswith("IO"):  # of a transposed convolution
        value = value.swapaxes(0, 1)
    if value.ndim == 2:
        picture = _pictured(node, value)
        if picture is None:
            return _matrix(value, f"{node.id}.{param.name}: weights", facts)
        value = picture
    if value.ndim == 3:
        return _rows(value, title, facts, most)
    if value.ndim == 5:
        return _volumes(value, title, facts, most)
    if value.shape[1] == 3:
        return _coloured(value, title, facts, most)
    if value.shape[1] == 1:
        kept = min(len(value), most)
        return tiles(
            list(value[:kept, 0]),
            title=title,
            facts=_of(facts, kept, len(value), "filters"),
            scale=colours(value),
            columns=_columns(kept, value.shape[2:]),
            bar="weight",
            names=[str(i) for i in range(kept)],
            size=_size(kept),
        )
    rows, columns = min(len(value), most, 16), min(value.shape[1], 16)
    note = _of(facts, rows, len(value), "filters")
    return tiles(
        [value[o, i] for o in range(rows) for i in range(columns)],
        title=title,
        facts=_of(note, columns, value.shape[1], "input channels"),
        scale=colours(value),
        columns=columns,
        bar="weight",
        down=[str(o) for o in range(rows)],
        across=[str(i) for i in range(columns)],
        axes_named=("filter", "input channel"),
        size=0.5,
    )


def _pictured(node: Node[Op], value: Array) -> Array | None:
    """The weights of a dense layer that reads a flattened picture, as pictures; else None."""
    (before, *_) = node.inputs
    if not isinstance(before, Node) or before.op.key != "flatten" or len(node.inputs) > 1:
        return None
    shape = before.inputs[0].shape
    if len(shape) != 3 or shape[0] not in (1, 3) or math.prod(shape) != value.shape[1]:
        return None
    return value.reshape(len(value), *shape)


def _coloured(value: Array, title: str, facts: str, most: int) -> Sheet:
    """Three input channels as red, green and blue; grey is 0."""
    kept = min(len(value), most)
    largest = float(np.abs(value).max()) or 1.0
    planes = 0.5 + 0.5 * value[:kept].transpose(0, 2, 3, 1) / largest
    return tiles(
        list(planes),
        title=title,
        facts=_of(f"{facts}; red, green, blue; grey is 0", kept, len(value), "filters"),
        scale=None,
        columns=_columns(kept, value.shape[2:]),
        names=[str(i) for i in range(kept)],
        size=_size(kept),
    )


def _rows(value: Array, title: str, facts: str, most: int) -> Sheet:
    """Kernels over one axis: a picture for each filter, a row for each of its input channels."""
    kept = min(len(value), most)
    return tiles(
        list(value[:kept]),
        title=title,
        facts=_of(facts, kept, len(value), "filters"),
        scale=colours(value),
        columns=_columns(kept, value.shape[1:]),
        bar="weight",
        names=[str(i) for i in range(kept)],
        axes_named=("input channel", "position"),
        size=_size(kept),
    )


def _volumes(value: Array, title: str, facts: str, most: int) -> Sheet:
    """Kernels over three axes: a row for each filter, its slices for each input channel."""
    rows = min(len(value), most, 16)
    channels = min(value.shape[1], 4)
    depths = spaced(value.shape[2], 4)
    note = _of(facts, rows, len(value), "filters")
    note = _of(note, channels, value.shape[1], "input channels")
    return tiles(
        [value[o, i, d] for o in range(rows) for i in range(channels) for d in depths],
        title=title,
        facts=_of(note, len(depths), value.shape[2], "slices of the depth"),
        scale=colours(value),
        columns=channels * len(depths),
        bar="weight",
        down=[str(o) for o in range(rows)],
        across=[f"{i}.{d}" for i in range(channels) for d in depths],
        axes_named=("filter", f"input channel . {AXIS_NAMES[3][0]}"),
        size=0.5,
    )


def _matrix(value: Array, title: str, facts: str) -> Sheet:
    rows, columns = min(len(value), MOST_ROWS), min(value.shape[1], MOST_COLUMNS)
    note = _of(_of(facts, rows, len(value), "units"), columns, value.shape[1], "inputs")
    return tiles(
        [value[:rows, :columns]],
        title=title,
        facts=note,
        scale=colours(value),
        columns=1,
        bar="weight",
        axes_named=("unit", "input"),
        size=min(WIDEST - 3, max(3.0, 0.06 * max(rows, columns))),
    )


def _columns(count: int, shape: Sequence[int]) -> int:
    """Pictures in a row, so that the sheet is neither a tower nor a ribbon."""
    rows, columns = shape
    wide = _size(count) * columns / max(rows, columns) + 0.07
    most = max(int(7.6 / wide), 1)
    return min(most, max(math.ceil(math.sqrt(1.7 * count * rows / columns)), 1), count)


def _size(count: int) -> float:
    """Inches of a picture's longer side."""
    return 2.2 if count == 1 else 1.3 if count <= 8 else 0.9


def _of(facts: str, shown: int, all: int, what: str) -> str:
    return facts if shown == all else f"{facts}; {shown} of {all} {what} shown"


def grey(value: Array) -> Scale:
    """The colours of a picture of one channel."""
    finite = value[np.isfinite(value)]
    low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 1.0)
    return Scale(low, high if high > low else low + 1, "gray")
