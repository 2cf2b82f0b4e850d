"""Sheets of small pictures with axes, titles and a colour bar, drawn with matplotlib.

Pyplot is left alone: it keeps figures in a state of the whole process. Positions on a sheet are
inches from its upper left corner, so that many pictures share one pair of axes.
"""

from __future__ import annotations

import io
import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from cnnspec.diagnostics import Diagnostic, SetupError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = [
    "Scale",
    "Sheet",
    "colour_bar",
    "colours",
    "figure",
    "png",
    "require_drawing",
    "tiles",
    "whole_numbers",
]

Array = npt.NDArray[Any]

DPI = 110
WIDEST = 9.6
"""Inches of a sheet, without margins."""
LEFT, TOP, BOTTOM, RIGHT = 0.85, 0.72, 0.62, 1.15
SMALL, PLAIN, LARGE = 7, 8.5, 11
TEXT: dict[str, Any] = {"parse_math": False}
"""Names are text: a `$` in them starts no formula."""

INK, FAINT = "#222222", "#666666"


def require_drawing() -> None:
    """Ask, before long work, whether pictures can be drawn.

    Raises:
        SetupError: matplotlib cannot be imported.
    """
    try:
        import matplotlib.figure  # noqa: F401 - for whether it can be
    except ImportError as fault:
        raise SetupError(
            Diagnostic(
                "extra-missing",
                "pictures are drawn with matplotlib, which cannot be imported",
                notes=(str(fault),),
                help="pip install 'cnnspec[inspect]'",
            )
        ) from fault


@dataclass(frozen=True, slots=True)
class Scale:
    """What colours mean: the numbers at both ends, and the colour map between them."""

    low: float
    high: float
    map: str


def colours(values: Array, *, positive: str = "viridis", signed: str = "RdBu_r") -> Scale:
    """Colours for numbers: with a white 0 in the middle where some are negative, else from 0 on."""
    finite = values[np.isfinite(values)]
    low = float(finite.min()) if finite.size else 0.0
    high = float(finite.max()) if finite.size else 0.0
    if low < 0:
        most = max(-low, high)
        return Scale(-most, most, signed)
    return Scale(0.0, high or 1.0, positive)


