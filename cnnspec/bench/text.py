"""A report as text, as Markdown, or as JSON."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence

from cnnspec.bench.results import STEPS, Report, Row

__all__ = ["render"]

MOST_LAYERS = 20
"""Rows of layers in a table; JSON has all."""
MIB = 2**20


def render(report: Report, form: str) -> str:
    """Tables of times, memory and layers.

    Args:
        report: of a run.
        form: `table`, `markdown` or `json`.
    """
    if form == "json":
        return json.dumps(report.as_json(), indent=2)
    lines = [_title(report), *report.notes]
    tables = [_times(report), _memory(report), _layers(report)]
    draw = _piped if form == "markdown" else _aligned
    for table in tables:
        if len(table) > 1:
            lines += ["", *draw(table)]
    lines += _faults(report)
    return "\n".join(lines)


def _title(report: Report) -> str:
    threads = f"{report.threads} thread{'' if report.threads == 1 else 's'}"
    product = f"; matrix products reach {report.product / 1e9:,.0f} GFLOP/s"
    return (
        f"{report.network}, batch {report.batch:,}, float32, {report.device}, {threads}"
        f"{product if report.product else ''}"
    )


def _times(report: Report) -> list[list[str]]:
    rows = [["", "back end", "time", "spread", "samples/s", "ratio", "GFLOP/s", "of products"]]
    for row in report.rows:
        time = row.time
        if time is None:
            continue
        rows.append(
            [
                row.step,
                row.backend,
                _seconds(time.median),
                f"{_seconds(time.low)} to {_seconds(time.high)}",
                f"{report.batch / time.median:,.0f}",
                f"{row.ratio:.2f}" if row.ratio else "",
                f"{row.flops / time.median / 1e9:,.1f}" if row.flops else "",
                _percent(row.share),
            ]
        )
    return rows


def _memory(report: Report) -> list[list[str]]:
    rows = [["memory", "back end", "before", "peak", "network", "predicted", "of peak"]]
    for row in report.rows:
        memory = row.memory
        if memory is None:
            continue
        told = ["", ""]
        if memory.predicted is not None:
            told = [_mib(memory.predicted), f"{memory.error:+.0%}"]
        rows.append(
            [
                row.step,
                row.backend,
                _mib(memory.base),
                _mib(memory.peak),
                _mib(memory.peak - memory.base),
                *told,
            ]
        )
    return rows


def _layers(report: Report) -> list[list[str]]:
    """The layers that take the most time, the slowest first."""
    timed = [layer for layer in report.layers if layer.seconds]
    names = list(dict.fromkeys(name for layer in timed for name in layer.seconds))
    shares = [name for name in names if any(name in layer.share for layer in timed)]
    timed.sort(key=lambda layer: -max(layer.seconds.values()))
    rows = [["layer", "op", *names, *(f"{name} of products" for name in shares)]]
    for layer in timed[:MOST_LAYERS]:
        times = [_seconds(layer.seconds[n]) if n in layer.seconds else "" for n in names]
        rows.append([layer.name, layer.op, *times, *(_percent(layer.share.get(n)) for n in shares)])
    rest = timed[MOST_LAYERS:]
    if rest:
        left = [_seconds(sum(layer.seconds.get(n, 0.0) for layer in rest)) for n in names]
        rows.append([f"{len(rest)} others", "", *left, *("" for _ in shares)])
    if timed:
        sums = [_seconds(sum(layer.seconds.get(n, 0.0) for layer in timed)) for n in names]
        rows.append(["sum", "", *sums, *("" for _ in shares)])
    return rows


def _faults(report: Report) -> Iterator[str]:
    failed: list[Row] = [row for row in report.rows if row.fault]
    for step in STEPS:
        for row in failed:
            if row.step == step:
                yield f"{row.backend}, {step}: failed: {row.fault}"


def _seconds(time: float) -> str:
    for unit, factor in (("s", 1.0), ("ms", 1e3)):
        if time * factor >= 1:
            return f"{_figures(time * factor)} {unit}"
    return f"{_figures(time * 1e6)} us"


def _figures(number: float) -> str:
    return f"{number:,.0f}" if number >= 100 else f"{number:.3g}"


def _percent(share: float | None) -> str:
    return "" if share is None else f"{share:.0%}"


def _mib(count: int) -> str:
    return f"{count / MIB:,.1f} MiB"


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(map(len, cells)) for cells in zip(*rows, strict=True)]
    return [
        "  ".join(
            cell.ljust(width) if number < 2 else cell.rjust(width)
            for number, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]


def _piped(rows: Sequence[Sequence[str]]) -> list[str]:
    header, *body = rows
    rule = ["---" if number < 2 else "---:" for number in range(len(header))]
    return [f"| {' | '.join(row)} |" for row in (header, rule, *body)]
