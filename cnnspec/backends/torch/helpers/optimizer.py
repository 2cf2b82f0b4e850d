"""An optimizer that torch's own comes close to."""

from __future__ import annotations

from typing import Any

import torch


class CenteredRMSprop(torch.optim.Optimizer):
    """RMSprop by the running variance; where rounding takes it below 0, torch's own has no root."""

    def __init__(
        self,
        params: Any,
        lr: float,
        alpha: float,
        eps: float,
        momentum: float = 0.0,
        weight_decay: float = 0.0,
    ):
        options = {"alpha": alpha, "eps": eps, "momentum": momentum, "weight_decay": weight_decay}
        super().__init__(params, {"lr": lr, **options})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override] # there is no closure
        """Update every parameter that has a gradient: p -= lr g / (sqrt(v - m^2) + eps)."""
        for group in self.param_groups:
            weight = 1 - group["alpha"]
            for p in group["params"]:
                if p.grad is None:
                    continue
                g, state = p.grad.add(p, alpha=group["weight_decay"]), self.state[p]
                if not state:
                    for name in ("square_avg", "grad_avg", "momentum_buffer"):
                        state[name] = torch.zeros_like(p)
                m = state["grad_avg"].lerp_(g, weight)
                v = state["square_avg"].mul_(group["alpha"]).addcmul_(g, g, value=weight)
                scale = v.addcmul(m, m, value=-1).clamp_(min=0).sqrt_().add_(group["eps"])
                b = state["momentum_buffer"].mul_(group["momentum"]).addcdiv_(g, scale)
                p.add_(b, alpha=-group["lr"])
