"""How the time of a forward pass grows with the size of images and with the batch."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from typing import Any

import numpy as np

import cnnspec
from benchmarks.harness import QUICK, Curve, clock_of
from cnnspec.backends import get

BACKENDS = ("numpy", "torch", "keras")
SIZES = (32, 64, 128) if QUICK else (32, 64, 128, 256)
BATCHES = (1, 4, 16) if QUICK else (1, 4, 16, 64)
SPEC = """\
cnnspec: 1
name: small
parameters: {{size: {size}}}
input: [3, $size, $size]
layers:
  - conv: {{filters: 16, kernel: 3, padding: same}}
  - batch_norm
  - relu
  - max_pool: {{kernel: 2}}
  - conv: {{filters: 32, kernel: 3, padding: same}}
  - batch_norm
  - relu
  - global_avg_pool
  - flatten
  - dense: {{units: 10}}
"""


def run() -> list[Curve]:
    """On one thread; nothing is compared, the curves are for looking at."""
    found = []
    for backend in BACKENDS:
        by_size = [(float(n), seconds(backend, n, 4)) for n in SIZES]
        by_batch = [(float(n), seconds(backend, 64, n)) for n in BATCHES]
        found += [
            Curve("forward, batch 4", backend, "height and width", "seconds", by_size),
            Curve("forward, 64x64", backend, "batch", "seconds", by_batch),
        ]
    return found


def seconds(backend: str, size: int, batch: int) -> float:
    """Of a call: the median of three measurements."""
    clock = clock_of(forward(backend, size, batch))
    clock()
    return statistics.median(clock() for _ in range(3))


def forward(backend: str, size: int, batch: int) -> Callable[[], object]:
    """A pass through the small network."""
    emitted = cnnspec.emit(SPEC.format(size=size), backend)
    options: dict[str, Any] = {"dtype": "float32", "eager": False}
    session = get(backend).open(emitted, **options)
    shape = (batch, 3, size, size)
    x = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    return lambda: session.forward({"input": x})
