"""How the NumPy file spells the op."""

from __future__ import annotations

from pathlib import Path

from cnnspec.backends.base import Style
from cnnspec.backends.columns import Spelling
from cnnspec.backends.numpy.cells import COLUMN
from cnnspec.backends.writer import call
from cnnspec.graph import Node
from cnnspec.ops.initializer import Ones
from cnnspec_snake.op import Snake

COLUMN.carry(Snake, Path(__file__).with_name("numpy_kernel.py"), alpha=Ones())


@COLUMN(Snake)
def snake(node: Node[Snake], style: Style) -> Spelling:
    """The constructor of the layer; what it is called with is the file's business."""
    return Spelling(call("Snake", node.shape[0], node.op.scale))
