"""How each back end spells a case: the constructor of its layer, or its expression."""

from __future__ import annotations

import re

from cnnspec.backends import Style
from cnnspec.backends.columns import Unsupported
from cnnspec.backends.writer import Code
from cnnspec.cli.matrix import column
from cnnspec.graph import Node
from cnnspec.ops.base import Op

CALLS_IN_PLACE = "keras"
"""Its cells spell a layer together with what goes in; those of the others, one or the other."""

_NAME = re.compile(r'(, )?name="[^"]*"')


def spelled(node: Node[Op], backend: str, parts: tuple[int, ...] = ()) -> str:
    """The source that `compile` writes for one node, as Markdown; or why there is none.

    Names of layers, which Keras has among the arguments, are left out. The first part of a
    `split` stands for all, whose channels are `parts`.
    """
    cells = column(backend)
    cell = cells.get(type(node.op))
    if isinstance(cell, Unsupported):
        return f"unsupported: {cell.reason}"
    found = cells.spell(node, Style())
    layer, call = found.layer, found.call
    inputs = [Code(value.id) for value in node.inputs]
    if found.split is not None:
        ways = [found.split(inputs[0], parts)]
    elif layer is None:
        assert call is not None
        ways = [call(*inputs)]
    elif call is None:
        ways = [layer]
    elif backend == CALLS_IN_PLACE:
        ways = [call(layer, *inputs)]
    else:
        ways = [layer, call(*inputs)]
    return " or ".join(f"`{_NAME.sub('', way)}`" for way in ways)
