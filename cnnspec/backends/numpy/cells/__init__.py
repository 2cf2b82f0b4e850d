"""How the NumPy file spells each op, by the kernels it carries; importing fills the column."""

from cnnspec.backends.numpy.cells import activation, dropout, merge, parametric, pool, reshape
from cnnspec.backends.numpy.cells.column import COLUMN

__all__ = ["COLUMN", "activation", "dropout", "merge", "parametric", "pool", "reshape"]
