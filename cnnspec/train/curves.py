"""The curves of a run as a page that needs nothing but itself, and as a picture."""

from __future__ import annotations

import io
from collections.abc import Sequence
from html import escape

from cnnspec.train.chart import Chart, charts, ticks
from cnnspec.train.metrics import Epoch

__all__ = ["page", "picture"]

COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")
"""Okabe and Ito's, which people who see few colours can tell apart."""

WIDTH, HEIGHT = 640, 328
LEFT, RIGHT, TOP, BOTTOM = 76, 16, 12, 52

STYLE = """\
body { font: 16px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 1340px; padding: 0 1rem;
  color: #1a1a1a; background: #fff; }
figure { display: inline-block; margin: 0 0 1.5rem; max-width: 640px; vertical-align: bottom; }
figcaption { margin-left: 76px; } figcaption b { font-size: 17px; margin-right: .5rem; }
figcaption span { margin-left: 1rem; white-space: nowrap; }
figcaption i { display: inline-block; width: 12px; height: 12px; margin-right: 6px; }
svg { max-width: 100%; height: auto; }
text { font: 13px system-ui, sans-serif; fill: #1a1a1a; }
.grid { stroke: #ddd; } .axis { stroke: #555; }
div { overflow-x: auto; } table { border-collapse: collapse; }
th, td { padding: .2rem .8rem; text-align: right; }
th { border-bottom: 1px solid #555; }
"""


def page(title: str, history: Sequence[Epoch]) -> str:
    """An HTML page with a drawing for each chart and a table of the last epochs; no scripts.

    Args:
        title: of the run.
        history: its epochs; without any it says so.
    """
    drawings = "\n".join(_figure(chart) for chart in charts(history))
    body = f"{drawings}\n{_table(history)}" if history else "<p>No epoch is complete yet.</p>"
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f"<title>{escape(title)}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n"
        f"<h1>{escape(title)}</h1>\n{body}\n</body>\n</html>\n"
    )


def picture(title: str, history: Sequence[Epoch]) -> bytes:
    """The same charts as a PNG file.

    Raises:
        ImportError: matplotlib is not installed.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    drawn = charts(history)
    rows = (len(drawn) + 1) // 2
    figure = Figure(figsize=(12, 4.2 * rows + 0.5), layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(title.replace("$", r"\$"))  # which would begin a formula
    axes = figure.subplots(rows, 2, squeeze=False).ravel()
    for one, chart in zip(axes, drawn, strict=False):
        for color, curve in zip(_colors(chart), chart.curves, strict=True):
            one.plot(*zip(*curve.points, strict=True), color=color, marker=_marker(chart))
        one.set(title=chart.title, xlabel="epoch", ylabel=chart.axis)
        one.legend([curve.name.replace("$", r"\$") for curve in chart.curves])
        one.xaxis.set_major_locator(MaxNLocator(integer=True))
        one.grid(color="#ddd")
    for one in axes[len(drawn) :]:
        one.set_visible(False)
    stream = io.BytesIO()
    figure.savefig(stream, format="png", dpi=100, metadata={"Software": "cnnspec"})
    return stream.getvalue()


def _colors(chart: Chart) -> list[str]:
    return [COLORS[i % len(COLORS)] for i in range(len(chart.curves))]


def _marker(chart: Chart) -> str:
    """Of few points each one is marked; a single one would not be seen otherwise."""
    return "o" if max(len(curve.points) for curve in chart.curves) <= 30 else ""


def _figure(chart: Chart) -> str:
    legend = "".join(
        f'<span><i style="background: {color}"></i>{escape(curve.name)}</span>'
        for color, curve in zip(_colors(chart), chart.curves, strict=True)
    )
    head = f"<figcaption><b>{escape(chart.title)}</b> {legend}</figcaption>"
    return f"<figure>{head}\n{_svg(chart)}</figure>"


def _svg(chart: Chart) -> str:
    points = [point for curve in chart.curves for point in curve.points]
    first, last = min(x for x, _ in points), max(x for x, _ in points)
    rows = ticks(min(y for _, y in points), max(y for _, y in points))
    columns = [x for x in ticks(first, last, 8) if x == int(x) and first <= x <= last]

    def across(x: float) -> float:
        share = (x - first) / (last - first) if last > first else 0.5
        return LEFT + share * (WIDTH - LEFT - RIGHT)

    def down(y: float) -> float:
        share = (y - rows[0]) / (rows[-1] - rows[0])
        return HEIGHT - BOTTOM - share * (HEIGHT - TOP - BOTTOM)

    bottom, right = HEIGHT - BOTTOM, WIDTH - RIGHT
    parts = [
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}" role="img" '
        f'aria-label="{escape(chart.title)} over epochs" xmlns="http://www.w3.org/2000/svg">',
    ]
    for y in rows:
        parts += [
            f'<line class="grid" x1="{LEFT}" x2="{right}" y1="{down(y):.1f}" y2="{down(y):.1f}"/>',
            f'<text x="{LEFT - 8}" y="{down(y) + 4:.1f}" text-anchor="end">{y:.6g}</text>',
        ]
    for x in columns or [first]:
        parts.append(
            f'<text x="{across(x):.1f}" y="{bottom + 20}" text-anchor="middle">{x:.0f}</text>'
        )
    parts += [
        f'<path class="axis" fill="none" d="M{LEFT} {TOP}V{bottom}H{right}"/>',
        f'<text x="{(LEFT + right) / 2}" y="{HEIGHT - 10}" text-anchor="middle">epoch</text>',
        f'<text transform="translate(16 {(TOP + bottom) / 2}) rotate(-90)" '
        f'text-anchor="middle">{escape(chart.axis)}</text>',
    ]
    for color, curve in reversed(list(zip(_colors(chart), chart.curves, strict=True))):
        line = " ".join(f"{across(x):.1f},{down(y):.1f}" for x, y in curve.points)
        parts.append(f'<polyline fill="none" stroke="{color}" stroke-width="2" points="{line}"/>')
        if _marker(chart):
            parts += [
                f'<circle cx="{across(x):.1f}" cy="{down(y):.1f}" r="3" fill="{color}"/>'
                for x, y in curve.points
            ]
    return "\n".join([*parts, "</svg>"])


MOST_ROWS = 100


def _table(history: Sequence[Epoch]) -> str:
    names = list(history[0].values())
    head = "".join(f"<th>{escape(name)}</th>" for name in names)
    lines = [
        "<tr>" + "".join(f"<td>{_cell(row[name])}</td>" for name in names) + "</tr>"
        for row in (epoch.values() for epoch in history[-MOST_ROWS:])
    ]
    return f"<div><table>\n<tr>{head}</tr>\n" + "\n".join(lines) + "\n</table></div>"


def _cell(value: float | None) -> str:
    return "" if value is None else str(value) if isinstance(value, int) else f"{value:.6g}"
