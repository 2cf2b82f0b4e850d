"""What each op means: its fields, shape rule and parameters. No framework, no NumPy.

Importing this package registers every built-in op; `lookup` finds one by its name in a spec.
"""

from cnnspec.ops import activation, conv, dense, dropout, merge, norm, pool, rbf, reshape
from cnnspec.ops.base import Op, lookup, registered

__all__ = [
    "Op",
    "activation",
    "conv",
    "dense",
    "dropout",
    "lookup",
    "merge",
    "norm",
    "pool",
    "rbf",
    "registered",
    "reshape",
]
