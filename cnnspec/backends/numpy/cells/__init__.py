"""How the NumPy file spells each op, by the kernels it carries; importing fills the column."""

from cnnspec.backends.numpy.cells import (
    activation,
    conv_family,
    dropout,
    merge,
    norm,
    parametric,
    pool,
    reshape,
    resize,
    scale,
)
from cnnspec.backends.numpy.cells.column import COLUMN

__all__ = [
    "COLUMN",
    "activation",
    "conv_family",
    "dropout",
    "merge",
    "norm",
    "parametric",
    "pool",
    "reshape",
    "resize",
    "scale",
]
