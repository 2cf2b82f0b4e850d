"""Several processes that train one network, as torchrun starts them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from datetime import timedelta
from functools import partial
from typing import Any

import torch
import torch.distributed as dist
from torch import nn

from cnnspec.backends.base import LostWorker
from cnnspec.diagnostics import Diagnostic, SetupError

LONGEST = timedelta(minutes=30)
"""That a process waits for another one, which may be evaluating or writing meanwhile."""


class TorchRanks:
    """The processes of a run: gloo on processors, NCCL on GPUs.

    Attributes:
        rank: the number of this one.
        count: how many there are.
        asks: whether this one wants the run to end.
        ends: whether any of them did, by the last update.
        device: of tensors that processes exchange.
    """

    def __init__(self, device: str) -> None:
        """Meet the others, by the environment that torchrun gives.

        Raises:
            SetupError: they cannot be reached.
        """
        if device == "auto":
            device = "cuda" if torch.cuda.is_available() else "cpu"
        backend = "nccl" if device.startswith("cuda") else "gloo"
        try:
            dist.init_process_group(backend, timeout=LONGEST)
        except (RuntimeError, ValueError) as fault:
            raise SetupError(
                Diagnostic(
                    "workers-unreachable",
                    "the other processes of this run cannot be reached",
                    notes=(str(fault).splitlines()[0],),
                    help="start it as `torchrun --nproc-per-node N -m cnnspec train ...`",
                )
            ) from None
        self.rank, self.count = dist.get_rank(), dist.get_world_size()
        self.asks = self.ends = False
        self.device = torch.device(device)
        if backend == "nccl":
            self.device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
            torch.cuda.set_device(self.device)

    def add_update(self, gradients: Sequence[torch.Tensor], loss: float) -> float:
        """Put the sum over all processes into each gradient; returns that of the losses."""
        told = torch.tensor([loss, float(self.asks)], dtype=torch.float64)
        self.add([*gradients, told])
        found, asking = told.tolist()
        self.ends = asking > 0
        return float(found)

    def add(self, tensors: Sequence[torch.Tensor]) -> None:
        """Put the sum over all processes into each tensor.

        Raises:
            LostWorker: one of them has gone.
        """
        flat = torch.cat([t.reshape(-1).to(self.device, torch.float64) for t in tensors])
        self._all_reduce(flat)
        begin = 0
        for tensor in tensors:
            end = begin + tensor.numel()
            tensor.copy_(flat[begin:end].reshape(tensor.shape))
            begin = end

    def _all_reduce(self, tensor: torch.Tensor) -> None:
        try:
            dist.all_reduce(tensor)
        except RuntimeError as fault:
            raise LostWorker(str(fault)) from fault

    def gather(self, value: Any) -> list[Any]:
        """What each process gives."""
        found: list[Any] = [None] * self.count
        try:
            dist.all_gather_object(found, value)
        except RuntimeError as fault:
            raise LostWorker(str(fault)) from fault
        return found

    def broadcast(self, value: Any) -> Any:
        """What the first process gives."""
        found = [value]
        try:
            dist.broadcast_object_list(found)
        except RuntimeError as fault:
            raise LostWorker(str(fault)) from fault
        return found[0]

    def unite(self, session: Any) -> None:
        """Let each update of a session be that of all processes, and its batch norms see them.

        That is what `convert_sync_batchnorm` does, which refuses tensors of a processor. The text
        and the state stay as they are.
        """
        session.ranks = self
        for module in session.model.modules():
            if _normalises(module):
                vars(module)["forward"] = partial(_forward, module, self, module.forward)

    def close(self) -> None:
        """Leave the others."""
        if dist.is_initialized():
            dist.destroy_process_group()


def _normalises(module: nn.Module) -> bool:
    """Whether it is a batch norm: torch's own, or the emitted one with a biased variance."""
    own = isinstance(module, nn.modules.batchnorm._BatchNorm)
    return own or type(module).__name__ == "BiasedBatchNorm"


class _Sum(torch.autograd.Function):
    """The sum over all processes; each of their losses depends on it."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, ranks: TorchRanks) -> torch.Tensor:
        ctx.ranks = ranks
        found = x.contiguous().clone()
        ranks._all_reduce(found)
        return found

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> tuple[torch.Tensor, None]:
        found = gradients[0].contiguous().clone()
        ctx.ranks._all_reduce(found)
        return found, None


def _forward(module: Any, ranks: TorchRanks, alone: Any, x: torch.Tensor) -> torch.Tensor:
    """Batch norm over the samples of all processes; in inference as ever."""
    if not module.training:
        found: torch.Tensor = alone(x)
        return found
    x = x.to(module.running_mean.dtype)  # in mixed precision sums need more digits
    axes = [axis for axis in range(x.dim()) if axis != 1]
    shape = (1, -1, *(1 for _ in x.shape[2:]))
    count = x.new_tensor([x.numel() / x.shape[1]])
    total = _add(torch.cat([x.sum(axes), count]), ranks)
    number = total[-1].detach()
    if number.item() < 2:
        raise ValueError("batch norm needs more than one value for each channel")
    mean = total[:-1] / number
    # Centred first: sums of plain squares cancel.
    centred = x - mean.view(shape)
    var = _add(centred.square().sum(axes), ranks) / number
    biased = type(module).__name__ == "BiasedBatchNorm"
    with torch.no_grad():
        share = module.momentum
        kept = var if biased else var * (number / (number - 1))
        module.running_mean.mul_(1 - share).add_(mean * share)
        module.running_var.mul_(1 - share).add_(kept * share)
        if getattr(module, "num_batches_tracked", None) is not None:
            module.num_batches_tracked.add_(1)
    y = centred / (var + module.eps).sqrt().view(shape)
    if module.weight is not None:
        y = y * module.weight.view(shape)
    shifted: torch.Tensor = y if module.bias is None else y + module.bias.view(shape)
    return shifted


def _add(x: torch.Tensor, ranks: TorchRanks) -> torch.Tensor:
    summed: Any = _Sum.apply  # torch's own stubs leave it untyped
    found: torch.Tensor = summed(x, ranks)
    return found
