"""The NumPy file against loops over pixels, and its convolution against PyTorch's."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F

import cnnspec
from benchmarks.emitted import lenet
from benchmarks.harness import Result, clock_of, compare, judged, of_pairs
from cnnspec.backends.program import Program

Array = npt.NDArray[Any]

# Channels in, channels out, kernel, stride, size: one convolution of each stage of a ResNet.
RESNET = (
    (3, 64, 7, 2, 224),
    (64, 64, 3, 1, 56),
    (64, 128, 3, 2, 56),
    (128, 128, 3, 1, 28),
    (256, 256, 3, 1, 14),
    (512, 512, 3, 1, 7),
    (64, 256, 1, 1, 56),
    (512, 128, 1, 1, 28),
)
BATCH = 4


def loops(x: Array, weight: Array, bias: Array, pad: int) -> Array:
    """Convolution of one image as its definition reads, one product at a time."""
    padded = np.pad(x[0], ((0, 0), (pad, pad), (pad, pad))).tolist()
    kernels, size = weight.tolist(), weight.shape[2]
    height, width = (n + 2 * pad - size + 1 for n in x.shape[2:])
    out = np.empty((1, len(kernels), height, width), x.dtype)
    for o, kernel in enumerate(kernels):
        for i in range(height):
            for j in range(width):
                total = float(bias[o])
                for c, plane in enumerate(kernel):
                    for p in range(size):
                        for q in range(size):
                            total += plane[p][q] * padded[c][i + p][j + q]
                out[0, o, i, j] = total
    return out


def lenet_by_loops(module: Any, model: Any, x: Array) -> Array:
    """The same layers, with such convolutions."""
    for layer in (model.conv1, model.conv2):
        parameters = layer.parameters
        x = loops(x, parameters["weight"], parameters["bias"], 2)
        x, _ = module.relu(x)
        x, _ = module.max_pool(x, 2)
    x, _ = module.relu(model.fc1.forward(module.flatten(x)[0])[0])
    found: Array = module.softmax(model.fc2.forward(x)[0])[0]
    return found


def forward() -> Result:
    """LeNet on one image."""
    module, model = lenet("numpy")
    x = np.random.default_rng(0).normal(size=(1, 1, 28, 28)).astype(np.float32)
    if not np.allclose(model.forward(x)[0], lenet_by_loops(module, model, x), atol=1e-4):
        raise RuntimeError("the two networks differ")
    found = compare(
        "numpy LeNet, inference of 1",
        "the same with nested-loop convolutions",
        clock_of(lambda: model.forward(x)),
        clock_of(lambda: lenet_by_loops(module, model, x)),
        repeats=5,
        warm_up=1,
    )
    return judged(found, 1 / 100, "100 times faster")


def convolution(inside: int, outside: int, kernel: int, stride: int, size: int) -> Result:
    """One convolution, forward, float32."""
    text = cnnspec.emit(
        f"cnnspec: 1\nname: one\ninput: [{inside}, {size}, {size}]\nlayers:\n"
        f"  - conv: {{name: conv, filters: {outside}, kernel: {kernel}, stride: {stride},"
        f" padding: {kernel // 2}}}\n",
        "numpy",
    ).text
    model: Any = Program(text, "one").run().One()
    rng = np.random.default_rng(0)
    x = rng.normal(size=(BATCH, inside, size, size)).astype(np.float32)
    weight, bias = model.conv.parameters["weight"], model.conv.parameters["bias"]
    tx, tw, tb = (torch.from_numpy(array) for array in (x, weight, bias))

    def peer() -> torch.Tensor:
        with torch.no_grad():
            return F.conv2d(tx, tw, tb, stride=stride, padding=kernel // 2)

    if not np.allclose(model.conv.forward(x)[0], peer().numpy(), atol=1e-2):
        raise RuntimeError("the two convolutions differ")
    return compare(
        f"numpy conv {inside} to {outside}, {kernel}x{kernel} / {stride}, {size}x{size}",
        "torch eager",
        clock_of(lambda: model.conv.forward(x)),
        clock_of(peer),
        repeats=6,
        warm_up=1,
    )


def run() -> list[Result]:
    """On one thread each."""
    torch.set_num_threads(1)
    singles = [convolution(*sizes) for sizes in RESNET]
    total = of_pairs(
        f"numpy convolutions of a ResNet, together, batch {BATCH}",
        "torch eager",
        [(sum(r.ours for r in singles), sum(r.theirs for r in singles))],
    )
    spread = [r.ratio for r in singles]
    mean = math.exp(sum(map(math.log, spread)) / len(spread))
    total = replace(total, low=min(spread), high=max(spread))
    total = judged(total, 2, f"within 2 times (mean of ratios {mean:.2f})")
    return [forward(), *singles, total]
