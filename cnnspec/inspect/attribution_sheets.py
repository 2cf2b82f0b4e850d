"""Sheets of an input, of its saliency and of what covering a part of it changes."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from cnnspec.inspect.attribution import Occlusion, Saliency
from cnnspec.inspect.drawing import (
    LEFT,
    SMALL,
    TEXT,
    TOP,
    Scale,
    Sheet,
    colour_bar,
    colours,
    figure,
    png,
    tiles,
    whole_numbers,
)
from cnnspec.inspect.maps import grey, spaced, summary
from cnnspec.inspect.plots import bars, lines
from cnnspec.ops.base import show

__all__ = ["input_sheet", "occlusion_sheet", "saliency_sheet"]

Array = npt.NDArray[Any]

SIDE = 2.6
"""Inches of the longer side of a picture."""
MOST_CHANNELS = 6
MOST_DEPTHS = 8


def input_sheet(name: str, value: Array) -> Sheet:
    """One sample of an input, (channels, ...), as the network gets it."""
    facts = f"input, {show(value.shape)}; {summary(value)}"
    if value.ndim == 1:
        return bars(value, title=name, facts=facts, counted="feature", measured="value")
    if value.ndim == 2:
        shown = value[:MOST_CHANNELS]
        names = [f"channel {i}" for i in range(len(shown))]
        return lines(
            shown, title=name, facts=facts, counted="position", measured="value", names=names
        )
    if value.ndim == 4:
        return _slices(
            value.mean(axis=0), name, f"{facts}; mean of the channels", grey(value), "value"
        )
    return _panels(name, facts, [_picture(value)])


def saliency_sheet(name: str, value: Array, found: Saliency, named: str) -> Sheet:
    """The gradient of a class's score, beside the input.

    Args:
        name: of the input.
        value: the sample, (channels, ...).
        found: the gradients.
        named: the class.
    """
    gradient = found.gradients[name]
    what = "logit" if found.logit else "score"
    title = f"Saliency: what the {what} of {named} depends on"
    facts = f"gradient with respect to `{name}`; {what} {found.score:.4g}; {summary(gradient)}"
    label = f"d {what} / d input"
    if value.ndim == 1:
        return bars(gradient, title=title, facts=facts, counted="feature", measured=label)
    if value.ndim == 2:
        rows = np.concatenate([value[:MOST_CHANNELS], gradient[:MOST_CHANNELS]])
        channels = range(len(rows) // 2)
        names = [f"channel {i}" for i in channels] + [f"gradient of channel {i}" for i in channels]
        return _lines_apart(rows, title, facts, names, label)
    size = np.abs(gradient).max(axis=0)
    if value.ndim == 4:
        return _slices(
            size, title, f"{facts}; largest of the channels", colours(size), f"|{label}|"
        )
    product = (gradient * value).sum(axis=0)
    several = len(value) > 1
    return _panels(
        title,
        facts,
        [
            _picture(value),
            Panel(
                size,
                "size of the gradient" + (", largest of the channels" if several else ""),
                colours(size, positive="magma"),
                f"|{label}|",
            ),
            Panel(
                product,
                "gradient x input" + (", summed over the channels" if several else ""),
                colours(product),
                "red: for the class, blue: against it",
            ),
        ],
    )


def occlusion_sheet(name: str, value: Array, found: Occlusion, named: str) -> Sheet:
    """How a class's probability falls where a patch covers the input.

    Args:
        name: of the input.
        value: the sample, (channels, ...).
        found: the falls.
        named: the class.
    """
    fall, patch = found.fall[name], found.patch[name]
    what = "probability" if found.probability else "score"
    title = f"Occlusion: where covering `{name}` lowers the {what} of {named}"
    facts = (
        f"{what} {found.before:.4g} with nothing covered; patches of {show(patch)} of the mean "
        f"value; fall: {summary(fall)}"
    )
    label = f"fall of the {what}"
    if value.ndim == 1:
        return bars(fall, title=title, facts=facts, counted="feature covered", measured=label)
    if value.ndim == 2:
        rows = np.concatenate([value[:MOST_CHANNELS], fall[None]])
        names = [f"channel {i}" for i in range(len(rows) - 1)] + [label]
        return _lines_apart(rows, title, facts, names, label)
    if value.ndim == 4:
        return _slices(fall, title, facts, colours(fall), label)
    shown = _picture(value)
    scale = colours(fall, positive="Reds")
    return _panels(
        title,
        facts,
        [
            Panel(shown.pixels, "the input, and one patch", shown.scale, shown.bar, patch=patch),
            Panel(fall, "fall, where a patch covers", scale, label),
            Panel(fall, "the same over the input", scale, "", under=shown),
        ],
    )


class Panel:
    """One large picture of a sheet: pixels (rows, columns) or (rows, columns, 3), and its colours.

    `patch` is drawn as a frame in the upper left corner; `under` is a picture that is seen through
    this one.
    """

    def __init__(
        self,
        pixels: Array,
        title: str,
        scale: Scale | None,
        bar: str,
        *,
        patch: tuple[int, ...] = (),
        under: Panel | None = None,
    ) -> None:
        self.pixels, self.title, self.scale, self.bar = pixels, title, scale, bar
        self.patch, self.under = patch, under


def _picture(value: Array) -> Panel:
    """The input: grey, in colours, or the mean of its channels."""
    if len(value) == 3:
        low, high = float(value.min()), float(value.max())
        pixels = (value - low) / ((high - low) or 1.0)
        return Panel(pixels.transpose(1, 2, 0), "the input", None, "")
    several = len(value) > 1
    plane = value.mean(axis=0)
    title = "the input" + (", mean of its channels" if several else "")
    return Panel(plane, title, grey(plane), "value")


def _panels(title: str, facts: str, panels: list[Panel]) -> Sheet:
    from matplotlib.patches import Rectangle

    rows, columns = panels[0].pixels.shape[:2]
    unit = SIDE / max(rows, columns)
    height, width = max(rows * unit, 0.3), max(columns * unit, 0.3)
    room = max(width + 1.1, 2.9)
    made = figure(LEFT + len(panels) * room, TOP + 0.25 + height + 0.6, title, facts)
    across, down = made.get_size_inches()
    for number, panel in enumerate(panels):
        left, top = LEFT + number * room, TOP + 0.25
        axes = made.add_axes(
            (left / across, 1 - (top + height) / down, width / across, height / down)
        )
        if panel.under is not None:
            _show(axes, panel.under.pixels, panel.under.scale)
        _show(axes, panel.pixels, panel.scale, veil=panel.under is not None)
        if panel.patch:
            high, wide = panel.patch
            axes.add_patch(
                Rectangle((-0.5, -0.5), wide, high, facecolor="none", edgecolor="#e05040", lw=1.6)
            )
        axes.set_title(panel.title, size=SMALL + 1, pad=4, loc="left", **TEXT)
        axes.tick_params(labelsize=SMALL, length=2)
        axes.set_xlabel("column", size=SMALL)
        if number == 0:
            axes.set_ylabel("row", size=SMALL)
        for axis in (axes.xaxis, axes.yaxis):
            whole_numbers(axis)
        if panel.scale is not None and panel.bar:
            place = (left + width + 0.1, top, height)
            colour_bar(made, panel.scale, place, panel.bar)
    return Sheet(png(made), title, facts)


def _show(axes: Any, pixels: Array, scale: Scale | None, *, veil: bool = False) -> None:
    """Pixels in their colours; as a veil the more opaque, the further from 0."""
    style: dict[str, Any] = {}
    if scale is not None:
        style = {"cmap": scale.map, "vmin": scale.low, "vmax": scale.high}
    if veil:
        size = np.abs(np.nan_to_num(pixels))
        style["alpha"] = 0.9 * size / (size.max() or 1.0)
    shown = np.ma.masked_invalid(pixels)
    axes.imshow(shown, interpolation="nearest", aspect="auto", **style)


def _slices(volume: Array, title: str, facts: str, scale: Scale, bar: str) -> Sheet:
    """Some depths of (depth, rows, columns)."""
    depths = spaced(len(volume), MOST_DEPTHS)
    some = "" if len(depths) == len(volume) else f"; {len(depths)} of {len(volume)} depths shown"
    return tiles(
        [volume[d] for d in depths],
        title=title,
        facts=facts + some,
        scale=scale,
        columns=4,
        bar=bar,
        names=[f"depth {d}" for d in depths],
        size=1.5,
    )


def _lines_apart(rows: Array, title: str, facts: str, names: list[str], label: str) -> Sheet:
    """Plots below each other, each with a scale of its own."""
    return lines(
        rows, title=title, facts=facts, counted="position", measured="", names=names, own=True
    )
