"""Several inputs into one, element by element."""

from __future__ import annotations

from functools import partial

from tests.conformance.case import Array, Case
from tests.conformance.network import Network, Unsupported, positive, to_front


def merge(op: str, case: Case) -> Network:
    """A merge of equal shapes."""
    _require_several(op, case)
    network = Network(exact=op == "maximum")
    layer = network.layer(op, *(network.sample(value) for value in case.inputs))
    network.output_sample(layer, case.expected)
    return network


def minimum(case: Case) -> Network:
    """The minimum is minus the maximum of what is negated."""
    _require_several("maximum", case)
    network = Network(exact=True)
    negated = [_negated(network, network.sample(value)) for value in case.inputs]
    network.output_sample(_negated(network, network.layer("maximum", *negated)), case.expected)
    return network


def negative(case: Case) -> Network:
    """Neg is `rescale` by -1."""
    network = Network(exact=True)
    network.output_sample(_negated(network, network.sample(case.inputs[0])), case.expected)
    return network


def multiply(case: Case) -> Network:
    """Mul is `multiply`; a vector goes with the last axis, which then becomes the channels."""
    x, y = case.inputs
    if x.shape == y.shape:
        return merge("multiply", case)
    if y.shape != x.shape[-1:]:
        raise Unsupported("`multiply` broadcasts one value for each channel")
    network = Network()
    there, back = to_front(x.ndim - 1, x.ndim)
    vector = network.reshape(network.sample(y), [y.size, *[1] * (x.ndim - 1)])
    layer = network.layer("multiply", network.permute(network.sample(x), there), vector)
    network.output_sample(network.permute(layer, back), case.expected)
    return network


def concat(case: Case) -> Network:
    """Concat along any axis, which becomes the channels."""
    values: tuple[Array, ...] = case.inputs
    rank = values[0].ndim
    there, back = to_front(positive(case.attributes["axis"], rank), rank)
    network = Network(exact=True)
    parts = [network.permute(network.sample(value), there) for value in values]
    network.output_sample(network.permute(network.layer("concat", *parts), back), case.expected)
    return network


def _require_several(op: str, case: Case) -> None:
    if len(case.inputs) == 1:
        raise Unsupported("a single input: merges take two or more")
    if any(value.shape != case.expected.shape for value in case.inputs):
        raise Unsupported(f"broadcasting: `{op}` takes equal shapes")


def _negated(network: Network, source: str) -> str:
    return network.layer("rescale", source, scale=-1.0)


CONVERTERS = {
    "Add": partial(merge, "add"),
    "Concat": concat,
    "Max": partial(merge, "maximum"),
    "Mean": partial(merge, "average"),
    "Min": minimum,
    "Mul": multiply,
    "Neg": negative,
    "Sub": partial(merge, "subtract"),
    "Sum": partial(merge, "add"),
}
