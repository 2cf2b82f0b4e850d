"""The variables of a live Keras model, under canonical names and in canonical layout."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from cnnspec.backends.base import Emitted
from cnnspec.backends.keras.engines import load

if TYPE_CHECKING:
    from cnnspec.backends.base import Array

ENGINE = load(keras.backend.backend())
"""A process has one."""


def layers(model: Any) -> Iterator[Any]:
    """Every layer of a model, those inside repeated blocks as well."""
    for layer in model.layers:
        inside = getattr(layer, "blocks", None)
        if isinstance(inside, list):
            for block in inside:
                yield from layers(block)
        else:
            yield layer


def variables(model: Any) -> dict[str, Any]:
    """Every Keras variable that is a weight, by the path that slots use."""
    return {f"{layer.name}/{v.name}": v for layer in layers(model) for v in layer.weights}


def parameters(emitted: Emitted, model: Any) -> dict[str, Any]:
    """The variables that are trained, by canonical name."""
    trained = {
        f"{layer.name}/{v.name}": v for layer in layers(model) for v in layer.trainable_weights
    }
    return {name: trained[s.path] for name, s in emitted.slots.items() if s.path in trained}


def share(emitted: Emitted, model: Any, copy: Any) -> None:
    """Let a copy have the very parameters of a model; its running statistics stay its own."""
    trained = {emitted.slots[name].path for name in parameters(emitted, model)}
    own, others = variables(model), variables(copy)
    for path in trained:
        others[path]._value = own[path]._value


class Live(Mapping[str, "Array"]):
    """A model's weights in canonical layout, each converted when it is asked for."""

    def __init__(self, emitted: Emitted, model: Any) -> None:
        self._slots = emitted.slots
        self._variables = variables(model)

    def __getitem__(self, name: str) -> Array:
        slot = self._slots[name]
        return np.ascontiguousarray(slot.restore(plain(self._variables[slot.path].value)))

    def __iter__(self) -> Iterator[str]:
        return iter(self._slots)

    def __len__(self) -> int:
        return len(self._slots)

    def alongside(self, variables: Sequence[Any], others: Sequence[Any]) -> dict[str, Array]:
        """What goes with some of the variables, as `average/NAME`, in their canonical layout."""
        names = {id(self._variables[slot.path]): name for name, slot in self._slots.items()}
        found = {}
        for variable, other in zip(variables, others, strict=True):
            name = names[id(variable)]
            value = self._slots[name].restore(plain(other.value))
            found[f"average/{name}"] = np.ascontiguousarray(value)
        return found


def plain(tensor: Any) -> Array:
    """A tensor of any engine as NumPy has it; bfloat16, which it has not, as float32."""
    value = ENGINE.array(tensor)
    return value.astype(np.float32) if value.dtype.name == "bfloat16" else value


def channels_first(tensor: Any) -> Array:
    """A tensor of the model as all others have it."""
    value = plain(tensor)
    return np.ascontiguousarray(np.moveaxis(value, -1, 1) if value.ndim > 2 else value)


def arrays(tensors: Mapping[str, Any]) -> dict[str, Array]:
    """Several of them by name."""
    return {name: channels_first(tensor) for name, tensor in tensors.items()}


def single(values: Mapping[str, Any]) -> Any:
    """One value is itself, several are a mapping, as in the text."""
    return next(iter(values.values())) if len(values) == 1 else values
