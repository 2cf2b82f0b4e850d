"""How the Keras file spells the op."""

from __future__ import annotations

from pathlib import Path

from cnnspec.backends.base import Style
from cnnspec.backends.columns import Spelling
from cnnspec.backends.keras.cells import COLUMN
from cnnspec.backends.keras.initial import spell
from cnnspec.backends.writer import call
from cnnspec.graph import Node
from cnnspec.ops.initializer import Ones
from cnnspec_snake.op import Snake

COLUMN.carry(Snake, Path(__file__).with_name("keras_layer.py"), alpha=Ones())


@COLUMN(Snake)
def snake(node: Node[Snake], style: Style) -> Spelling:
    """Keras sees the number of channels itself, and is given its initial values here."""
    initial = spell(node.op, node.params[0])
    given = {} if initial is None else {"initializer": initial}
    return Spelling(call("Snake", node.op.scale, **given, name=node.id))
