"""`--optimize inference` of ResNet-18 against the network written by hand, in PyTorch."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import nn

import cnnspec
from benchmarks.harness import THREADS, Result, clock_of, compare
from benchmarks.resnet18 import ResNet18
from cnnspec.backends.program import Program

SPEC = "specs/resnet18.yaml"
GOALS = {
    # batch: the ratio to hand-written eager, of eager and of compiled with frozen weights
    1: (0.75, 0.58),
    8: (0.68, 0.55),
}
REPEATS = 6


def model(*, optimize: bool) -> tuple[Any, nn.Module]:
    """What `compile` writes, and the network by hand, with the same weights."""
    graph = cnnspec.load(SPEC)
    weights = cnnspec.initial_weights(graph)
    theirs = ResNet18().eval()
    state = theirs.state_dict()
    state.update({name: torch.from_numpy(value).float() for name, value in weights.items()})
    theirs.load_state_dict(state)
    made = cnnspec.optimize(graph) if optimize else graph
    folded = cnnspec.fold_weights(graph, weights) if optimize else weights
    emitted = cnnspec.emit(made, "torch")
    ours = getattr(Program(emitted.text, "torch").run(), emitted.entry)().eval()
    ours.load_state_dict(
        {name: torch.from_numpy(value).float() for name, value in folded.items()}, strict=False
    )
    return ours, theirs


def run() -> list[Result]:
    """Inference: eager in channels last, and compiled with frozen weights."""
    torch.set_num_threads(THREADS)
    found = []
    for batch, (eager, frozen) in GOALS.items():
        x = torch.randn(batch, 3, 224, 224)
        last = x.to(memory_format=torch.channels_last)
        plain, theirs = model(optimize=False)
        found.append(timed("as emitted, channels last", channels_last(plain), last, theirs, x))
        ours, theirs = model(optimize=True)
        found.append(timed("optimized", ours, x, theirs, x))
        found.append(
            timed("optimized, channels last", channels_last(ours), last, theirs, x, goal=eager)
        )
        found.append(timed("its convolutions alone", Convolutions(ours, last), last, theirs, x))
        compiled = compile_frozen(ours)
        name = "optimized, channels last, compiled and frozen"
        found.append(timed(name, compiled, last, theirs, x, goal=frozen))
    return found


class Convolutions:
    """Calls those of a network, each on what it is given there: less than any eager file takes."""

    def __init__(self, network: nn.Module, x: torch.Tensor) -> None:
        self.calls: list[tuple[nn.Module, torch.Tensor]] = []
        convs = [module for module in network.modules() if isinstance(module, nn.Conv2d)]
        hooks = [conv.register_forward_pre_hook(self._keep) for conv in convs]
        self.scores = call(network, x)
        for hook in hooks:
            hook.remove()

    def _keep(self, conv: nn.Module, given: tuple[torch.Tensor]) -> None:
        self.calls.append((conv, given[0].clone(memory_format=torch.preserve_format)))

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """What the network has for the x that it was made with."""
        for conv, given in self.calls:
            conv(given)
        return self.scores


def call(network: Any, images: torch.Tensor) -> torch.Tensor:
    """Inference."""
    with torch.inference_mode():
        scores: torch.Tensor = network(images)
        return scores


def channels_last(module: nn.Module) -> nn.Module:
    """The module with its weights in that order."""
    return module.to(memory_format=torch.channels_last)  # type: ignore[call-overload,no-any-return] # stubs


def compile_frozen(module: nn.Module) -> Any:
    """The module compiled, with its weights as constants."""
    import torch._inductor.config as inductor

    inductor.freezing = True
    return torch.compile(module)


def timed(
    name: str, ours: Any, x: torch.Tensor, theirs: Any, y: torch.Tensor, goal: float | None = None
) -> Result:
    """Both by turns, after their outputs have been compared."""
    a, b = call(ours, x), call(theirs, y)
    assert float((a - b).abs().max()) < 1e-4 * float(b.abs().max()), name
    found = compare(
        f"torch ResNet-18, {name}, batch {len(x)}",
        "by hand, eager",
        clock_of(lambda: call(ours, x)),
        clock_of(lambda: call(theirs, y)),
        repeats=REPEATS,
        limit=goal,
    )
    if goal is None:
        return found
    return replace(found, goal=f"at most {goal}", met=found.ratio <= goal)
