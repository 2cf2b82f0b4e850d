"""What the back ends make of a network, against what ONNX expects of the node."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

import cnnspec
from cnnspec.backends import At, Emitted, Session, get
from cnnspec.backends.base import Dtype
from cnnspec.check import bounds
from cnnspec.check.compare import Comparison, compare
from cnnspec.check.samples import Sample
from cnnspec.graph import Graph
from tests.conformance.case import Array
from tests.conformance.network import Network

REPLICATES = 8


@dataclass(frozen=True, slots=True)
class Bounds:
    """Coefficients of the unit roundoff: of outputs, running statistics, and each label's loss."""

    outputs: Mapping[str, Any]
    statistics: Mapping[str, Any]
    loss: Any = 0.0


def load(network: Network) -> Graph:
    """The graph of its spec, which may well leave rows of an input unread."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", cnnspec.SpecWarning)
        return cnnspec.load(network.spec())


def dtype_of(network: Network) -> Dtype:
    """The case's own float dtype, and float64 for values that are only moved."""
    values = (*network.inputs.values(), *network.expected.values())
    return "float32" if {value.dtype.name for value in values} == {"float32"} else "float64"


def judge(network: Network, backend: str, limits: Bounds | None = None) -> list[Comparison]:
    """Run the text that one back end emits on the inputs of a case.

    Args:
        network: of the case.
        backend: by name.
        limits: those of `derive`, if they are known already.

    Returns:
        a comparison of each output, running statistic and loss: the expected value first.
    """
    graph = load(network)
    limits = limits or derive(network, graph)
    dtype = dtype_of(network)
    emitted = cnnspec.emit(graph, backend, reproducible=True)
    session = get(backend).open(emitted, dtype=dtype, drawn=False)
    try:
        session.assign(network.weights)
        return list(_compare(network, emitted, session, limits, dtype))
    finally:
        session.close()


def _compare(
    network: Network, emitted: Emitted, session: Session, limits: Bounds, dtype: Dtype
) -> Iterator[Comparison]:
    def held(name: str, expected: Array, found: Array, bound: Any) -> Comparison:
        granted = network.atol + network.rtol * np.abs(expected.astype(np.float64))
        return compare(
            expected,
            np.asarray(found),
            np.minimum(bounds.UNIT[dtype] * bound, granted),
            backends=("onnx", emitted.backend),
            quantity="forward",
            mode="end_to_end",
            dtype=dtype,
            training=network.training,
            node="node",
            name=name,
        )

    found = session.forward(network.inputs, training=network.training)
    for name, expected in network.expected.items():
        yield held(name, expected, found[name], limits.outputs[name])
    moved = session.weights() if network.statistics else {}
    for name, expected in network.statistics.items():
        yield held(name, expected, moved[name], limits.statistics[name])
    if network.loss is not None:
        yield held("loss", network.loss.expected, _loss(network, session), _summed(network, limits))


def _loss(network: Network, session: Session) -> Array:
    """The file's own sum and weight; of a single label, its own loss."""
    assert network.loss is not None
    labels = network.loss.labels
    if network.loss.reduction != "none":
        sum_, weight = _evaluate(session, network.inputs, labels)
        return np.asarray(sum_ / weight if network.loss.reduction == "mean" else sum_)
    (x,) = network.inputs.values()
    return np.asarray(
        [_evaluate(session, {"x0": x[[i]]}, labels[[i]])[0] for i in range(len(labels))]
    )


def _evaluate(session: Session, inputs: Mapping[str, Array], labels: Array) -> tuple[float, float]:
    (found,) = session.evaluate(inputs, {"y0": labels}).losses.values()
    return found


def derive(network: Network, graph: Graph) -> Bounds:
    """The bounds of `check` for this network on the inputs of the case: docs/proof.md.

    ONNX's expected values are one evaluation in the case's dtype, a back end's are another.
    """
    if network.exact:
        return Bounds(dict.fromkeys(network.expected, 0.0), dict.fromkeys(network.statistics, 0.0))
    emitted = cnnspec.emit(graph, "numpy", reproducible=True)
    reference = get("numpy").open(emitted, dtype="float64", drawn=False)
    reference.assign(network.weights)
    weights = reference.weights()
    inputs = {name: value.astype(np.float64) for name, value in network.inputs.items()}
    size = len(next(iter(inputs.values())))
    cotangents = {out.name: np.ones((size, *out.value.shape)) for out in graph.outputs}
    common: dict[str, Any] = {"training": network.training, "at": At()}
    answer = reference.trace(inputs, cotangents=cotangents, **common)
    common |= {"seed": 0, "replicates": REPLICATES}
    own = bounds.isolated(graph.nodes, reference, weights, inputs, answer, **common)
    sample = Sample(inputs, cotangents)
    whole = bounds.end_to_end(graph, reference, sample, answer, own, backward=False, **common)
    reference.close()
    outputs = {out.name: whole.values[out.value.id] for out in graph.outputs}
    return Bounds(
        {name: outputs[name] for name in network.expected},
        whole.statistics,
        _losses(network, answer.outputs, outputs) if network.loss is not None else 0.0,
    )


def _losses(network: Network, answer: Mapping[str, Array], limits: Mapping[str, Any]) -> Array:
    """For each label, its loss and the bound of the logarithm that it is: (2, N, *space)."""
    assert network.loss is not None
    labels = network.loss.labels[:, None]
    chosen = [np.take_along_axis(v["y0"], labels, 1)[:, 0] for v in (answer, limits)]
    found: Array = np.abs(np.stack(chosen)) * network.loss.weights
    return found


def _summed(network: Network, limits: Bounds) -> Any:
    """2 K u B of the sum, on top of what its terms may be off by."""
    assert network.loss is not None
    size, bound = limits.loss
    if network.loss.reduction == "none":
        return bound
    total = bound.sum() + 2 * size.size * size.sum()
    return total / network.loss.weights.sum() if network.loss.reduction == "mean" else total
