"""Weights of any network, out of safetensors files and state dicts of torch."""

from __future__ import annotations

import os
from collections.abc import Mapping

import numpy as np

from cnnspec import files, memory
from cnnspec.data.dataset import Array
from cnnspec.diagnostics import DataError, Diagnostic, SetupError
from cnnspec.evaluate.model import weights_file
from cnnspec.weights import read_tensors

__all__ = ["read_any"]

TORCH = (".pt", ".pth", ".bin", ".ckpt")
PREFIX = "module."
"""What `DataParallel` puts before every name."""

INSIDE = ("state_dict", "model_state_dict", "model")
"""Where checkpoints keep the state dict."""

COUNTERS = "num_batches_tracked"


def read_any(path: str, *, best: bool = False) -> dict[str, Array]:
    """Read all tensors of a file.

    Of a torch file nothing but tensors is unpickled. A prefix `module.` that all names have is
    taken off; batch norms' counters of batches are left out.

    Args:
        path: safetensors, a run directory, or a state dict that `torch.save` has written, on its
            own or inside a checkpoint.
        best: of a run directory the best weights.

    Returns:
        By name, float16, float32 or float64.

    Raises:
        SetupError: there is no such file, or torch is needed and missing.
        DataError: the file is damaged, holds anything but tensors, or no floating-point ones.
    """
    path = weights_file(path, best=best)
    found = _torch(path) if path.lower().endswith(TORCH) else read_tensors(path)
    named = {n: array for n, array in found.items() if n.rpartition(".")[2] != COUNTERS}
    if all(name.startswith(PREFIX) for name in named):
        return {name.removeprefix(PREFIX): array for name, array in named.items()}
    return named


def _torch(path: str) -> Mapping[str, Array]:
    try:
        import torch
    except ImportError as fault:
        raise SetupError(
            Diagnostic(
                "extra-missing",
                f"`{path}` is read with torch, which cannot be imported",
                notes=(str(fault),),
                help="pip install 'cnnspec[torch]'",
            )
        ) from fault
    try:
        memory.require(os.path.getsize(path), f"reading `{path}`")
        with open(path, "rb") as stream:
            loaded = torch.load(stream, map_location="cpu", weights_only=True)
    except SetupError:
        raise
    except Exception as fault:  # a damaged or hostile file raises whatever its parts raise
        if isinstance(fault, OSError) and fault.errno is not None:
            raise files.unreadable(path, fault) from None
        if isinstance(fault, ValueError) and "null byte" in str(fault):
            raise files.unreadable(path, fault) from None
        text = (str(fault).splitlines() or [""])[0][:160] or type(fault).__name__
        raise _unusable(path, f"is no state dict of torch that is safe to read: {text}") from None
    for key in INSIDE:
        if isinstance(loaded, dict) and isinstance(loaded.get(key), dict):
            loaded = loaded[key]
            break
    if not isinstance(loaded, dict) or not loaded:
        raise _unusable(path, f"holds a {type(loaded).__name__}, and no state dict")
    found = {}
    for name, value in loaded.items():
        if not isinstance(name, str) or not isinstance(value, torch.Tensor):
            raise _unusable(path, f"has a {type(value).__name__} as `{name}`, and no tensor")
        if name.rpartition(".")[2] == COUNTERS:
            continue
        if not value.is_floating_point() or value.layout != torch.strided:
            raise _unusable(path, f"has `{name}` of type {value.dtype}, {value.layout}")
        wide = value.float() if value.dtype == torch.bfloat16 else value
        found[name] = np.ascontiguousarray(wide.detach().numpy())
    return found


def _unusable(path: str, what: str) -> DataError:
    return DataError(Diagnostic("weights-format", f"`{path}` {what}"))
