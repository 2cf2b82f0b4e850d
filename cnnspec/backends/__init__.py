"""Back ends: how each framework spells a network, found by name and imported on first use."""

from __future__ import annotations

from importlib import import_module

from cnnspec.backends.base import At, Backend, Emitted, Session, Style, Trace
from cnnspec.diagnostics import Diagnostic, SetupError, did_you_mean

BUILT_IN = {
    "numpy": "cnnspec.backends.numpy:BACKEND",
    "torch": "cnnspec.backends.torch:BACKEND",
    "keras": "cnnspec.backends.keras:BACKEND",
}
GROUP = "cnnspec.backends"


def get(name: str) -> Backend:
    """The back end of this name.

    Raises:
        SetupError: there is none of this name.
    """
    place = BUILT_IN.get(name) or _plugins().get(name)
    if place is None:
        raise SetupError(
            Diagnostic(
                "unknown-backend",
                f"there is no backend `{name}`",
                help=did_you_mean(name, [*BUILT_IN, *_plugins()]),
            )
        )
    module, _, attribute = place.partition(":")
    backend: Backend = getattr(import_module(module), attribute)
    return backend


def _plugins() -> dict[str, str]:
    """Back ends of installed packages; scanned only for a name that is not built in."""
    from importlib.metadata import entry_points

    found: dict[str, str] = {}
    for entry in entry_points(group=GROUP):
        owner = found.get(entry.name) or BUILT_IN.get(entry.name)
        if owner is not None and owner != entry.value:
            raise ValueError(f"backend {entry.name!r} is defined by {owner} and {entry.value}")
        found[entry.name] = entry.value
    return found


__all__ = ["BUILT_IN", "At", "Backend", "Emitted", "Session", "Style", "Trace", "get"]
