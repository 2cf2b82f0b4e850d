"""The derivative where it jumps, as the reference computes it."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from cnnspec.api import read
from cnnspec.backends import get
from cnnspec.initializers import initial_weights
from cnnspec.ops.base import Op
from cnnspec.testing.docs.cases import cases_of
from cnnspec.testing.docs.measure import REFERENCE


def derivatives(op: type[Op]) -> Iterator[tuple[float, float]]:
    """Each kink of an op with one input, and the derivative there; plain fields, a kernel of 1."""
    case = cases_of(op)[0]
    fields = {**case.fields, **({"kernel": 1} if "kernel" in op.model_fields else {})}
    shape = [1] * (1 + min(case.ranks))
    layer = {op.key: {**fields, "name": "case0"}}
    graph = read({"cnnspec": 1, "name": "kinks", "input": shape, "layers": [layer]}).graph
    backend = get(REFERENCE)
    session = backend.open(backend.emit(graph))
    session.assign(initial_weights(graph, seed=0))
    for kink in op.kinks:
        found = session.gradients(
            {"input": np.full((1, *shape), kink)},
            cotangents={graph.outputs[0].name: np.ones((1, *graph.outputs[0].value.shape))},
            training=False,
        )
        yield kink, float(found.inputs["input"].item())
