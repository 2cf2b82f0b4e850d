"""Layers hold arrays, models hold layers."""

from __future__ import annotations

import contextvars
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Self

import numpy as np

from cnnspec.backends.numpy.kernels.annotations import Array, Forward


class Layer:
    """Parameters, running statistics and summed gradients, by name."""

    keeps = contextvars.ContextVar("keeps", default=True)  # in each thread

    def __init__(self) -> None:
        self.parameters: dict[str, Array] = {}
        self.statistics: dict[str, Array] = {}
        self.gradients: dict[str, Array] = {}
        self.frozen: set[str] = set()

    def accumulate(self, name: str, gradient: Array) -> None:
        """Add to a parameter's gradient: a shared layer is used several times."""
        if name not in self.frozen:
            known = self.gradients.get(name)
            self.gradients[name] = gradient if known is None else known + gradient


def keeping(backward: Callable[[Array], Any]) -> Callable[[Array], Any]:
    """The backward pass; inside of `predict` it is dropped, with every array that it refers to."""
    return backward if Layer.keeps.get() else dropped


def dropped(g: Array) -> Array:
    """Stand where a backward pass would."""
    raise RuntimeError("`predict` keeps nothing that a backward pass needs")


def walk(item: object, path: str, seen: set[int]) -> Iterator[tuple[str, Layer]]:
    """Yield (path, layer) for every layer in `item`, a shared one under its first path only."""
    if isinstance(item, Layer) and id(item) not in seen:
        seen.add(id(item))
        yield path, item
    elif isinstance(item, Model | dict | list):
        children = vars(item) if isinstance(item, Model) else item
        pairs = enumerate(children) if isinstance(children, list) else children.items()
        for name, child in pairs:
            yield from walk(child, f"{path}.{name}" if path else str(name), seen)


class Model:
    """A network or a part of one; its attributes: layers, models, lists or dicts of these."""

    def layers(self) -> list[tuple[str, Layer]]:
        """Every layer with its path, such as ("block1.conv2", ...), in order of construction."""
        return list(walk(self, "", set()))

    def parameters(self) -> dict[str, Array]:
        """Every parameter by name, such as "block1.conv2.weight"."""
        return {
            f"{path}.{k}": v for path, x in walk(self, "", set()) for k, v in x.parameters.items()
        }

    def gradients(self) -> dict[str, Array]:
        """The gradients summed so far, by the name of their parameter."""
        return {
            f"{path}.{k}": v for path, x in walk(self, "", set()) for k, v in x.gradients.items()
        }

    def zero_gradients(self) -> None:
        """Forget the gradients summed so far."""
        for _, layer in walk(self, "", set()):
            layer.gradients = {}

    def state(self) -> dict[str, Array]:
        """Parameters and running statistics by name."""
        return {
            f"{path}.{name}": array
            for path, layer in walk(self, "", set())
            for name, array in (layer.parameters | layer.statistics).items()
        }

    def load_state(self, state: Mapping[str, Array]) -> None:
        """Copy values in; the model keeps its dtype."""
        own = self.state()
        missing, unexpected = sorted(own.keys() - state.keys()), sorted(state.keys() - own.keys())
        if missing or unexpected:
            raise ValueError(f"missing: {missing}, unexpected: {unexpected}")
        for name, array in own.items():
            if array.shape != state[name].shape:
                raise ValueError(f"{name}: {state[name].shape} instead of {array.shape}")
        for name, array in own.items():
            array[...] = state[name]

    def predict(self: Any, *inputs: Array) -> Any:
        """What `forward` computes in inference, without its backward and all that it would keep."""
        before = Layer.keeps.set(False)
        try:
            return self.forward(*inputs)[0]
        finally:
            Layer.keeps.reset(before)

    def load_weights(self, path: str) -> None:
        """Read parameters and running statistics from a safetensors file."""
        from safetensors.numpy import load_file

        self.load_state(load_file(path))

    def save_weights(self, path: str) -> None:
        """Write parameters and running statistics to a safetensors file."""
        from safetensors.numpy import save_file

        save_file(self.state(), path)

    def astype(self, dtype: type[np.floating[Any]] | np.dtype[Any] | str) -> Self:
        """Convert every array, in place, and return the model."""
        for _, layer in walk(self, "", set()):
            for arrays in (layer.parameters, layer.statistics, layer.gradients):
                arrays.update({name: array.astype(dtype) for name, array in arrays.items()})
        return self


class Apply:
    """A function of x with its options, for a sequence to hold."""

    def __init__(self, function: Callable[..., Forward], *args: Any, **kwargs: Any) -> None:
        self.function, self.args, self.kwargs = function, args, kwargs

    def forward(self, x: Array, training: bool = False) -> Forward:
        """Call it; it is the same in training."""
        return self.function(x, *self.args, **self.kwargs)


class Identity:
    """Hands its input on, where a block has a layer in some instances only."""

    def forward(self, x: Array, training: bool = False) -> Forward:
        """The input, and its gradient unchanged."""
        return x, lambda g: g


class Sequential(Model):
    """Layers and functions one after another, named 0, 1, ... or by the keys of one dict."""

    def __init__(self, *layers: Any) -> None:
        named = len(layers) == 1 and isinstance(layers[0], dict)
        vars(self).update(layers[0] if named else {str(i): x for i, x in enumerate(layers)})

    def child(self, name: str) -> Any:
        """The layer of this name or position."""
        return vars(self)[name]

    def last(self) -> Any:
        """The last layer."""
        return list(vars(self).values())[-1]

    def part(self, start: int, stop: int | None) -> Sequential:
        """Some of the layers, under the same names."""
        return Sequential(dict(list(vars(self).items())[start:stop]))

    def forward(self, x: Array, training: bool = False) -> Forward:
        """Chain the layers."""
        steps = []
        for layer in vars(self).values():
            x, step = layer(x) if callable(layer) else layer.forward(x, training)
            steps.append(step)

        def backward(g: Array) -> Array:
            for step in reversed(steps):
                g = step(g)
            return g

        return x, backward
