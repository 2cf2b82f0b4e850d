"""Which line of a spec each line of emitted source comes from."""

from __future__ import annotations

from typing import Any

from cnnspec.backends.base import Emitted
from cnnspec.diagnostics import Span
from cnnspec.graph import Graph

VERSION = 1


def source_map(emitted: Emitted, graph: Graph) -> dict[str, Any]:
    """A map of emitted source, ready for JSON.

    Lines and columns count from 1, ends are exclusive in columns and inclusive in lines. A line of
    a block's class or function belongs to every instance of the block, so that several nodes may
    share their place.

    Returns:
        `version`, `backend`, and `nodes`: for each node its `node` (full name), `op`, `generated`
        (`line`, `column`, `end_line`, `end_column`), `instance` (of the block whose text it is, or
        null), `spec` (`file` and the same four, or null for a graph without a file) and `used`:
        the places where the blocks around it are used, innermost first.
    """
    nodes = []
    for node in graph.nodes:
        place = emitted.lines[node.id]
        at = place.range
        origin = node.origin
        nodes.append(
            {
                "node": node.id,
                "op": node.op.key,
                "generated": {
                    "line": at.line,
                    "column": at.column + 1,
                    "end_line": at.end_line,
                    "end_column": at.end_column + 1,
                },
                "instance": place.instance or None,
                "spec": None if origin is None else _place(origin.span),
                "used": [] if origin is None else [_place(span) for span in origin.expanded],
            }
        )
    return {"version": VERSION, "backend": emitted.backend, "nodes": nodes}


def _place(span: Span) -> dict[str, object]:
    return {
        "file": span.source.name,
        "line": span.line,
        "column": span.column,
        "end_line": span.end_line,
        "end_column": span.end_column,
    }
