"""Whole networks in NumPy against PyTorch in eager mode: inference and training steps, float32.

Once with one thread each, in processor time, which a busy machine disturbs least; once with two
threads each, in wall time, because waiting threads use a processor too. The goals are for two.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import tracemalloc
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from types import ModuleType
from typing import Any

import numpy as np
import torch

import cnnspec
from benchmarks.harness import AT_LEAST, Result, of_pairs
from cnnspec.backends.program import Program
from cnnspec.graph import Graph
from cnnspec.training import default_training

PAIRS = 12
PAUSE = 0.3
"""Seconds before a measurement."""
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


@dataclass(frozen=True, slots=True)
class Case:
    """A network, and how many times as long as PyTorch it may take."""

    spec: str
    batch: int
    trains: bool
    limit: float

    @property
    def name(self) -> str:
        """As the table has it."""
        what = "training step on" if self.trains else "inference of"
        return f"numpy {self.spec}, {what} {self.batch}"


CASES = (
    Case("resnet18", 1, False, 1.3),
    Case("resnet18", 8, False, 1.7),
    Case("mobilenet_v2", 1, False, 1.5),
    Case("lenet_keras", 128, True, 2.2),
    Case("resnet18", 8, True, 2.2),
)


def opened(graph: Graph, backend: str) -> tuple[ModuleType, Any]:
    """The module that `compile` writes, and its model."""
    emitted = cnnspec.emit(graph, backend)
    module = Program(emitted.text, backend).run()
    return module, getattr(module, emitted.entry)()


def calls(case: Case) -> tuple[Callable[[], object], Callable[[], object]]:
    """Ours and PyTorch's, after both have been found to compute the same."""
    graph = cnnspec.load(f"specs/{case.spec}.yaml")
    if case.trains and graph.training is None:
        graph = replace(graph, training=default_training(("output",)))
    (module, model), (torch_module, peer) = opened(graph, "numpy"), opened(graph, "torch")
    model.load_state({k: v.numpy() for k, v in peer.state_dict().items() if "num_" not in k})
    rng = np.random.default_rng(0)
    x = rng.normal(size=(case.batch, *graph.inputs[0].shape)).astype(np.float32)
    tx = torch.from_numpy(x)
    if not case.trains:
        peer.eval()

        def infer() -> torch.Tensor:
            with torch.no_grad():
                found: torch.Tensor = peer(tx)
                return found

        if not np.allclose(model.predict(x), infer().numpy(), rtol=1e-3, atol=1e-3):
            raise RuntimeError("the two networks differ")
        return lambda: model.predict(x), infer
    classes = graph.outputs[0].value.shape
    y: Any = rng.normal(size=(case.batch, *classes)).astype(np.float32)
    if hasattr(model, "logits"):
        y = rng.integers(classes[0], size=case.batch)
    ty = torch.from_numpy(y)
    own, others = module.make_optimizer(model), torch_module.make_optimizer(peer)

    def ours() -> float:
        return float(module.train_step(model, own, x, y, 0, 1))

    def theirs() -> float:
        return float(torch_module.train_step(peer, others, tx, ty, 0, 1))

    if abs(ours() - theirs()) > 1e-3:
        raise RuntimeError("the two networks differ")
    return ours, theirs


def measured(case: Case, clock: Callable[[], float], threads: int) -> Result:
    """Ours and the peer's by turns; a pair warms up."""

    def seconds(call: Callable[[], object]) -> float:
        # The other library's threads wait for more work with all their might, for up to 0.1 s.
        time.sleep(PAUSE)
        call()
        begin, count = clock(), 0
        while count == 0 or clock() - begin < AT_LEAST:
            call()
            count += 1
        return (clock() - begin) / count

    ours, theirs = calls(case)
    pairs = [(seconds(ours), seconds(theirs)) for _ in range(PAIRS + 1)][1:]
    names = case.name, f"torch eager, threads: {threads}"
    return of_pairs(*names, pairs)


def convolution_memory() -> Result:
    """The most that one convolution allocates beside what it returns, against what it must hold."""
    graph = cnnspec.load("specs/resnet18.yaml")
    _, model = opened(graph, "numpy")
    shares = []
    for path, size in (("layer1.0.conv1", 56), ("layer4.0.conv2", 7), ("conv1", 224)):
        layer = dict(model.layers())[path]
        weight = layer.parameters["weight"]
        x = np.zeros((8, weight.shape[1], size, size), np.float32)
        tracemalloc.start()
        y, _ = layer.forward(x)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        shares.append((float(peak - y.nbytes), float(x.nbytes + y.nbytes + weight.nbytes)))
    found = of_pairs("numpy convolution, extra memory", "input, output and weights", shares)
    return replace(found, unit="B", goal="at most 1 (largest)", met=found.high <= 1)


def threaded(threads: int) -> list[Result]:
    """All cases in a process with so many threads."""
    environment = {**os.environ, **dict.fromkeys(THREADS, str(threads))}
    found = subprocess.run(  # noqa: S603 - this very file
        [sys.executable, "-m", "benchmarks.numpy_networks", str(threads)],
        env=environment,
        check=True,
        capture_output=True,
        text=True,
    )
    return [Result(**entry) for entry in json.loads(found.stdout)]


def child(threads: int) -> None:
    """What that process does."""
    torch.set_num_threads(threads)
    clock = time.process_time if threads == 1 else time.perf_counter
    print(json.dumps([asdict(measured(case, clock, threads)) for case in CASES]))


def run() -> list[Result]:
    """One thread for information, two for the goals, and memory."""
    results = threaded(1)
    for case, result in zip(CASES, threaded(2), strict=True):
        goal = f"at most {case.limit}"
        results.append(replace(result, goal=goal, met=result.ratio <= case.limit))
    return [*results, convolution_memory()]


if __name__ == "__main__":
    child(int(sys.argv[1]))
