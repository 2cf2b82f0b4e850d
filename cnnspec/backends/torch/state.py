"""What a torch optimizer keeps of each parameter: momenta, squares, step counters."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import torch

from cnnspec.backends.base import Emitted
from cnnspec.backends.state import AVERAGE, by_kind, misfit, paths

if TYPE_CHECKING:
    from cnnspec.backends.base import Array


def read(emitted: Emitted, model: torch.nn.Module, optimizer: Any) -> dict[str, Array]:
    """Copies of everything that updates have left besides weights; see `Session.state`."""
    names = paths(emitted)
    found = {
        f"{AVERAGE}/{names[path]}": _array(value)
        for path, value in getattr(model, "averages", {}).items()
    }
    for name, parameter, _ in _parameters(emitted, model, optimizer):
        for kind, value in optimizer.state.get(parameter, {}).items():
            if value is not None:
                found[f"{kind}/{name}"] = _array(torch.as_tensor(value))
    return found


def write(
    emitted: Emitted, model: torch.nn.Module, optimizer: Any, state: Mapping[str, Array]
) -> None:
    """Put the state into a new optimizer, and averages into the model."""
    kinds = by_kind(emitted, state)
    averages = kinds.pop(AVERAGE, None)
    if averages is not None:
        own = model.state_dict()
        slots = {name: emitted.slots[name] for name in averages}
        vars(model)["averages"] = {
            slot.path: _like(own[slot.path], averages[name]) for name, slot in slots.items()
        }
    known = set()
    for name, parameter, group in _parameters(emitted, model, optimizer):
        known.add(name)
        entries = {kind: found[name] for kind, found in kinds.items() if name in found}
        if entries:
            # `load_state_dict` would convert to the parameter's dtype what is kept in another.
            optimizer.state[parameter] = {
                kind: _restored(parameter, group, value) for kind, value in entries.items()
            }
    for kind, entries in kinds.items():
        for name in entries:
            if name not in known:
                raise misfit(f"{kind}/{name}", "the optimizer has no such parameter")


def _parameters(
    emitted: Emitted, model: torch.nn.Module, optimizer: Any
) -> Iterator[tuple[str, torch.Tensor, Mapping[str, Any]]]:
    """Each parameter of the optimizer with its canonical name and its group."""
    by_path, names = paths(emitted), {id(p): path for path, p in model.named_parameters()}
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            yield by_path[names[id(parameter)]], parameter, group


def _array(tensor: torch.Tensor) -> Array:
    tensor = tensor.detach().cpu()
    found: Array = (tensor.float() if tensor.dtype == torch.bfloat16 else tensor).numpy().copy()
    return found


def _restored(parameter: torch.Tensor, group: Mapping[str, Any], value: Array) -> torch.Tensor:
    if value.ndim or parameter.shape == ():
        return _like(parameter, value)
    # Step counters stay on the processor, unless the update itself runs on the device.
    on_device = group.get("capturable") or group.get("fused")
    return torch.tensor(value, device=parameter.device if on_device else "cpu")


def _like(tensor: torch.Tensor, value: Array) -> torch.Tensor:
    """On the device of a tensor; bfloat16, which NumPy has not, again where the tensor has it."""
    made = torch.tensor(value, device=tensor.device)
    return made.to(tensor.dtype) if tensor.dtype == torch.bfloat16 else made
