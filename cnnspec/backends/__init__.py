"""Back ends: how each framework spells a network, found by name and imported on first use."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from cnnspec import plugins
from cnnspec.backends.base import At, Backend, Emitted, Session, Style, Trace
from cnnspec.diagnostics import Diagnostic, SetupError, did_you_mean

BUILT_IN = {
    "numpy": "cnnspec.backends.numpy:BACKEND",
    "torch": "cnnspec.backends.torch:BACKEND",
    "keras": "cnnspec.backends.keras:BACKEND",
}
PARTS = ("name", "imports", "column", "emit", "open")
"""What `get` asks of a plug-in's back end, before anybody relies on it."""


def get(name: str) -> Backend:
    """The back end of this name.

    Raises:
        SetupError: there is none of this name, or several, or a plug-in's cannot be imported.
    """
    if name in BUILT_IN:
        module, _, attribute = BUILT_IN[name].partition(":")
        backend: Backend = getattr(import_module(module), attribute)
        return backend
    entry = plugins.find(plugins.BACKENDS, name)
    if entry is None:
        raise SetupError(
            Diagnostic(
                "unknown-backend",
                f"there is no backend `{name}`",
                help=did_you_mean(name, [*BUILT_IN, *plugins.names(plugins.BACKENDS)]),
            )
        )
    found: Any = plugins.load(entry)
    missing = [part for part in PARTS if not hasattr(found, part)]
    if missing:
        raise plugins.failed(entry, f"it has no `{missing[0]}`")
    if found.name != name:
        raise plugins.failed(entry, f"it calls itself `{found.name}`")
    plugin: Backend = found
    return plugin


def names() -> list[str]:
    """The names of all back ends, the built-in ones first.

    Raises:
        SetupError: two packages have one of the same name.
    """
    others = plugins.names(plugins.BACKENDS)
    for name in others:
        plugins.find(plugins.BACKENDS, name, ours=name in BUILT_IN)
    return [*BUILT_IN, *others]


__all__ = ["BUILT_IN", "At", "Backend", "Emitted", "Session", "Style", "Trace", "get", "names"]
