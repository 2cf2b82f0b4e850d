"""Names of what a session keeps besides its weights, and its shapes against the network's.

An entry that belongs to a parameter is called `momentum/conv1.weight`, by what it is and by the
parameter's canonical name, and has the canonical layout or is a single number. What belongs to the
whole network, such as a step counter, is called `optimizer/iterations`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from cnnspec.backends.base import Emitted
from cnnspec.diagnostics import DataError, Diagnostic
from cnnspec.ops.base import show

if TYPE_CHECKING:
    from cnnspec.backends.base import Array

AVERAGE = "average"
"""The kind of an entry of `model.averages`, where the emitted file keeps averages of weights."""

WHOLE = "optimizer"
"""The kind of an entry that belongs to no parameter."""


def paths(emitted: Emitted) -> dict[str, str]:
    """The canonical name of each path in the live model."""
    return {slot.path: name for name, slot in emitted.slots.items()}


def by_kind(emitted: Emitted, state: Mapping[str, Array]) -> dict[str, dict[str, Array]]:
    """The entries as kind -> name -> array.

    Raises:
        DataError: an entry belongs to a parameter that is not there, or has another shape.
    """
    found: dict[str, dict[str, Array]] = {}
    for key, value in state.items():
        kind, _, name = key.partition("/")
        slot = emitted.slots.get(name)
        if kind != WHOLE and slot is None:
            raise misfit(key, "the network has no such parameter")
        if slot is not None and value.shape not in (slot.shape, ()):
            raise misfit(key, f"it is {show(value.shape)}, and the parameter {show(slot.shape)}")
        found.setdefault(kind, {})[name] = value
    return found


def misfit(key: str, why: str) -> DataError:
    """What to raise for an entry that cannot be restored."""
    return DataError(
        Diagnostic("state-does-not-fit", f"`{key}` of the optimizer's state does not fit: {why}")
    )
