"""cnnspec: one spec of a convolutional network, compiled to NumPy, PyTorch and Keras, proven equal.

The names below are imported on first use, so that `import cnnspec` costs next to nothing.
"""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING

from cnnspec.version import __version__

if TYPE_CHECKING:
    from cnnspec.api import SpecWarning as SpecWarning
    from cnnspec.api import build as build
    from cnnspec.api import emit as emit
    from cnnspec.api import load as load
    from cnnspec.backends.base import Emitted as Emitted
    from cnnspec.backends.base import Style as Style
    from cnnspec.check import check as check
    from cnnspec.diagnostics import DataError as DataError
    from cnnspec.diagnostics import Diagnostic as Diagnostic
    from cnnspec.diagnostics import SetupError as SetupError
    from cnnspec.diagnostics import SpecError as SpecError
    from cnnspec.diagnostics import UserError as UserError
    from cnnspec.diff import Diff as Diff
    from cnnspec.diff import diff as diff
    from cnnspec.graph import Graph as Graph
    from cnnspec.initializers import initial_weights as initial_weights
    from cnnspec.optimize import fold_weights as fold_weights
    from cnnspec.optimize import optimize as optimize
    from cnnspec.render import render as render
    from cnnspec.weights import read_weights as read_weights
    from cnnspec.weights import write_weights as write_weights

_HOMES = {
    "DataError": "diagnostics",
    "Diagnostic": "diagnostics",
    "Diff": "diff",
    "Emitted": "backends.base",
    "Graph": "graph",
    "SetupError": "diagnostics",
    "SpecError": "diagnostics",
    "SpecWarning": "api",
    "Style": "backends.base",
    "UserError": "diagnostics",
    "build": "api",
    "check": "check",
    "diff": "diff",
    "emit": "api",
    "fold_weights": "optimize",
    "initial_weights": "initializers",
    "load": "api",
    "optimize": "optimize",
    "read_weights": "weights",
    "render": "render",
    "write_weights": "weights",
}

__all__ = [
    "DataError",
    "Diagnostic",
    "Diff",
    "Emitted",
    "Graph",
    "SetupError",
    "SpecError",
    "SpecWarning",
    "Style",
    "UserError",
    "__version__",
    "build",
    "check",
    "diff",
    "emit",
    "fold_weights",
    "initial_weights",
    "load",
    "optimize",
    "read_weights",
    "render",
    "write_weights",
]


if not TYPE_CHECKING:  # a type checker would take any name at all for one of ours

    def __getattr__(name: str) -> object:
        home = _HOMES.get(name)
        if home is None:
            raise AttributeError(f"module 'cnnspec' has no attribute {name!r}")
        value = getattr(import_module(f"cnnspec.{home}"), name)
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


class _Package(ModuleType):
    """`cnnspec.build` and its like are the functions, whatever was imported before.

    Importing the submodule of that name would otherwise put the module in the function's place.
    `from cnnspec.build import ...` is not affected.
    """

    def __setattr__(self, name: str, value: object) -> None:
        if not (name in _HOMES and isinstance(value, ModuleType)):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package
