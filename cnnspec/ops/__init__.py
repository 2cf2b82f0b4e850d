"""What each op means: its fields, shape rule and parameters. No framework, no NumPy.

A module of this package is imported with the first of its ops that somebody asks for: `lookup`
finds one by its name in a spec, `registered` gives all of them.
"""

from cnnspec.ops.base import Op, lookup, registered

__all__ = ["Op", "lookup", "registered"]
