"""What each op means: its fields, shape rule and parameters. No framework, no NumPy.

Importing this package registers every built-in op; `lookup` finds one by its name in a spec.
"""

from cnnspec.ops import (
    activation,
    adaptive_pool,
    conv,
    conv_transpose,
    dense,
    depthwise_conv,
    dropout,
    merge,
    norm,
    pad,
    pool,
    rbf,
    reduce,
    reshape,
    resize,
    scale,
    slicing,
)
from cnnspec.ops.base import Op, lookup, registered

__all__ = [
    "Op",
    "activation",
    "adaptive_pool",
    "conv",
    "conv_transpose",
    "dense",
    "depthwise_conv",
    "dropout",
    "lookup",
    "merge",
    "norm",
    "pad",
    "pool",
    "rbf",
    "reduce",
    "registered",
    "reshape",
    "resize",
    "scale",
    "slicing",
]
