"""Every case has a network, or a reason why it has none."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from tests.conformance import (
    activations,
    convolution,
    losses,
    merging,
    moving,
    normalization,
    pooling,
    reductions,
    resizing,
)
from tests.conformance.absent import ABSENT
from tests.conformance.case import Case
from tests.conformance.network import Network, Unsupported

Converter = Callable[[Case], Network]

FAMILIES = (
    activations,
    convolution,
    losses,
    merging,
    moving,
    normalization,
    pooling,
    reductions,
    resizing,
)
CONVERTERS: Mapping[str, Converter] = {
    op: converter for family in FAMILIES for op, converter in family.CONVERTERS.items()
}

BODY = "the definition of the op by primitive ops, on the data of the case that is one node"


def convert(case: Case) -> Network:
    """The network that does what a case asks for.

    Raises:
        Unsupported: there is none, and why.
        KeyError: the op is neither converted nor known to be absent.
    """
    if case.op in ABSENT:
        raise Unsupported(f"no such layer: {ABSENT[case.op]}")
    converter = CONVERTERS[case.op]
    if case.body:
        raise Unsupported(BODY)
    values = [value for value in case.inputs if value is not None]
    if not all(isinstance(value, (np.ndarray, np.generic)) for value in values):
        raise Unsupported("a sequence or an optional value")
    network = converter(case)
    network.rtol, network.atol = case.rtol, case.atol
    dtype = np.asarray(case.inputs[0]).dtype.name
    if dtype not in ("float32", "float64") and not (network.exact and _fits(network)):
        raise Unsupported(f"arithmetic in {dtype}: cnnspec computes in float32 and float64")
    return network


def _fits(network: Network) -> bool:
    """Whether float64 has every value, so that choosing and moving them in it is exact."""
    values = (*network.inputs.values(), *network.expected.values())
    return all(np.array_equal(v.astype(np.float64).astype(v.dtype), v) for v in values)
