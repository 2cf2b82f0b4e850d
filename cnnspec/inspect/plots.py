"""Lines and bars, for values without rows and columns."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from cnnspec.inspect.drawing import (
    BOTTOM,
    INK,
    LEFT,
    SMALL,
    TEXT,
    TOP,
    Sheet,
    figure,
    png,
    whole_numbers,
)

__all__ = ["bars", "lines"]

Array = npt.NDArray[Any]

BLUE, RED, PLAIN = "#2f6db3", "#b3402f", "#31688e"
"""Below and above 0, as in pictures, and for numbers of one sign."""

NAMED = 24
"""Bars that have room for a name of their own."""


def bars(
    values: Array,
    *,
    title: str,
    facts: str,
    counted: str,
    measured: str,
    names: Sequence[str] = (),
) -> Sheet:
    """A bar for each number, lying where each has a name; of many a line.

    Args:
        values: (n,).
        title: first line.
        facts: second line.
        counted: what the numbers are of, such as "unit".
        measured: what they are.
        names: of each.
    """
    if names and len(values) <= NAMED:
        height = max(0.19 * len(values), 0.6)
        made = figure(6.0, TOP + height + BOTTOM, title, facts)
        across, down = made.get_size_inches()
        left = min(0.5 + 0.07 * max(map(len, names)), 3.0)
        axes = made.add_axes(
            (left / across, BOTTOM / down, 1 - (left + 0.4) / across, height / down)
        )
        axes.barh(range(len(values)), values, color=_by_sign(values), height=0.75)
        axes.set_yticks(range(len(values)), names, **TEXT)
        axes.set_ylim(len(values) - 0.4, -0.6)
        axes.axvline(0, color=INK, linewidth=0.6)
        axes.set_xlabel(measured, size=SMALL)
        axes.set_ylabel(counted, size=SMALL)
    else:
        made = figure(8.0, TOP + 1.7 + BOTTOM, title, facts)
        across, down = made.get_size_inches()
        axes = made.add_axes((LEFT / across, BOTTOM / down, 1 - (LEFT + 0.3) / across, 1.7 / down))
        if len(values) <= 256:
            axes.bar(range(len(values)), values, color=_by_sign(values), width=0.8)
        else:
            axes.plot(values, color=PLAIN, linewidth=0.7)
        axes.axhline(0, color=INK, linewidth=0.6)
        axes.set_xlim(-0.7, len(values) - 0.3)
        axes.set_xlabel(counted, size=SMALL)
        axes.set_ylabel(measured, size=SMALL)
        whole_numbers(axes.xaxis)
    _plain(axes)
    return Sheet(png(made), title, facts)


def lines(
    rows: Array,
    *,
    title: str,
    facts: str,
    counted: str,
    measured: str,
    names: Sequence[str],
    own: bool = False,
) -> Sheet:
    """A small plot of each row over its positions.

    Args:
        rows: (n, positions).
        title: first line.
        facts: second line.
        counted: what the positions are.
        measured: what the numbers are.
        names: of each row.
        own: whether each has a vertical axis of its own; else all have the same.
    """
    columns = 1 if own or len(rows) <= 3 else 2 if len(rows) <= 8 else 4
    count = math.ceil(len(rows) / columns)
    wide, high, gap = 8.4 / columns - 0.25, 0.95 if columns < 4 else 0.7, 0.28
    made = figure(9.6, TOP + count * (high + gap) + BOTTOM, title, facts)
    across, down = made.get_size_inches()
    for number, row in enumerate(rows):
        line, column = divmod(number, columns)
        left = LEFT + column * (wide + 0.25)
        top = TOP + gap / 2 + line * (high + gap)
        axes = made.add_axes((left / across, 1 - (top + high) / down, wide / across, high / down))
        axes.plot(
            row, color=PLAIN, linewidth=0.9, marker="." if len(row) <= 40 else "", markersize=3
        )
        axes.axhline(0, color="#999999", linewidth=0.5)
        axes.set_ylim(*_limits(row if own else rows))
        axes.set_xlim(-0.5, len(row) - 0.5)
        axes.set_title(names[number], size=SMALL, loc="left", pad=2, **TEXT)
        _plain(axes)
        if column:
            axes.tick_params(labelleft=False)
        if number + columns < len(rows):
            axes.tick_params(labelbottom=False)
        else:
            axes.set_xlabel(counted, size=SMALL)
        if column == 0 and line == (count - 1) // 2:
            axes.set_ylabel(measured, size=SMALL)
        whole_numbers(axes.xaxis)
    return Sheet(png(made), title, facts)


def _limits(values: Array) -> tuple[float, float]:
    finite = values[np.isfinite(values)]
    low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 1.0)
    margin = 0.06 * ((high - low) or abs(low) or 1.0)
    return low - margin, high + margin


def _by_sign(values: Array) -> list[str]:
    if not (values < 0).any():
        return [PLAIN] * len(values)
    return [BLUE if value < 0 else RED for value in values]


def _plain(axes: Any) -> None:
    axes.tick_params(labelsize=SMALL, colors=INK, length=2)
    axes.yaxis.get_offset_text().set_fontsize(SMALL)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
