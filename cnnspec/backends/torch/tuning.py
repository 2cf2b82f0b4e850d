"""How a torch model runs: mixed precision, channels last, compiled; the text stays as it is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from cnnspec.backends.base import Tuning
from cnnspec.diagnostics import Diagnostic, SetupError

if TYPE_CHECKING:
    from cnnspec.backends.torch.session import TorchSession

NATIVE = torch.nn.modules.batchnorm._NormBase
"""Whose statistics are in float32 whatever goes in."""


def tune(session: TorchSession, tuning: Tuning) -> None:
    """Let a session's model run so, in training and inference.

    Raises:
        SetupError: the parts do not go together.
    """
    if tuning.channels_last:
        session.model.to(memory_format=torch.channels_last)  # type: ignore[call-overload] # torch's stubs want more
        session.channels_last = True
    method = "logits" if hasattr(session.model, "logits") else "forward"
    run: Any = getattr(session.model, method)
    if tuning.precision is not None:
        if session.dtype != torch.float32:
            raise SetupError(
                Diagnostic(
                    "precision-without-float32",
                    f"`{tuning.precision}` is computed with beside float32 weights, and these are "
                    f"{str(session.dtype).removeprefix('torch.')}",
                    help="`--dtype float32`",
                )
            )
        run = _mixed(run, session.device, getattr(torch, tuning.precision))
        for module in session.model.modules():
            if "running_mean" in module._buffers and not isinstance(module, NATIVE):
                module.register_forward_pre_hook(_as_its_statistics)
    if tuning.compile:
        run = torch.compile(run)
    vars(session.model)[method] = run


def _as_its_statistics(module: Any, inputs: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
    return tuple(x.to(module.running_mean.dtype) for x in inputs)


def _mixed(run: Any, device: torch.device, dtype: torch.dtype) -> Any:
    """The same where products are computed in another type; what comes out is float32."""

    def mixed(*inputs: torch.Tensor) -> Any:
        with torch.autocast(device.type, dtype):
            outputs = run(*inputs)
        if isinstance(outputs, dict):
            return {name: value.float() for name, value in outputs.items()}
        return outputs.float()

    return mixed
