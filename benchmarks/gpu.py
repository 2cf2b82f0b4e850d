"""ResNet-50 on a GPU against the module written by hand, eager and compiled; TF32; tied maxima.

Without a GPU the same calls run once on the CPU, on two small images, so that they are known to
work; the rows say that they were not measured, and have no ratio.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

import cnnspec
from benchmarks.harness import Result, compare, judged
from benchmarks.resnet50 import ResNet50
from cnnspec.backends.program import Program

THERE = torch.cuda.is_available()
DEVICE = "cuda" if THERE else "cpu"
BATCH, SIZE = (256, 224) if THERE else (2, 64)
MODE = "max-autotune" if THERE else "default"
"""Of `torch.compile`: it tries kernels, and uses CUDA graphs."""
GOAL = 1.02
"""Times the module by hand, called in the same way."""
UNMEASURED = "not measured: there is no GPU; the calls ran on the CPU"


def run() -> list[Result]:
    """Inference and training, and what TF32 changes."""
    exact(tf32=False)
    ours, theirs = networks()
    found = []
    for training in (False, True):
        for mode, autocast in (("eager", False), ("eager", True), ("compiled", True)):
            found.append(against(ours, theirs, training=training, mode=mode, autocast=autocast))
    found.append(tf32_against_float32(ours))
    print(ties(), file=sys.stderr)
    return found


def exact(*, tf32: bool) -> None:
    """Whether products and convolutions may round their inputs to 10 bits."""
    torch.backends.cuda.matmul.allow_tf32 = tf32
    torch.backends.cudnn.allow_tf32 = tf32


def networks() -> tuple[nn.Module, nn.Module]:
    """What `compile` writes, and the network by hand, with the same weights."""
    emitted = cnnspec.emit("specs/resnet50.yaml", "torch")
    ours: nn.Module = getattr(Program(emitted.text, "torch").run(), emitted.entry)()
    theirs = ResNet50()
    theirs.load_state_dict(ours.state_dict())
    return ours.to(DEVICE), theirs.to(DEVICE)


def images() -> torch.Tensor:
    """A batch, in the network's memory."""
    return torch.randn(BATCH, 3, SIZE, SIZE, device=DEVICE)


def against(
    ours: nn.Module, theirs: nn.Module, *, training: bool, mode: str, autocast: bool
) -> Result:
    """One row: both in the same mode."""
    x = images()
    y = torch.randint(0, 1000, (BATCH,), device=DEVICE)
    calls = []
    for model in (ours, theirs):
        model.train(training)
        called: Any = torch.compile(model, mode=MODE) if mode == "compiled" else model
        calls.append(
            step(model, called, x, y, autocast) if training else infer(called, x, autocast)
        )
    what = f"{'training step on' if training else 'inference of'} {BATCH}"
    words = f"{mode}, {'bfloat16' if autocast else 'float32'}"
    name = f"torch ResNet-50 on {DEVICE}, {what}, {words}"
    return measured(name, "the same by hand", calls[0], calls[1], GOAL)


def infer(model: Any, x: torch.Tensor, autocast: bool) -> Callable[[], object]:
    """A call that returns scores."""

    def call() -> object:
        with torch.inference_mode(), precision(autocast):
            return model(x)

    return call


def step(
    model: nn.Module, called: Any, x: torch.Tensor, y: torch.Tensor, autocast: bool
) -> Callable[[], object]:
    """A call that trains once by SGD with momentum."""
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-4, momentum=0.9)

    def call() -> object:
        optimizer.zero_grad(set_to_none=True)
        with precision(autocast):
            loss = F.cross_entropy(called(x), y)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        return loss

    return call


def precision(autocast: bool) -> AbstractContextManager[object]:
    """Products in bfloat16, or as they are."""
    return torch.autocast(DEVICE, torch.bfloat16) if autocast else nullcontext()


def tf32_against_float32(model: nn.Module) -> Result:
    """The same file with TF32 and without; how far outputs are apart goes to stderr."""
    model.eval()
    x = images()

    def call(*, tf32: bool) -> torch.Tensor:
        exact(tf32=tf32)
        with torch.inference_mode():
            scores: torch.Tensor = model(x)
        return scores

    fast, slow = call(tf32=True), call(tf32=False)
    apart = float((fast - slow).abs().max() / slow.abs().max())
    print(f"TF32 on {DEVICE}: outputs {apart:.2g} apart, relative to the largest", file=sys.stderr)
    found = measured(
        f"torch ResNet-50 on {DEVICE}, inference of {BATCH}, TF32",
        "the same in float32",
        partial(call, tf32=True),
        partial(call, tf32=False),
        None,
    )
    exact(tf32=False)
    return found


def ties() -> str:
    """Which of several equal maxima has the gradient, by one window of four equal values."""
    x = torch.ones(1, 1, 2, 2, device=DEVICE, requires_grad=True)
    F.max_pool2d(x, 2).sum().backward()  # type: ignore[no-untyped-call]
    assert x.grad is not None
    share = x.grad.flatten().tolist()
    return f"max pool on {DEVICE}: the gradient of four tied maxima, in row-major order: {share}"


def measured(
    name: str,
    peer: str,
    ours: Callable[[], object],
    theirs: Callable[[], object],
    limit: float | None,
) -> Result:
    """Ratio of wall times on a GPU; without one both are called once."""
    if not THERE:
        ours(), theirs()
        return Result(name, peer, 0.0, 0.0, 0.0, 0.0, 0.0, goal=UNMEASURED)
    torch.cuda.reset_peak_memory_stats()
    found = compare(name, peer, clock(ours), clock(theirs), limit=limit)
    found = replace(found, memory=torch.cuda.max_memory_allocated())
    return found if limit is None else judged(found, limit)


def clock(call: Callable[[], object]) -> Callable[[], float]:
    """Seconds of a call, until the GPU has nothing left to do."""

    def seconds() -> float:
        torch.cuda.synchronize()
        begin = time.perf_counter()
        call()
        torch.cuda.synchronize()
        return time.perf_counter() - begin

    return seconds