def figure(width: float, height: float, title: str, facts: str) -> Figure:
    """An empty figure with a title and a line of facts below it, wide enough for both.

    Args:
        width: inches, at least.
        height: inches.
        title: first line.
        facts: second line.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    width = max(width, 0.093 * len(title) + 0.3, 0.066 * len(facts) + 0.3)
    made = Figure(figsize=(width, height), dpi=DPI, facecolor="white")
    FigureCanvasAgg(made)
    left = 0.14 / width
    made.text(left, 1 - 0.26 / height, title, size=LARGE, weight="bold", va="center", **TEXT)
    made.text(left, 1 - 0.47 / height, facts, size=PLAIN, color=FAINT, va="center", **TEXT)
    return made


def png(made: Figure) -> bytes:
    """The figure as a PNG file; equal figures give equal bytes."""
    buffer = io.BytesIO()
    with warnings.catch_warnings():  # a sign that the font lacks becomes a box
        warnings.filterwarnings("ignore", message="Glyph")
        made.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()


@dataclass(frozen=True, slots=True)
class Sheet:
    """A drawn picture.

    Attributes:
        png: the file.
        title: what it shows, in a few words.
        facts: shape, range and how much of it is shown.
    """

    png: bytes
    title: str
    facts: str


def colour_bar(made: Figure, scale: Scale, place: tuple[float, float, float], label: str) -> None:
    """A colour bar at (left, top, height) inches."""
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize

    width, total = made.get_size_inches()
    left, top, height = place
    axes = made.add_axes((left / width, 1 - (top + height) / total, 0.14 / width, height / total))
    bar = made.colorbar(ScalarMappable(Normalize(scale.low, scale.high), scale.map), cax=axes)
    bar.ax.tick_params(labelsize=SMALL, colors=INK, length=2)
    bar.ax.yaxis.get_offset_text().set_fontsize(SMALL)
    bar.set_label(label, size=SMALL, color=INK)
    bar.outline.set_linewidth(0.5)


def paper(made: Figure, width: float, height: float) -> Axes:
    """Axes in inches, y downwards, `width` by `height`, below the title."""
    across, down = made.get_size_inches()
    axes = made.add_axes((LEFT / across, 1 - (TOP + height) / down, width / across, height / down))
    axes.set_xlim(0, width)
    axes.set_ylim(height, 0)
    for spine in axes.spines.values():
        spine.set_visible(False)
    axes.tick_params(labelsize=SMALL, colors=INK, length=2)
    return axes


def tiles(
    planes: Sequence[Array],
    *,
    title: str,
    facts: str,
    scale: Scale | None,
    columns: int,
    bar: str = "",
    names: Sequence[str] = (),
    down: Sequence[str] = (),
    across: Sequence[str] = (),
    axes_named: tuple[str, str] = ("row", "column"),
    size: float = 0.95,
) -> Sheet:
    """A grid of pictures of one size, in reading order, all in one scale of colours.

    Without `down` and `across` the axes count the pixels of the lower left picture.

    Args:
        planes: (rows, columns) each, or (rows, columns, 3) in [0, 1].
        title: first line.
        facts: second line.
        scale: of the colours; None for colour pictures.
        columns: pictures in a row.
        bar: what the colour bar counts.
        names: of each picture, above it.
        down: of each row of the grid.
        across: of each column of the grid.
        axes_named: what the axes count.
        size: inches of the longer side of a picture.
    """
    pixels = planes[0].shape[:2]
    unit = size / max(pixels)
    # Of a very long and flat picture the short side still has to be seen.
    height, width = (max(count * unit, 0.12) for count in pixels)
    above = 0.17 if names else 0.06
    step = height + above, width + 0.07
    grid = math.ceil(len(planes) / columns), min(columns, len(planes))
    area = max(grid[1] * step[1], 0.6), max(grid[0] * step[0], 0.6)
    bar_height = 0.0 if scale is None else min(max(area[1], 1.0), 2.4)
    made = figure(
        LEFT + area[0] + (RIGHT if scale else 0.3),
        TOP + max(area[1], bar_height) + BOTTOM,
        title,
        facts,
    )
    axes = paper(made, *area)
    style: dict[str, Any] = {}
    if scale is not None:
        style = {"cmap": scale.map, "vmin": scale.low, "vmax": scale.high}
    for number, plane in enumerate(planes):
        row, column = divmod(number, columns)
        left, top = column * step[1], row * step[0] + above
        axes.imshow(
            np.ma.masked_invalid(plane),
            extent=(left, left + width, top + height, top),
            interpolation="nearest",
            aspect="auto",
            **style,
        )
        _frame(axes, left, top, width, height)
        if names:
            middle = left + width / 2
            axes.text(middle, top - 0.03, names[number], size=SMALL, ha="center", **TEXT)
    axes.set_xlim(0, area[0])
    axes.set_ylim(area[1], 0)
    if down or across:
        axes.set_yticks([above + i * step[0] + height / 2 for i in range(len(down))], down, **TEXT)
        axes.set_xticks([i * step[1] + width / 2 for i in range(len(across))], across, **TEXT)
    else:
        top = (grid[0] - 1) * step[0] + above
        _count(axes.yaxis, top, height, pixels[0])
        _count(axes.xaxis, 0.0, width, pixels[1])
    named = bool(down or across)
    axes.set_xlabel(axes_named[1], size=SMALL, loc="center" if named else "left", **TEXT)
    axes.set_ylabel(axes_named[0], size=SMALL, loc="center" if named else "bottom", **TEXT)
    if scale is not None:
        colour_bar(made, scale, (LEFT + area[0] + 0.15, TOP, bar_height), bar)
    return Sheet(png(made), title, facts)


def whole_numbers(axis: Any) -> None:
    """A few ticks, at whole numbers."""
    from matplotlib.ticker import MaxNLocator

    axis.set_major_locator(MaxNLocator(nbins=8, integer=True))


def _frame(axes: Axes, left: float, top: float, width: float, height: float) -> None:
    from matplotlib.patches import Rectangle

    axes.add_patch(
        Rectangle((left, top), width, height, fill=False, edgecolor="#999999", linewidth=0.4)
    )


def _count(axis: Any, start: float, length: float, pixels: int) -> None:
    """Ticks in the middle of the first and last pixel."""
    one = length / pixels
    ends = {0: start + one / 2, pixels - 1: start + length - one / 2}
    axis.set_ticks(list(ends.values()), [str(number) for number in ends])
