"""PyTorch: tensors remember how they were made."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import torch
from keras.src.backend.torch.layer import TorchLayer

from cnnspec.backends.keras.engines import Leaves, Pass, Pulled, Run, no_gpu

if TYPE_CHECKING:
    from cnnspec.backends.base import Array


def _tracked(layer: Any) -> None:
    """Let a layer's name have dots, as in `layer1.0.conv1`.

    Keras 3.15.1 lists a layer's variables for PyTorch under their paths, with the layer's name in
    them, and PyTorch refuses names with a dot. Nothing else of Keras reads that list.
    """
    layer._torch_params = torch.nn.ParameterDict(
        {variable.path.replace(".", ":"): variable.value for variable in layer.variables}
    )


def _tracked_too(layer: Any, variable: Any) -> None:
    if hasattr(layer, "_torch_params"):
        layer._torch_params[variable.path.replace(".", ":")] = variable.value


def _untracked(layer: Any, variable: Any) -> None:
    if hasattr(layer, "_torch_params"):
        name = variable.path.replace(".", ":")
        if name in layer._torch_params:
            layer._torch_params.pop(name)


TorchLayer._track_variables = _tracked
TorchLayer._post_track_variable = _tracked_too
TorchLayer._post_untrack_variable = _untracked


class _Torch:
    name = "torch"

    def prepare(self, device: str, devices: int = 1) -> None:
        if device == "cuda" and not torch.cuda.is_available():
            raise no_gpu("PyTorch")
        torch.backends.cuda.matmul.allow_tf32 = False
        torch.backends.cudnn.allow_tf32 = False

    def array(self, x: Any) -> Array:
        x = x.detach().cpu()
        found: Array = (x.float() if x.dtype == torch.bfloat16 else x).numpy()
        return found.copy()  # it shares the memory of a variable, which changes

    def own(self, x: Any) -> Any:
        return x.view(x.shape)

    def pull(
        self,
        run: Run,
        leaves: Leaves,
        parameters: Mapping[str, Any],
        model: Any,
        *,
        inner: bool = False,
    ) -> tuple[Pass, Pulled]:
        leaves = {name: leaf.detach().requires_grad_(True) for name, leaf in leaves.items()}
        found = run(leaves, {})
        groups = (
            leaves,
            {name: variable.value for name, variable in parameters.items()},
            found.values if inner else {},
        )
        sources = [x for group in groups for x in group.values() if x.requires_grad]
        pairs = [(a, b) for a, b in zip(found.heads, found.seeds, strict=True) if a.requires_grad]
        heads, seeds = [a for a, _ in pairs], [b for _, b in pairs]
        pulled = torch.autograd.grad(heads, sources, seeds, allow_unused=True) if pairs else ()
        known = {id(x): g for x, g in zip(sources, pulled, strict=bool(pairs)) if g is not None}

        def of(group: Mapping[str, Any]) -> dict[str, Any]:
            return {n: known.get(id(x), torch.zeros_like(x)) for n, x in group.items()}

        return found, Pulled(*map(of, groups))

    def traced(self, function: Callable[..., Any]) -> Callable[..., Any]:
        return function

    def compile(self, model: Any) -> None:
        model.jit_compile = True


ENGINE = _Torch()
