"""Weights against the slots of an emitted file."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from cnnspec.backends.base import Emitted
from cnnspec.diagnostics import DataError, Diagnostic, did_you_mean
from cnnspec.ops.base import show

if TYPE_CHECKING:
    from cnnspec.backends.base import Array


def check_weights(emitted: Emitted, weights: Mapping[str, Array]) -> None:
    """Raise DataError unless names and shapes are exactly the network's."""
    faults = []
    for name, slot in emitted.slots.items():
        if name not in weights:
            faults.append(Diagnostic("weight-missing", f"the weights have no `{name}`"))
        elif tuple(weights[name].shape) != slot.shape:
            faults.append(
                Diagnostic(
                    "weight-shape",
                    f"`{name}` has shape {show(tuple(weights[name].shape))}, "
                    f"and the network needs {show(slot.shape)}",
                )
            )
    faults += [
        Diagnostic(
            "weight-unexpected",
            f"the network has no parameter `{name}`",
            help=did_you_mean(name, list(emitted.slots)),
        )
        for name in weights
        if name not in emitted.slots
    ]
    if faults:
        raise DataError(faults)
