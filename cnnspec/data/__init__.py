"""Data to train on: sources by name, one module each, imported on first use."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module

from cnnspec.data.dataset import Dataset, Split
from cnnspec.data.fit import fit
from cnnspec.data.order import order
from cnnspec.diagnostics import Diagnostic, SetupError, did_you_mean

__all__ = ["SOURCES", "Dataset", "Split", "fit", "load", "order"]

SOURCES = {
    "digits": "cnnspec.data.digits:digits",
}


def load(name: str) -> Dataset:
    """The data of this name.

    Args:
        name: a key of `SOURCES`.

    Raises:
        SetupError: there is none of this name, or the library that holds it is not installed.
    """
    place = SOURCES.get(name)
    if place is None:
        raise SetupError(
            Diagnostic(
                "unknown-data",
                f"there is no data called `{name}`",
                help=did_you_mean(name, list(SOURCES)),
            )
        )
    module, _, attribute = place.partition(":")
    source: Callable[[], Dataset] = getattr(import_module(module), attribute)
    return source()
