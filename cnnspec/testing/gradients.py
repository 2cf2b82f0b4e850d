"""Gradients of the reference against finite differences, independently of any framework."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from cnnspec.backends import At, Session, Style, get
from cnnspec.check import effort, samples
from cnnspec.graph import Graph

Array = npt.NDArray[Any]
Function = Callable[[Mapping[str, Array]], Array]

UNIT = 2.0**-53
STEPS = (2.0**-12, 2.0**-15, 2.0**-18, 2.0**-21, 2.0**-24)
ROUNDING = 64.0
"""Roundings on the way to one summand of the compared function that do not average out."""

TRUST = 8.0
"""How far the error may lie above its estimate."""

SHARP = 1e-4
"""A difference that estimates its own error at more than this part of the gradient is no proof."""

DIRECTIONS = 4
UPDATE = 3


def check_gradients(graph: Graph, *, seed: int = 0, backend: str = "numpy") -> None:
    """Hold a backend's gradients to central differences in float64, tensor by tensor.

    Along a random direction d of each parameter and each input the derivative g . d is compared
    with (f(t + h d) - f(t - h d)) / 2h, where f is the sum of the outputs times cotangents, and
    with a `train:` section the loss as well. The error of a difference is estimated by halving h,
    plus the rounding of f over h; the sharpest of several h decides. A step that crosses a kink
    estimates a large error, and so decides nothing.

    Args:
        graph: the network.
        seed: of weights, inputs and directions.
        backend: whose gradients.

    Raises:
        AssertionError: a gradient is wrong, or no step in some direction is sharp enough to tell.
    """
    made = get(backend)
    session = made.open(made.emit(graph, Style(random="counter")), dtype="float64")
    try:
        _check(graph, session, seed)
    finally:
        session.close()


def _check(graph: Graph, session: Session, seed: int) -> None:
    weights = samples.weights(graph, seed)
    size = effort.batch_size(graph)
    sample = samples.sample(graph, seed, 0, size)
    at = At(UPDATE)
    session.assign(weights)

    def outputs(training: bool) -> Function:
        def terms(point: Mapping[str, Array]) -> Array:
            session.assign({name: point[name] for name in weights})
            given = {name: point[_input(name)] for name in sample.inputs}
            found = session.forward(given, training=training, at=at)
            parts = [(found[name] * g).ravel() for name, g in sample.cotangents.items()]
            return np.concatenate(parts)

        return terms

    point = {**weights, **{_input(name): value for name, value in sample.inputs.items()}}
    for training in (False, True):
        found = session.gradients(
            sample.inputs, cotangents=sample.cotangents, training=training, at=at
        )
        gradients = _by_name(graph, found.parameters, found.inputs)
        what = f"outputs, {'training' if training else 'inference'}"
        _compare(outputs(training), point, gradients, seed, what)
        session.assign(weights)
    if graph.training is None:
        return
    targets = samples.targets(graph, seed, 0, size)
    factors = {name: loss.weight for name, loss in graph.training.losses.items()}

    def losses(point: Mapping[str, Array]) -> Array:
        session.assign({name: point[name] for name in weights})
        given = {name: point[_input(name)] for name in sample.inputs}
        parts = session.evaluate(given, targets, training=True, at=at).losses
        return np.array([factors[name] * total / weight for name, (total, weight) in parts.items()])

    answer = session.gradients(sample.inputs, targets=targets, training=True, at=at)
    stated = float(np.sum(losses(point)))
    assert answer.loss is not None
    assert abs(answer.loss - stated) <= ROUNDING * UNIT * abs(stated), "two values of one loss"
    _compare(losses, point, _by_name(graph, answer.parameters, answer.inputs), seed, "loss")


def _input(name: str) -> str:
    """The key of an input beside those of parameters, which all have a dot."""
    return f"input {name}"


def _by_name(
    graph: Graph, parameters: Mapping[str, Array], inputs: Mapping[str, Array]
) -> dict[str, Array]:
    trainable = {name: parameters[name] for name, p in graph.params().items() if p.trainable}
    return {**trainable, **{_input(name): value for name, value in inputs.items()}}


def _compare(
    function: Function,
    point: Mapping[str, Array],
    gradients: Mapping[str, Array],
    seed: int,
    what: str,
) -> None:
    for name, gradient in gradients.items():
        where = f"{what}: gradient of {name}"
        assert gradient.shape == point[name].shape, where
        for draw in range(DIRECTIONS):
            rng = samples.generator(seed, f"direction/{name}", draw)
            direction = rng.normal(size=gradient.shape)
            wanted = float(np.sum(gradient * direction))
            scale = float(np.sum(np.abs(gradient * direction)))
            found, error, noise = _derivative(function, point, name, direction)
            if error <= SHARP * scale or error <= ROUNDING * noise:
                difference = abs(found - wanted)
                assert difference <= TRUST * error + UNIT * len(direction.ravel()) * scale, (
                    f"{where} is {wanted}, and differences give {found} +- {error}"
                )
                break
        else:
            raise AssertionError(f"{where}: no difference is sharp enough")


def _derivative(
    function: Function, point: Mapping[str, Array], name: str, direction: Array
) -> tuple[float, float, float]:
    """The sharpest central difference, the estimate of its error, and the rounding part of it."""
    best = (0.0, np.inf, 0.0)
    for h in STEPS:
        wide, _ = _central(function, point, name, direction, h)
        narrow, magnitude = _central(function, point, name, direction, h / 2)
        noise = ROUNDING * UNIT * magnitude / h
        error = abs(wide - narrow) + noise
        if error < best[1]:
            best = (narrow, error, noise)
    return best


def _central(
    function: Function, point: Mapping[str, Array], name: str, direction: Array, h: float
) -> tuple[float, float]:
    """(f(t + h d) - f(t - h d)) / 2h, and the magnitude of what is summed up in f."""
    plus = function({**point, name: point[name] + h * direction})
    minus = function({**point, name: point[name] - h * direction})
    return float(np.sum(plus - minus)) / (2 * h), float(np.sum(np.abs(plus)))
