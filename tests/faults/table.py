"""All planted faults, family by family."""

from __future__ import annotations

from collections.abc import Mapping

from tests.faults import (
    activations,
    convolutions,
    initial,
    norms,
    optimizers,
    pooling,
    random_layers,
    shapes,
    training,
    wiring,
)
from tests.faults.fault import Fault

FAMILIES: Mapping[str, tuple[Fault, ...]] = {
    module.__name__.rpartition(".")[2]: module.FAULTS
    for module in (
        convolutions,
        pooling,
        norms,
        activations,
        random_layers,
        shapes,
        wiring,
        training,
        initial,
        optimizers,
    )
}
FAULTS = tuple(fault for family in FAMILIES.values() for fault in family)
