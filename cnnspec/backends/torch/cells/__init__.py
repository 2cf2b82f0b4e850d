"""How torch spells each op; importing the package fills the column."""

from cnnspec.backends.torch.cells import (
    activation,
    conv,
    dense,
    dropout,
    merge,
    norm,
    pool,
    reshape,
)
from cnnspec.backends.torch.cells.column import COLUMN

__all__ = [
    "COLUMN",
    "activation",
    "conv",
    "dense",
    "dropout",
    "merge",
    "norm",
    "pool",
    "reshape",
]
