"""How each back end spells a case: the constructor of its layer, or its expression."""

from __future__ import annotations

from cnnspec.backends import Style
from cnnspec.backends.columns import Unsupported
from cnnspec.backends.writer import Code
from cnnspec.cli.matrix import column
from cnnspec.testing.docs.cases import Case
from cnnspec.testing.docs.measure import network


def spelled(case: Case, rank: int, backend: str) -> str:
    """The source that `compile` writes for one layer, as Markdown; or why there is none."""
    cells = column(backend)
    graph, _ = network({"case0": case}, rank)
    node = graph.nodes[0]
    cell = cells.get(type(node.op))
    if isinstance(cell, Unsupported):
        return f"unsupported: {cell.reason}"
    found = cells.spell(node, Style())
    ways = [] if found.layer is None else [str(found.layer)]
    if found.call is not None:
        ways.append(str(found.call(*(Code(source) for source in case.sources))))
    return " or ".join(f"`{way}`" for way in ways)
