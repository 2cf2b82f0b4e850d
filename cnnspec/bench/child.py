"""One measurement, in a process that does nothing else."""

from __future__ import annotations

import json
import os
import sys
import traceback
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

from cnnspec.bench import resident
from cnnspec.bench.calls import Calls, calls
from cnnspec.bench.clock import measure
from cnnspec.bench.results import Memory
from cnnspec.bench.single import alone, kind
from cnnspec.diagnostics import UserError

if TYPE_CHECKING:
    from cnnspec.backends.base import Session
    from cnnspec.graph import Graph

__all__ = ["main"]

SMALL = """\
cnnspec: 1
name: small
input: [3, 8, 8]
layers:
  - conv: {filters: 4, kernel: 3}
  - relu
  - flatten
  - dense: {units: 2}
train: {loss: cross_entropy, optimizer: {sgd: {lr: 0.01, momentum: 0.9}}, batch: 2}
"""
"""What loads whatever a framework loads late, before memory is measured."""
CALLS = 3
"""While memory is measured: the second step is the first that has all the optimizer's buffers."""
SIZES = (512, 1024)
ON_GPU = (8192,)


def main() -> None:
    """Read a request as JSON, answer it as JSON: `{"ok": ...}` or `{"fault": ..., ...}`."""
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print is no answer
    request: dict[str, Any] = json.load(sys.stdin)
    tasks: Mapping[str, Callable[..., object]] = {
        "product": product,
        "time": time,
        "memory": memory,
        "layers": layers,
    }
    try:
        answer: dict[str, object] = {"ok": tasks[request.pop("task")](**request)}
    except UserError as error:
        first = error.diagnostics[0]
        answer = {
            "fault": first.message,
            "code": first.code,
            "help": first.help,
            "notes": first.notes,
        }
    except MemoryError:
        answer = {"fault": "there is not enough memory"}
    except Exception as error:  # a framework may raise anything; the other back ends go on
        traceback.print_exc()
        answer = {"fault": f"{type(error).__name__}: {error}".splitlines()[0]}
    with out:
        json.dump(answer, out)


def product(*, device: str, seconds: float) -> float:
    """Floating-point operations per second of the fastest large float32 matrix product."""
    best = 0.0
    for size in ON_GPU if device == "cuda" else SIZES:
        call = _product_there(size) if device == "cuda" else _product(size)
        best = max(best, 2 * size**3 / measure(call, seconds).low)
    return best


def _product(size: int) -> Callable[[], object]:
    import numpy as np

    a, b = np.random.default_rng(0).normal(size=(2, size, size)).astype(np.float32)
    out = np.empty_like(a)
    return lambda: np.matmul(a, b, out=out)


def _product_there(size: int) -> Callable[[], object]:
    import torch

    torch.backends.cuda.matmul.allow_tf32 = False
    a, b = torch.randn(2, size, size, device="cuda")

    def call() -> None:
        torch.matmul(a, b)
        torch.cuda.synchronize()

    return call


def time(
    *,
    spec: str,
    parameters: list[str],
    backend: str,
    batch: int,
    device: str,
    training: bool,
    seconds: float,
) -> dict[str, object]:
    """The time of inference, or of a training step, as `Time` has it."""
    graph = _graph(spec, parameters, training=training)
    session, own = _opened(graph, backend, batch, device)
    found = measure(own.step if training else own.infer, seconds)
    session.close()
    return asdict(found)


def memory(
    *,
    spec: str,
    parameters: list[str],
    backend: str,
    batch: int,
    device: str,
    training: bool,
) -> dict[str, object] | None:
    """The memory of the same, as `Memory` has it; None where the system does not tell."""
    graph = _graph(spec, parameters, training=training)
    _exercise(backend, device)
    base = resident.reset_peak()
    session, own = _opened(graph, backend, batch, device)
    if own.on_device:
        base = 0
        own.reset_device()
    else:
        # What drawing the weights took is no part of running the network.
        resident.reset_peak()
    for _ in range(CALLS):
        (own.step if training else own.infer)()
    peak = own.device_peak() if own.on_device else resident.peak()
    session.close()
    return None if base is None or peak is None else asdict(Memory(base, peak))


def layers(
    *,
    spec: str,
    parameters: list[str],
    backend: str,
    batch: int,
    device: str,
    seconds: float,
) -> dict[str, float]:
    """Seconds of each layer by itself, by its name."""
    graph = _graph(spec, parameters, training=False)
    known: dict[object, float | None] = {}
    found: dict[str, float] = {}
    for node in graph.nodes:
        key = kind(node)
        if key not in known:
            single = alone(node)
            known[key] = None if single is None else _alone(single, backend, batch, device, seconds)
        seconds_each = known[key]
        if seconds_each is not None:
            found[node.id] = seconds_each
    return found


def _alone(graph: Graph, backend: str, batch: int, device: str, seconds: float) -> float:
    session, own = _opened(graph, backend, batch, device)
    found = measure(own.infer, seconds)
    session.close()
    return found.median


def _graph(spec: str, parameters: list[str], *, training: bool) -> Graph:
    from cnnspec import document
    from cnnspec.build import build
    from cnnspec.parameters import written
    from cnnspec.schema import read_spec
    from cnnspec.training import default_training

    graph = build(read_spec(document.read(spec), written(parameters))).graph
    if training and graph.training is None:
        names = tuple(output.name for output in graph.outputs)
        graph = replace(graph, training=default_training(names))
    return graph


def _exercise(backend: str, device: str) -> None:
    """Run something small, forward and back."""
    from cnnspec.api import read

    session, own = _opened(read(SMALL).graph, backend, 2, device)
    for _ in range(2):
        own.infer()
        own.step()
    session.close()


def _opened(graph: Graph, backend: str, batch: int, device: str) -> tuple[Session, Calls]:
    """A session in float32, and its calls on random samples."""
    import numpy as np

    from cnnspec.backends.runtimes import runnable
    from cnnspec.check import samples

    found = runnable(backend)
    engine: dict[str, Any] = {} if found.engine is None else {"engine": found.engine}
    emitted = found.backend.emit(graph)
    there = "cpu" if found.backend.name == "numpy" else device
    session = found.backend.open(emitted, dtype="float32", device=there, eager=False, **engine)
    inputs = {
        entry.name: np.random.default_rng(i).standard_normal((batch, *entry.shape), np.float32)
        for i, entry in enumerate(graph.inputs)
    }
    targets = samples.targets(graph, 0, 0, batch) if graph.training else {}
    targets = {n: v.astype(np.float32) if v.dtype.kind == "f" else v for n, v in targets.items()}
    return session, calls(found.backend.name, session, inputs, targets)
