"""Which layers are shown."""

from __future__ import annotations

import fnmatch

from cnnspec.diagnostics import Diagnostic, SetupError, did_you_mean
from cnnspec.graph import Graph, Node
from cnnspec.ops.base import Op

__all__ = ["MOST_BY_DEFAULT", "select"]

MOST_BY_DEFAULT = 40
"""Layers that are shown of a network of which none were asked for."""


def select(graph: Graph, wanted: str | None) -> tuple[list[Node[Op]], str]:
    """The layers that are asked for, in the order of the network.

    Args:
        graph: the network.
        wanted: names, separated by commas: of a layer, of a block or sequence for all in it, or a
            pattern with `*`; `all`; None for all, or of a large network those with filters.

    Returns:
        The layers, and a remark where they are not all that there are.

    Raises:
        SetupError: a name matches nothing.
    """
    nodes = list(graph.nodes)
    if wanted is None:
        return _default(nodes)
    chosen: set[str] = set()
    for part in (text.strip() for text in wanted.split(",")):
        if not part:
            continue
        found = {node.id for node in nodes if part == "all" or _matches(node.id, part)}
        if not found:
            known = sorted({name for node in nodes for name in _enclosing(node.id)})
            raise SetupError(
                Diagnostic(
                    "unknown-layer",
                    f"there is no layer `{part}`",
                    help=did_you_mean(part, known) if len(known) < 200 else "",
                )
            )
        chosen |= found
    if not chosen:
        raise SetupError(Diagnostic("unknown-layer", "no layer is named", help="`--layers all`"))
    shown = [node for node in nodes if node.id in chosen]
    note = "" if len(shown) == len(nodes) else f"{len(shown)} of {len(nodes)} layers"
    return shown, note


def _default(nodes: list[Node[Op]]) -> tuple[list[Node[Op]], str]:
    if len(nodes) <= MOST_BY_DEFAULT:
        return nodes, ""
    with_filters = [n for n in nodes if any(len(param.shape) > 1 for param in n.params)]
    shown = (with_filters or nodes)[:MOST_BY_DEFAULT]
    what = "the first with filters, " if with_filters else "the first, "
    return shown, f"{what}{len(shown)} of {len(nodes)} layers; `--layers` names others"


def _matches(id: str, pattern: str) -> bool:
    return any(fnmatch.fnmatchcase(name, pattern) for name in _enclosing(id))


def _enclosing(id: str) -> list[str]:
    """A layer's full name, and those of all that it is in: `a.b.c` is in `a.b` and in `a`."""
    parts = id.split(".")
    return [".".join(parts[:count]) for count in range(len(parts), 0, -1)]
