"""The column that NumPy's cells register in."""

from __future__ import annotations

from cnnspec.backends.columns import Column, Spelling
from cnnspec.backends.writer import Code, call

COLUMN = Column("numpy")


def function(name: str, *args: object, **kwargs: object) -> Spelling:
    """A plain function of x; with arguments, an object where a sequence holds it."""
    held = Code(name)
    if args or kwargs:
        held = call("Apply", Code(name), *args, **kwargs)  # a lambda could not be pickled
    return Spelling(held, lambda x: call(name, x, *args, **kwargs))
