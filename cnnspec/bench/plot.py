"""A report as a picture: time and memory of each back end, and the time of each layer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from cnnspec.bench.results import STEPS, Report
from cnnspec.inspect.drawing import FAINT, PLAIN, SMALL, TEXT, figure, png

__all__ = ["picture"]

COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")
"""Okabe and Ito's, which people who see few colours can tell apart."""
MOST_LAYERS = 30
MIB = 2**20


def picture(report: Report) -> bytes:
    """A PNG file.

    Raises:
        SetupError: matplotlib cannot be imported.
    """
    layers = [layer for layer in report.layers if layer.seconds]
    layers = sorted(layers, key=lambda layer: -max(layer.seconds.values()))[:MOST_LAYERS]
    tall = 0.55 + (0.19 * len(layers) + 0.9 if layers else 0.0)
    height = 3.6 + tall
    facts = (
        f"batch {report.batch:,}, float32, {report.device}, threads: {report.threads}, "
        f"matrix products {report.product / 1e9:,.0f} GFLOP/s"
    )
    made = figure(9.6, height, f"cnnspec bench: {report.network}", facts)
    width = float(made.get_size_inches()[0])
    top = (height - 3.3) / height
    names = list(dict.fromkeys(row.backend for row in report.rows))
    half = made.add_axes((0.11, top, 0.36, 2.3 / height))
    _bars(
        half,
        "milliseconds of a batch",
        names,
        [[_of(report, name, step, "time") for step in STEPS] for name in names],
    )
    other = made.add_axes((0.60, top, 0.36, 2.3 / height))
    _bars(
        other,
        "MiB that the network adds to its process",
        names,
        [[_of(report, name, step, "memory") for step in STEPS] for name in names],
    )
    _predictions(other, report, names)
    other.legend(loc="upper left", fontsize=SMALL, frameon=False)
    if layers:
        axes = made.add_axes((2.6 / width, 0.5 / height, 1 - 3.0 / width, (tall - 1.15) / height))
        _layers(axes, layers, names)
    return png(made)


def _of(report: Report, name: str, step: str, what: str) -> float:
    row = next((r for r in report.rows if r.backend == name and r.step == step), None)
    if row is None:
        return 0.0
    if what == "time":
        return 0.0 if row.time is None else 1e3 * row.time.median
    return 0.0 if row.memory is None else (row.memory.peak - row.memory.base) / MIB


def _bars(axes: Any, title: str, names: Sequence[str], values: Sequence[Sequence[float]]) -> None:
    wide = 0.8 / max(1, len(names))
    for number, (name, row) in enumerate(zip(names, values, strict=True)):
        places = [i + (number - (len(names) - 1) / 2) * wide for i in range(len(row))]
        color = COLORS[number % len(COLORS)]
        bars = axes.bar(places, row, 0.92 * wide, color=color, label=name)
        axes.bar_label(bars, [_figures(v) for v in row], fontsize=SMALL, padding=1)
    axes.set_xticks(range(len(STEPS)), STEPS, fontsize=PLAIN)
    axes.set_title(title, fontsize=PLAIN, loc="left", **TEXT)
    axes.margins(y=0.16)
    _plain(axes)


def _figures(value: float) -> str:
    if not value:
        return ""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _predictions(axes: Any, report: Report, names: Sequence[str]) -> None:
    """A line across each bar at what the counts say."""
    wide = 0.8 / max(1, len(names))
    label: str | None = "predicted"
    for row in report.rows:
        if row.memory is None or row.memory.predicted is None:
            continue
        place = STEPS.index(row.step) + (names.index(row.backend) - (len(names) - 1) / 2) * wide
        level = row.memory.predicted / MIB
        axes.plot(
            (place - 0.5 * wide, place + 0.5 * wide),
            (level, level),
            color="black",
            linewidth=1.5,
            linestyle=":",
            label=label,
        )
        label = None


def _layers(axes: Any, layers: Sequence[Any], names: Sequence[str]) -> None:
    thick = 0.8 / max(1, len(names))
    for number, name in enumerate(names):
        places = [i + (number - (len(names) - 1) / 2) * thick for i in range(len(layers))]
        times = [1e3 * layer.seconds.get(name, 0.0) for layer in layers]
        axes.barh(places, times, 0.92 * thick, color=COLORS[number % len(COLORS)])
    axes.set_yticks(range(len(layers)), [layer.name for layer in layers], fontsize=SMALL, **TEXT)
    axes.set_ylim(len(layers) - 0.4, -0.6)
    axes.set_xlabel("milliseconds of each layer by itself, in inference", fontsize=SMALL)
    _plain(axes)


def _plain(axes: Any) -> None:
    axes.tick_params(labelsize=SMALL, colors=FAINT, length=2)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
