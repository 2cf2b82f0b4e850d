"""How torch spells each op; importing the package fills the column."""

from cnnspec.backends.torch.cells import (
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
    slicing,
)
from cnnspec.backends.torch.cells.column import COLUMN

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
    "slicing",
]
