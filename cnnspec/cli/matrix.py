"""Which back end spells which op, read off the columns themselves."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Literal

from cnnspec import plugins
from cnnspec.backends import get, names
from cnnspec.backends.columns import Column, Unsupported
from cnnspec.ops import registered

Matrix = Mapping[str, Mapping[str, str | None]]
"""Op -> back end -> None where it has the op, else why not."""


def matrix() -> Matrix:
    """Every op against every back end, those of plug-ins as well.

    Raises:
        SetupError: a plug-in cannot be imported, or clashes with another.
    """
    plugins.all_ops()
    columns = {name: column(name) for name in names()}
    return {
        op.key: {name: _reason(columns[name].get(op.part or op)) for name in columns}
        for op in registered()
    }


def column(backend: str) -> Column:
    """The cells of a back end."""
    return get(backend).column


def render_matrix(entries: Matrix, form: Literal["table", "json", "markdown"]) -> str:
    """The matrix as text; reasons stand below it."""
    if form == "json":
        return json.dumps(entries, indent=2)
    backends = list(next(iter(entries.values())))
    rows = [["op", *backends]]
    notes: list[str] = []
    for op, cells in entries.items():
        row = [op]
        for backend, reason in cells.items():
            if reason is not None:
                notes.append(f"{op} in {backend}: {reason}")
            row.append("yes" if reason is None else "no")
        rows.append(row)
    if form == "markdown":
        rows.insert(1, ["---"] * len(rows[0]))
        lines = [f"| {' | '.join(row)} |" for row in rows]
    else:
        widths = [max(map(len, cells)) for cells in zip(*rows, strict=True)]
        lines = [
            "  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip()
            for row in rows
        ]
    return "\n".join([*lines, *([""] if notes else []), *notes])


def _reason(cell: object) -> str | None:
    if cell is None:
        return "not written yet"
    return cell.reason if isinstance(cell, Unsupported) else None
