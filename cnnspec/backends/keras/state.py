"""What a Keras optimizer keeps: its variables besides the learning rate."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from cnnspec.backends.base import Emitted
from cnnspec.backends.keras.live import plain, variables
from cnnspec.backends.state import AVERAGE, WHOLE, by_kind, misfit

if TYPE_CHECKING:
    from cnnspec.backends.base import Array


def read(emitted: Emitted, model: Any, optimizer: Any) -> dict[str, Array]:
    """Copies of everything that updates have left besides weights; see `Session.state`."""
    names = {slot.path: name for name, slot in emitted.slots.items()}
    found = {
        f"{AVERAGE}/{names[path]}": _canonical(emitted, names[path], value)
        for path, value in getattr(model, "averages", {}).items()
    }
    for kind, name, variable in _entries(emitted, model, optimizer):
        found[f"{kind}/{name}"] = _canonical(emitted, name, variable.value)
    return found


def write(emitted: Emitted, model: Any, optimizer: Any, state: Mapping[str, Array]) -> None:
    """Put the state into a new optimizer that is built, and averages into the model."""
    kinds = by_kind(emitted, state)
    _average(emitted, model, kinds.pop(AVERAGE, None))
    for kind, name, variable in _entries(emitted, model, optimizer):
        value = kinds.get(kind, {}).pop(name, None)
        if value is None:
            raise misfit(f"{kind}/{name}", "there is none, and the optimizer needs it")
        variable.assign(_stored(emitted, name, value))
    for kind, left in kinds.items():
        for name in left:
            raise misfit(f"{kind}/{name}", "the optimizer keeps nothing of this name")


def _average(emitted: Emitted, model: Any, averages: Mapping[str, Array] | None) -> None:
    if averages is None:
        return
    own = {
        emitted.slots[name].path: _stored(emitted, name, value) for name, value in averages.items()
    }
    kept = getattr(model, "averages", None)
    if kept is None:
        model.averages = {path: keras.ops.convert_to_tensor(value) for path, value in own.items()}
        return
    for path, value in own.items():
        if hasattr(kept[path], "assign"):
            kept[path].assign(value)
        else:
            kept[path] = keras.ops.convert_to_tensor(value)


def _entries(emitted: Emitted, model: Any, optimizer: Any) -> Iterator[tuple[str, str, Any]]:
    """Kind, name and variable: of a parameter, or of the optimizer as a whole."""
    path_of = {id(variable): path for path, variable in variables(model).items()}
    names = {slot.path: name for name, slot in emitted.slots.items()}
    trained = [names[path_of[id(v)]] for v in optimizer._trainable_variables]
    lists: dict[str, list[Any]] = {
        kind: list(value)
        for kind, value in vars(optimizer).items()
        if not kind.startswith("_")
        and isinstance(value, list | tuple)
        and len(value) == len(trained)
        and all(isinstance(each, keras.Variable) for each in value)
    }
    owners = {
        id(variable): (kind, name)
        for kind, own in lists.items()
        for name, variable in zip(trained, own, strict=True)
    }
    rate = getattr(optimizer, "_learning_rate", None)
    for variable in optimizer.variables:
        if variable is not rate:
            kind, name = owners.get(id(variable), (WHOLE, variable.name))
            yield kind, name, variable


def _canonical(emitted: Emitted, name: str, value: Any) -> Array:
    array, slot = plain(value), emitted.slots.get(name)
    if slot is None or array.shape != slot.stored:
        return np.array(array)
    return np.array(slot.restore(array), order="C")


def _stored(emitted: Emitted, name: str, value: Array) -> Array:
    slot = emitted.slots.get(name)
    if slot is None or value.shape != slot.shape:
        return value
    return np.array(slot.store(value), order="C")
