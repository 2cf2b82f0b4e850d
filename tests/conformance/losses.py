"""Cross-entropy, as the training functions of the emitted file compute it."""

from __future__ import annotations

import numpy as np

from tests.conformance.case import Case
from tests.conformance.network import MOST_AXES, Loss, Network, Unsupported


def cross_entropy(case: Case) -> Network:
    """SoftmaxCrossEntropyLoss is `cross_entropy`, whose network ends in `log_softmax`.

    What is trained is a scale of 1 in front: a network without weights has nothing to train.
    """
    x, labels = case.inputs[0], case.inputs[1]
    ignored = case.attributes.get("ignore_index")
    if ignored is not None and bool((labels == ignored).any()):
        raise Unsupported("labels that are ignored: `cross_entropy` has no such option")
    reduction, expected = case.attributes["reduction"], np.asarray(case.expected)
    others = list(case.outputs.values())[1:]
    if reduction == "none":  # each position is a sample, as a file gives the sum over samples
        x, *others = (np.moveaxis(value, 1, -1).reshape(-1, x.shape[1]) for value in (x, *others))
        labels, expected = labels.reshape(-1), expected.reshape(-1)
    elif x.ndim > MOST_AXES + 1:  # a sum over space does not ask how many axes that has
        x, *others = (value.reshape(*x.shape[:2], -1) for value in (x, *others))
        labels = labels.reshape(len(labels), -1)
    given = case.given(2)
    weights = None if given is None else tuple(float(weight) for weight in np.asarray(given))
    network = Network(loss=Loss(labels, reduction, expected, weights))
    layer = network.layer("layer_scale", network.batch(x))
    network.weights[f"{layer}.weight"] = np.ones(x.shape[1])
    layer = network.layer("log_softmax", layer)
    for value in others:
        network.output(layer, value)
    network.outputs["y0"] = layer
    return network


def likelihood(case: Case) -> Network:
    """NegativeLogLikelihoodLoss reads what a softmax has not made."""
    raise Unsupported("logarithms of probabilities as input: `cross_entropy` reads logits")


CONVERTERS = {"NegativeLogLikelihoodLoss": likelihood, "SoftmaxCrossEntropyLoss": cross_entropy}
