"""What an optimizer of an emitted NumPy file keeps: its dicts by parameter name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from cnnspec.backends.base import Emitted
from cnnspec.backends.state import AVERAGE, by_kind, misfit, paths

if TYPE_CHECKING:
    from cnnspec.backends.base import Array


def read(emitted: Emitted, model: Any, optimizer: Any) -> dict[str, Array]:
    """Copies of everything that updates have left besides weights; see `Session.state`."""
    names = paths(emitted)
    kept = {AVERAGE: getattr(model, "averages", {}), **_kept(optimizer)}
    return {
        f"{kind}/{names[path]}": np.array(value)
        for kind, entries in kept.items()
        for path, value in entries.items()
    }


def write(emitted: Emitted, model: Any, optimizer: Any, state: Mapping[str, Array]) -> None:
    """Put the state into a new optimizer, and averages into the model."""
    kinds = by_kind(emitted, state)
    averages = kinds.pop(AVERAGE, None)
    if averages is not None:
        model.averages = _own(emitted, averages)
    kept = _kept(optimizer)
    for kind, entries in kinds.items():
        if kind not in kept:
            raise misfit(kind, "the optimizer keeps nothing of this name")
        kept[kind].update(_own(emitted, entries))


def _kept(optimizer: Any) -> dict[str, dict[str, Any]]:
    return {name: value for name, value in vars(optimizer).items() if isinstance(value, dict)}


def _own(emitted: Emitted, entries: Mapping[str, Array]) -> dict[str, Any]:
    """By path; a step counter is a plain number, as the optimizer counts it."""
    return {
        emitted.slots[name].path: value.copy() if value.ndim else value.item()
        for name, value in entries.items()
    }
