"""How Keras spells each op; importing the package fills the column.

A cell's `layer` constructs the layer. Its `call`, where it has one, is given the expression of the
layer and those of the inputs; without one the layer is called on the inputs.
"""

from cnnspec.backends.keras.cells import (
    activation,
    conv,
    conv_family,
    dense,
    dropout,
    merge,
    norm,
    pool,
    reshape,
    resize,
    scale,
)
from cnnspec.backends.keras.cells.column import COLUMN

__all__ = [
    "COLUMN",
    "activation",
    "conv",
    "conv_family",
    "dense",
    "dropout",
    "merge",
    "norm",
    "pool",
    "reshape",
    "resize",
    "scale",
]
