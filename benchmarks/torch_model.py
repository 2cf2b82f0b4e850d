"""A compiled PyTorch file against the same network written by hand."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import torch
import torch.nn.functional as F
from torch import nn

import cnnspec
from benchmarks.emitted import BATCH, WITHIN, lenet, within
from benchmarks.harness import Result, clock_of, compare, judged
from benchmarks.resnet18 import ResNet18
from cnnspec.backends.program import Program

AS_FAST = 1.02
"""The median ratio of two networks that are the same."""


class LeNet(nn.Module):
    """As in a tutorial."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 20, 5, padding=2)
        self.conv2 = nn.Conv2d(20, 50, 5, padding=2)
        self.fc1 = nn.Linear(50 * 7 * 7, 500)
        self.fc2 = nn.Linear(500, 10)

    def features(self, x: torch.Tensor) -> torch.Tensor:
        """(N, 1, 28, 28) to (N, 10)."""
        x = F.max_pool2d(F.relu(self.conv1(x)), 2)
        x = F.max_pool2d(F.relu(self.conv2(x)), 2)
        x = F.relu(self.fc1(x.flatten(1)))
        scores: torch.Tensor = self.fc2(x)
        return scores

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Probabilities."""
        return F.softmax(self.features(x), dim=1)


def run() -> list[Result]:
    """On one thread."""
    torch.set_num_threads(1)
    return [*lenets(), *resnets()]


def resnets() -> list[Result]:
    """ResNet-18, forward and backward: the same kernels in the same order, and as fast."""
    emitted = cnnspec.emit("specs/resnet18.yaml", "torch")
    ours = getattr(Program(emitted.text, "torch").run(), emitted.entry)()
    theirs = ResNet18()
    theirs.load_state_dict(ours.state_dict())
    found = []
    for name, batch, training in (("inference", 1, False), ("forward and backward", 2, True)):
        x = torch.randn(batch, 3, 224, 224)

        def call(model: nn.Module, x: torch.Tensor = x, training: bool = training) -> torch.Tensor:
            model.train(training)
            if training:
                model.zero_grad()
                scores: torch.Tensor = model(x)
                scores.sum().backward()  # type: ignore[no-untyped-call]
                return scores
            with torch.no_grad():
                return model(x)  # type: ignore[no-any-return]

        same = kernels(partial(call, ours)) == kernels(partial(call, theirs))
        result = compare(
            f"torch ResNet-18, {name} of {batch}",
            "the same by hand",
            clock_of(partial(call, ours)),
            clock_of(partial(call, theirs)),
            limit=AS_FAST,
        )
        result = judged(result, AS_FAST, f"at most {AS_FAST}, the same kernels in the same order")
        found.append(replace(result, met=result.met and same))
    return found


def kernels(call: Callable[[], object]) -> list[str]:
    """What PyTorch's profiler lists, in the order in which it began."""
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
        call()
    events = sorted(profile.events() or (), key=lambda event: event.time_range.start)
    return [event.name for event in events if event.name.startswith("aten::")]


def lenets() -> list[Result]:
    """LeNet, inference and a training step."""
    module, ours = lenet("torch")
    theirs = LeNet()
    theirs.load_state_dict(ours.state_dict())
    x, y = torch.randn(BATCH, 1, 28, 28), torch.randint(0, 10, (BATCH,))

    def infer(model: nn.Module) -> None:
        model.eval()
        with torch.no_grad():
            model(x)

    optimizers = [torch.optim.Adam(model.parameters(), lr=0.001) for model in (ours, theirs)]

    def step() -> float:
        theirs.train()
        optimizers[1].zero_grad()
        loss = F.cross_entropy(theirs.features(x), y)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizers[1].step()
        return loss.item()

    return [
        within(
            compare(
                f"torch LeNet, inference of {BATCH}",
                "the same by hand",
                clock_of(lambda: infer(ours)),
                clock_of(lambda: infer(theirs)),
                limit=WITHIN,
            )
        ),
        within(
            compare(
                f"torch LeNet, training step on {BATCH}",
                "the same by hand",
                clock_of(lambda: module.train_step(ours, optimizers[0], x, y, 0, 1)),
                clock_of(step),
                limit=WITHIN,
            )
        ),
    ]
