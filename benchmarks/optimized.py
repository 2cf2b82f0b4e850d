"""`--optimize inference` of ResNet-18 against the network written by hand, in PyTorch."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

import cnnspec
from benchmarks.harness import Result, clock_of, compare
from cnnspec.backends.program import Program

SPEC = "specs/resnet18.yaml"
GOALS = {
    # batch: the ratio to hand-written eager, of eager and of compiled with frozen weights
    1: (0.75, 0.58),
    8: (0.68, 0.55),
}
REPEATS = 6


class Basic(nn.Module):
    """Two convolutions beside a shortcut."""

    def __init__(self, before: int, channels: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(before, channels, 3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.downsample: nn.Module = nn.Identity()
        if stride > 1 or before != channels:
            conv = nn.Conv2d(before, channels, 1, stride=stride, bias=False)
            self.downsample = nn.Sequential(conv, nn.BatchNorm2d(channels))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, before, H, W) to (N, channels, H / stride, W / stride)."""
        y = F.relu(self.bn1(self.conv1(x)), inplace=True)
        y = self.bn2(self.conv2(y))
        return F.relu(y + self.downsample(x), inplace=True)


class ResNet18(nn.Module):
    """As in the paper, and as people write it."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        before = 64
        for number, channels in enumerate((64, 128, 256, 512), start=1):
            first = Basic(before, channels, 1 if number == 1 else 2)
            self.add_module(f"layer{number}", nn.Sequential(first, Basic(channels, channels, 1)))
            before = channels
        self.fc = nn.Linear(512, 1000)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, 3, 224, 224) to (N, 1000)."""
        x = F.relu(self.bn1(self.conv1(x)), inplace=True)
        x = F.max_pool2d(x, 3, stride=2, padding=1)
        for number in range(1, 5):
            x = getattr(self, f"layer{number}")(x)
        scores: torch.Tensor = self.fc(F.adaptive_avg_pool2d(x, 1).flatten(1))
        return scores


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
    """Inference on one thread: eager in channels last, and compiled with frozen weights."""
    torch.set_num_threads(1)
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
        compiled = compile_frozen(ours)
        name = "optimized, channels last, compiled and frozen"
        found.append(timed(name, compiled, last, theirs, x, goal=frozen))
    return found


def channels_last(module: nn.Module) -> nn.Module:
    """The module with its weights in that order."""
    return module.to(memory_format=torch.channels_last)  # type: ignore[call-overload] # stubs


def compile_frozen(module: nn.Module) -> Any:
    """The module compiled, with its weights as constants."""
    import torch._inductor.config as inductor

    inductor.freezing = True
    return torch.compile(module)


def timed(
    name: str, ours: Any, x: torch.Tensor, theirs: Any, y: torch.Tensor, goal: float | None = None
) -> Result:
    """Both by turns, after their outputs have been compared."""

    def call(network: Any, images: torch.Tensor) -> torch.Tensor:
        with torch.inference_mode():
            scores: torch.Tensor = network(images)
            return scores

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
