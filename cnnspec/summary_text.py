"""A summary as a table, JSON, Markdown or CSV."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from cnnspec.ops.base import show
from cnnspec.receptive_field import Reach
from cnnspec.summary import DTYPES, Counts, LayerSummary, Summary, sees_everything

Form = Literal["table", "json", "markdown", "csv"]

DEFAULT_COLUMNS = ("layer", "op", "output", "parameters", "macs", "field")

MOST_WIDTH = 100
"""A wider table is without its last column, unless columns were asked for."""


@dataclass(frozen=True, slots=True)
class Column:
    """A column of the table.

    Attributes:
        header: above it; its key is what `--columns` and the first line of a CSV file call it.
        cell: of a layer; a number, or a text.
    """

    header: str
    cell: Callable[[LayerSummary, Summary], int | str]


def _op(layer: LayerSummary, summary: Summary) -> str:
    return layer.op if layer.shares is None else f"{layer.op} (shares {layer.shares})"


def _field(layer: LayerSummary, summary: Summary) -> str:
    """The extent of what an element sees, `whole` for all there is, `<=` where it differs."""
    if sees_everything(layer, dict(summary.inputs)):
        return "whole"
    uneven = any(r is not None and r.jump is None for axes in layer.fields.values() for r in axes)
    return ("<=" if uneven else "") + _axes(layer, lambda reach: str(reach.size))


def _stride(layer: LayerSummary, summary: Summary) -> str:
    return _axes(
        layer, lambda reach: "differs" if reach.jump is None else str(reach.jump), joint=True
    )


def _offset(layer: LayerSummary, summary: Summary) -> str:
    return _axes(layer, lambda reach: str(reach.start), joint=True)


def _axes(layer: LayerSummary, part: Callable[[Reach], str], *, joint: bool = False) -> str:
    """One number for each axis (a single one where `joint` and equal), for each different input."""
    told: dict[str, None] = {}
    for axes in layer.fields.values():
        numbers = ["?" if reach is None else part(reach) for reach in axes]
        told["x".join(numbers[:1] if joint and len(set(numbers)) == 1 else numbers)] = None
    return ", ".join(told)


def _count(name: str) -> Callable[[LayerSummary, Summary], int]:
    def cell(layer: LayerSummary, summary: Summary) -> int:
        value = getattr(layer, name)
        assert isinstance(value, int)
        return value

    return cell


COLUMNS: Mapping[str, Column] = {
    "layer": Column("layer", lambda layer, summary: layer.name),
    "op": Column("op", _op),
    "output": Column("output", lambda layer, summary: show(layer.shape)),
    "layers": Column("layers", _count("layers")),
    "elements": Column("elements", _count("elements")),
    "parameters": Column("parameters", _count("parameters")),
    "trainable": Column("trainable", _count("trainable")),
    "non_trainable": Column("other", _count("non_trainable")),
    "running_statistics": Column("statistics", _count("running_statistics")),
    "macs": Column("MACs", _count("macs")),
    "flops": Column("FLOPs", _count("flops")),
    "other_ops": Column("other ops", _count("other_ops")),
    "field": Column("field", _field),
    "stride": Column("stride", _stride),
    "offset": Column("offset", _offset),
}
"""Every column by its key, in the order of a CSV file."""

_LEFT = frozenset({"layer", "op", "output"})  # text; the others are numbers


def render_summary(
    summary: Summary, form: Form = "table", columns: Sequence[str] | None = None
) -> str:
    """The summary as text, without a final line break.

    Args:
        summary: what to show.
        form: `csv` has a line for each layer and no totals; `json` has everything there is.
        columns: keys of `COLUMNS`; by default `DEFAULT_COLUMNS`, in a CSV file all.
    """
    if form == "json":
        return json.dumps(summary.as_json(), indent=2)
    if form == "csv":
        return _csv(summary, columns or tuple(COLUMNS))
    keys = columns or DEFAULT_COLUMNS
    if form == "markdown":
        head = [f"## {summary.name}", ""]
        return "\n".join([*head, *_piped(_ruled(summary, keys)), "", *_markdown_notes(summary)])
    table = _table(summary, keys)
    notes = _notes(summary)
    if columns is None and max(map(len, table)) > MOST_WIDTH:
        table = _table(summary, keys[:-1])
        notes = [f"`{keys[-1]}` would be wider than the screen: --columns layer,{keys[-1]}", *notes]
    return "\n".join([summary.name, "", *table, "", *notes])


def _rows(summary: Summary, keys: Sequence[str]) -> list[list[str]]:
    header = [COLUMNS[key].header for key in keys]
    return [header, *_inputs(summary, keys), *_layers(summary, keys), _totals(summary, keys)]


def _ruled(summary: Summary, keys: Sequence[str]) -> list[list[str]]:
    header, *rows = _rows(summary, keys)
    return [header, ["---" if key in _LEFT else "---:" for key in keys], *rows]


def _table(summary: Summary, keys: Sequence[str]) -> list[str]:
    header, *rows, totals = _aligned(_rows(summary, keys), [key in _LEFT for key in keys])
    line = "-" * max(map(len, (header, *rows, totals)))
    return [header, line, *rows, line, totals]


def _csv(summary: Summary, keys: Sequence[str]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(keys)
    for layer in summary.layers:
        writer.writerow([COLUMNS[key].cell(layer, summary) for key in keys])
    return text.getvalue().removesuffix("\n")


def _layers(summary: Summary, keys: Sequence[str]) -> list[list[str]]:
    return [[_shown(COLUMNS[key].cell(layer, summary)) for key in keys] for layer in summary.layers]


def _shown(cell: int | str) -> str:
    if isinstance(cell, str):
        return cell
    return f"{cell:,}" if cell else ""


def _inputs(summary: Summary, keys: Sequence[str]) -> list[list[str]]:
    return [
        [{"layer": name, "op": "input", "output": show(shape)}.get(key, "") for key in keys]
        for name, shape in summary.inputs
    ]


def _totals(summary: Summary, keys: Sequence[str]) -> list[str]:
    counts = summary.totals.counts()
    counts["layers"] = sum(layer.layers for layer in summary.layers)
    cells = [f"{counts[key]:,}" if key in counts else "" for key in keys]
    return ["total", *cells[1:]] if keys[0] not in counts else cells


def _aligned(rows: Sequence[Sequence[str]], left: Sequence[bool]) -> list[str]:
    widths = [max(map(len, cells)) for cells in zip(*rows, strict=True)]
    return [
        "  ".join(
            cell.ljust(width) if to_left else cell.rjust(width)
            for cell, width, to_left in zip(row, widths, left, strict=True)
        ).rstrip()
        for row in rows
    ]


def _piped(rows: Sequence[Sequence[str]]) -> list[str]:
    return [f"| {' | '.join(row)} |" for row in rows]


# --- below the table ---------------------------------------------------------------------------


def _sentences(summary: Summary) -> list[str]:
    totals, used = summary.totals, summary.inference
    found = [
        _parameters(totals),
        f"{totals.macs:,} MACs, {totals.flops:,} FLOPs and {totals.other_ops:,} other operations "
        "for each sample",
    ]
    if used != summary.training:
        found += [
            f"without auxiliary heads: {_parameters(used)}",
            f"with auxiliary heads: {summary.training.macs:,} MACs, {summary.training.flops:,} "
            f"FLOPs and {summary.training.other_ops:,} other operations",
        ]
    if any(_field(layer, summary).startswith("<=") for layer in summary.layers):
        found.append("<= the largest field, where branches of unequal strides have met")
    return found


def _parameters(counts: Counts) -> str:
    other = f"{counts.non_trainable:,} not"
    if counts.running_statistics:
        other += f" ({counts.running_statistics:,} running statistics)"
    return f"{counts.parameters:,} parameters: {counts.trainable:,} trainable, {other}"


def _memory(summary: Summary) -> list[list[str]]:
    memory = summary.memory
    told = {
        "parameters": "parameters",
        "training": f"kept for backward, batch of {memory.batch:,}",
        "inference": f"alive in inference, batch of {memory.batch:,}",
    }
    sizes = {dtype: memory.bytes(dtype) for dtype in DTYPES}
    rows = [[text, *(_bytes(sizes[d][what]) for d in DTYPES)] for what, text in told.items()]
    return [["memory", *DTYPES], *rows]


def _bytes(count: int) -> str:
    for power, unit in ((3, "GiB"), (2, "MiB"), (1, "KiB")):
        if count >= 1024**power:
            return f"{count / 1024**power:,.1f} {unit}"
    return f"{count} B"


def _notes(summary: Summary) -> list[str]:
    return [*_sentences(summary), "", *_aligned(_memory(summary), [True, *(False for _ in DTYPES)])]


def _markdown_notes(summary: Summary) -> list[str]:
    header, *rows = _memory(summary)
    table = _piped([header, ["---", *("---:" for _ in DTYPES)], *rows])
    return [*(f"- {sentence}" for sentence in _sentences(summary)), "", *table]
