"""The curves of a run as one picture: how costs grow."""

from __future__ import annotations

import io
from collections.abc import Sequence

from benchmarks.harness import Curve

COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")
"""Okabe and Ito's, which people who see few colours can tell apart."""


def picture(curves: Sequence[Curve]) -> bytes:
    """A PNG file with a chart for each title, both axes logarithmic."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    titles = list(dict.fromkeys(curve.chart for curve in curves))
    rows = (len(titles) + 1) // 2
    figure = Figure(figsize=(12, 4.2 * rows), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(rows, 2, squeeze=False).ravel()
    for one, title in zip(axes, titles, strict=False):
        drawn = [curve for curve in curves if curve.chart == title]
        for color, curve in zip(COLORS, drawn, strict=False):
            one.loglog(*zip(*curve.points, strict=True), color=color, marker="o", label=curve.name)
        one.set(title=title, xlabel=drawn[0].x, ylabel=drawn[0].y)
        one.grid(color="#ddd", which="both", linewidth=0.5)
        one.legend(fontsize=8)
    for one in axes[len(titles) :]:
        one.set_visible(False)
    stream = io.BytesIO()
    figure.savefig(stream, format="png", dpi=100)
    return stream.getvalue()
