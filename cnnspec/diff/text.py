"""A comparison as text, JSON or Markdown."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from typing import Literal

from cnnspec.diff.model import Change, Diff, LayerDiff, ScopeDiff, Side, parameters
from cnnspec.ops.base import show

Form = Literal["text", "json", "markdown"]

MOST_SHOWN = 8
"""Layers that only follow from what is above them; the text shows so many, JSON all."""


def render_diff(found: Diff, form: Form = "text") -> str:
    """The comparison as text, without a final line break."""
    if form == "json":
        return json.dumps(_as_json(found), indent=2)
    if not found:
        side = found.before
        return f"no difference: {side.layers:,} layers, {side.counts.parameters:,} parameters"
    return "\n".join(_markdown(found) if form == "markdown" else _text(found))


# --- what is told, in both forms ---------------------------------------------------------------


def _arrow(change: Change) -> str:
    before, after = (_none(value) for value in (change.before, change.after))
    return f"{change.field}: {before} -> {after}"


def _none(value: str | None) -> str:
    return "none" if value is None else value


def _sizes(layer: LayerDiff) -> Iterator[str]:
    """Shape and number of parameters where they differ."""
    a, b = layer.before, layer.after
    if a is None or b is None:
        return
    if a.shape != b.shape:
        yield f"output {show(a.shape)} -> {show(b.shape)}"
    if parameters(a) != parameters(b):
        yield f"{parameters(a):,} -> {parameters(b):,} parameters"
    elif [p.shape for p in a.params] != [p.shape for p in b.params]:
        yield "parameters of other shapes"


Row = tuple[str, str, str]
"""A mark, a name, and what there is to say."""


def _rows(found: Diff) -> list[Row]:
    """What was added, removed and changed; like instances of a block that follow in one row."""
    rows: list[Row] = list(_scopes(found))
    for whole, group in groupby(_layers(found), _instance):
        listed = list(group)
        (mark, first, details), (_, last, _) = listed[0], listed[-1]
        if whole is None or len(listed) == 1:
            rows += listed
        else:
            rows.append((mark, f"{first} to {last}", f"{len(listed):,} times {details}"))
    return rows


def _instance(row: Row) -> object:
    """What instances of one repeat have in common, None for what is no instance."""
    mark, name, details = row
    path, _, number = name.rpartition(".")
    return (mark, path, details) if mark != "~" and number.isdigit() else None


def _layers(found: Diff) -> Iterator[Row]:
    wholes: dict[tuple[str, str | None], list[LayerDiff]] = {}
    for layer in found.layers:
        if layer.kind in ("added", "removed"):
            wholes.setdefault((layer.kind, layer.within), []).append(layer)
    for layer in found.layers:
        kind, node, whole = layer.kind, layer.node, layer.within
        if kind in ("added", "removed"):
            mark = "+" if kind == "added" else "-"
            if whole is None:
                count = parameters(node)
                owns = f", {_plural(count, 'parameter')}" if count else ""
                yield mark, node.id, f"{node.op.key}, {show(node.shape)}{owns}"
            elif (kind, whole) in wholes:  # told with the first of its layers
                inside = wholes.pop((kind, whole))
                count = sum(parameters(each.node) for each in inside)
                yield mark, whole, f"{_plural(len(inside), 'layer')}, {_plural(count, 'parameter')}"
        elif kind == "changed" and layer.because is None:
            changes = ", ".join(_arrow(change) for change in layer.changes)
            yield "~", node.id, "; ".join((f"{node.op.key}: {changes}", *_sizes(layer)))


def _scopes(found: Diff) -> Iterator[Row]:
    """Instances that changed alike in one row."""
    alike: dict[tuple[str, tuple[Change, ...]], list[str]] = {}
    for scope in found.scopes:
        alike.setdefault((scope.block, scope.changes), []).append(scope.path)
    for (block, changes), paths in alike.items():
        count = sum(layer.because in paths for layer in found.layers)
        details = "; ".join(_arrow(change) for change in changes)
        if block not in ("repeat", "instances", "network"):
            details = f"{block}: {details}"
        if count:
            details += (
                f"; {_plural(count, 'layer')} in {'it' if len(paths) == 1 else 'them'} changed"
            )
        name = paths[0] or "(the network)"
        if len(paths) > 1:
            name += f" and {paths[1]}" if len(paths) == 2 else f" to {paths[-1]} ({len(paths)})"
        yield "~", name, details


def _follows(found: Diff) -> Iterator[str]:
    """What is no change by itself: other shapes, and names that count."""
    sizes = {
        layer.node.id: list(_sizes(layer))
        for layer in found.layers
        if layer.kind == "affected" or layer.because is not None
    }
    sizes = {name: texts for name, texts in sizes.items() if texts}
    if sizes:
        count = sum("parameters" in texts[-1] for texts in sizes.values())
        title = f"{_plural(len(sizes), 'layer')} in other shapes because of that"
        yield title + (f", {count:,} of them with other parameters" if count else "")
        yield from _some(f"{name}: {'; '.join(texts)}" for name, texts in sizes.items())
    moved = found.moved
    if moved:
        yield f"{_plural(len(moved), 'layer')} under a name that counts differently"
        yield from _some(f"{x.before.id} -> {x.node.id}" for x in moved if x.before is not None)


def _some(lines: Iterable[str]) -> Iterator[str]:
    listed = list(lines)
    yield from (f"  {line}" for line in listed[:MOST_SHOWN])
    if len(listed) > MOST_SHOWN:
        yield f"  and {len(listed) - MOST_SHOWN:,} more (--format json has all)"


def _totals(found: Diff) -> list[list[str]]:
    before, after = _counts(found.before), _counts(found.after)
    rows = [["", "before", "after", "difference"]]
    for name, count in before.items():
        change = after[name] - count
        rows.append([name, f"{count:,}", f"{after[name]:,}", f"{change:+,}" if change else ""])
    return rows


def _counts(side: Side) -> dict[str, int]:
    return {"layers": side.layers} | side.counts.counts()


def _plural(count: int, what: str) -> str:
    return f"{count:,} {what}{'' if count == 1 else 's'}"


# --- text --------------------------------------------------------------------------------------


def _text(found: Diff) -> list[str]:
    lines = []
    if found.settings:
        lines += [*(f"~ {_arrow(change)}" for change in found.settings), ""]
    rows = _rows(found)
    if rows:
        width = max(len(name) for _, name, _ in rows)
        lines += [*(f"{mark} {name:<{width}}  {details}" for mark, name, details in rows), ""]
    follows = list(_follows(found))
    if follows:
        lines += [*follows, ""]
    totals = _totals(found)
    widths = [max(map(len, cells)) for cells in zip(*totals, strict=True)]
    for row in totals:
        first, *others = (
            cell.rjust(width) if column else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        lines.append("  ".join((first, *others)).rstrip())
    return lines


# --- Markdown ----------------------------------------------------------------------------------

_MARKS = {"+": "added", "-": "removed", "~": "changed"}


def _markdown(found: Diff) -> list[str]:
    before, after = found.before.name, found.after.name
    title = before if before == after else f"{before} -> {after}"
    lines = [f"## {title}", ""]
    if found.settings:
        rows = [
            [_code(x) for x in (c.field, _none(c.before), _none(c.after))] for c in found.settings
        ]
        lines += [*_table(["setting", "before", "after"], rows), ""]
    listed = _rows(found)
    if listed:
        rows = [[_MARKS[mark], _code(name), _cell(details)] for mark, name, details in listed]
        lines += [*_table(["", "layer", "what"], rows), ""]
    for line in _follows(found):
        lines.append(f"  - {_cell(line.strip())}" if line.startswith(" ") else f"- {line}")
    if lines[-1]:
        lines.append("")
    header, *totals = _totals(found)
    return [*lines, *_table(header, totals, numbers=3)]


def _table(header: Sequence[str], rows: Sequence[Sequence[str]], numbers: int = 0) -> list[str]:
    rule = ["---" if i < len(header) - numbers else "---:" for i in range(len(header))]
    return [f"| {' | '.join(row)} |" for row in (header, rule, *rows)]


def _code(text: str) -> str:
    return f"`{_cell(text)}`"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


# --- JSON --------------------------------------------------------------------------------------


def _as_json(found: Diff) -> dict[str, object]:
    return {
        "differ": bool(found),
        "before": _side(found.before),
        "after": _side(found.after),
        "settings": [_change(change) for change in found.settings],
        "blocks": [_scope(scope) for scope in found.scopes],
        "layers": {
            kind: [_layer(layer) for layer in found.of(kind)]
            for kind in ("added", "removed", "changed", "affected")
        },
        "moved": [
            {"before": layer.before.id, "after": layer.node.id}
            for layer in found.moved
            if layer.before is not None
        ],
    }


def _side(side: Side) -> dict[str, object]:
    return {"name": side.name, **_counts(side)}


def _change(change: Change) -> dict[str, object]:
    return {"field": change.field, "before": change.before, "after": change.after}


def _scope(scope: ScopeDiff) -> dict[str, object]:
    return {
        "path": scope.path,
        "block": scope.block,
        "changes": [_change(change) for change in scope.changes],
    }


def _layer(layer: LayerDiff) -> dict[str, object]:
    a, b = layer.before, layer.after
    return {
        "name": layer.node.id,
        "op": layer.node.op.key,
        "changes": [_change(change) for change in layer.changes],
        "because": layer.because,
        "within": layer.within,
        "shape": [None if node is None else list(node.shape) for node in (a, b)],
        "parameters": [None if node is None else parameters(node) for node in (a, b)],
    }
