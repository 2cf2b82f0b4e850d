"""Runs every measurement in a process of its own, and puts the answers together."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.util import find_spec
from typing import Any

from cnnspec import memory
from cnnspec.backends import names
from cnnspec.backends.runtimes import Runnable, runnable
from cnnspec.bench.prediction import predicted
from cnnspec.bench.results import STEPS, Layer, Memory, Options, Report, Row, Step, Time
from cnnspec.diagnostics import Diagnostic, SetupError
from cnnspec.graph import Graph
from cnnspec.threads import COUNTS
from cnnspec.training import default_training

__all__ = ["bench"]

BACKWARD = 3
"""A training step computes the products of forward, and two more of the same size."""
NEEDS = {"torch": ("torch",), "keras": ("keras", "tensorflow")}
"""Modules without which a built-in back end is left out, if it was not asked for."""
ALIKE = {
    "TF_CPP_MIN_LOG_LEVEL": "3",
}
PROMPT = {
    # What is freed goes back at once, and in small pages: what then is resident is in use. How
    # much a heap holds besides is a matter of chance.
    "MALLOC_MMAP_THRESHOLD_": "65536",
    "GLIBC_TUNABLES": "glibc.malloc.hugetlb=0",
}
"""Variables of a process whose memory is measured."""
KEPT = {
    # A network of one layer would hand back its output with every call, and be given new pages for
    # the next: as much time as a relu takes, which the layer takes nowhere else.
    "MALLOC_MMAP_THRESHOLD_": str(2**25),
    "MALLOC_TRIM_THRESHOLD_": str(2**30),
}
"""Variables of a process that times single layers."""


def bench(
    graph: Graph,
    spec: str,
    options: Options,
    *,
    parameters: Sequence[str] = (),
    tell: Callable[[str], object] = lambda _: None,
) -> Report:
    """Measure a network in each back end.

    Args:
        graph: of the spec.
        spec: its file, which the processes read again.
        options: what to measure.
        parameters: values for its top-level parameters, as `-p` is given them.
        tell: is told what is being done.

    Raises:
        SetupError: there is no such back end or device, its framework is missing where it was
            asked for, or there is not enough memory.
    """
    device, notes = _device(options.device)
    chosen = _chosen(options, device)
    steps = STEPS if options.training else STEPS[:1]
    need = (
        memory.session_bytes(graph, options.batch, 4)
        if options.training
        else (memory.weights_bytes(graph, 4))
    )
    memory.require(need, f"running `{graph.name}` with a batch of {options.batch:,}")
    threads = options.threads or _cores()
    report = Report(spec, graph.name, options.batch, threads, device, notes=notes)
    common = {
        "spec": spec,
        "parameters": list(parameters),
        "batch": options.batch,
        "device": device,
    }
    runner = _Runner(threads, options.timeout)
    tell("matrix products")
    answer = runner.ask({}, "product", device=device, seconds=options.seconds)
    report.product = float(answer.value) if not answer.fault else 0.0
    if answer.fault:
        report.notes.append(f"the speed of matrix products could not be measured: {answer.fault}")
    if graph.training is None and options.training:
        report.notes.append("the spec has no `train:`; a step is one of SGD on the squared error")
    for step in steps:
        found = []
        for each in chosen:
            tell(f"{each.name}: {step}")
            asked = {**common, "backend": each.name, "training": step == "training"}
            answer = runner.ask(each.environment, "time", **asked, seconds=options.seconds)
            if answer.missing and each.name in options.backends:
                raise SetupError(answer.diagnostic())
            if answer.fault:
                found.append(Row(each.name, step, fault=answer.fault))
                continue
            held = runner.ask({**PROMPT, **each.environment}, "memory", **asked)
            if held.fault:
                report.notes.append(f"{each.name}, memory of {step}: {held.fault}")
            bytes_ = held.value and Memory(
                **{**held.value, "predicted": _predicted(graph, each, step, options.batch, device)}
            )
            flops = _flops(graph, step, options.batch)
            found.append(Row(each.name, step, Time(**answer.value), bytes_ or None, flops))
        report.rows += _compared(found, report.product)
    if options.layers:
        report.layers = _layers(graph, chosen, runner, common, report, tell)
    return report


@dataclass(frozen=True, slots=True)
class _Answer:
    """What a process said: a value, or a fault."""

    value: Any = None
    fault: str = ""
    code: str = "engine-failed"
    help: str = ""
    notes: tuple[str, ...] = ()

    @property
    def missing(self) -> bool:
        return self.code == "backend-missing"

    def diagnostic(self) -> Diagnostic:
        return Diagnostic(self.code, self.fault, notes=self.notes, help=self.help)


@dataclass(frozen=True, slots=True)
class _Runner:
    """Starts the processes."""

    threads: int
    timeout: float

    def ask(self, environment: Mapping[str, str], task: str, **request: Any) -> _Answer:
        """One task in a process of its own."""
        given = {**ALIKE, **os.environ, **environment}
        given.update(dict.fromkeys(COUNTS, str(self.threads)))
        try:
            done = subprocess.run(
                [sys.executable, "-c", "from cnnspec.bench.child import main; main()"],
                input=json.dumps({"task": task, **request}),
                capture_output=True,
                text=True,
                env=given,
                timeout=self.timeout,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return _Answer(fault=f"no answer within {self.timeout:g} s")
        last = done.stdout.rpartition("\n")[2]
        if done.returncode or not last:
            return _Answer(fault=_end(done.returncode), notes=_last_lines(done.stderr))
        answer: dict[str, Any] = json.loads(last)
        if "ok" in answer:
            return _Answer(answer["ok"])
        answer["notes"] = tuple(answer.get("notes", _last_lines(done.stderr)))
        return _Answer(**answer)


def _end(status: int) -> str:
    if status >= 0:
        return f"the process ended with status {status}"
    reason = ", as the system does where memory is short" if status == -9 else ""
    return f"the process was killed by signal {-status}{reason}"


def _last_lines(text: str) -> tuple[str, ...]:
    return tuple(text.strip().splitlines()[-3:])


def _device(name: str) -> tuple[str, list[str]]:
    """The device to use, and what to say of it."""
    if name == "cpu":
        return name, []
    found = _gpu()
    if found:
        return "cuda", [f"GPU: {found}; TF32 is off"]
    if name == "auto":
        return "cpu", ["no GPU was found: nothing was measured on CUDA"]
    raise SetupError(
        Diagnostic(
            "unknown-device",
            "PyTorch finds no GPU, so that nothing was measured on CUDA",
            help="--device cpu, or a build of PyTorch for CUDA and a machine with such a GPU",
        )
    )


def _gpu() -> str:
    """The name of the GPU, empty where PyTorch finds none."""
    text = "import torch; print(torch.cuda.get_device_name() if torch.cuda.is_available() else '')"
    done = subprocess.run(  # noqa: S603 - a constant
        [sys.executable, "-c", text], capture_output=True, text=True, check=False
    )
    return done.stdout.strip()


def _chosen(options: Options, device: str) -> list[Runnable]:
    if options.backends:
        chosen = [runnable(name) for name in dict.fromkeys(options.backends)]
    else:
        chosen = [
            runnable(name)
            for name in names()
            if all(find_spec(module) is not None for module in NEEDS.get(name, ()))
        ]
    return [each for each in chosen if device == "cpu" or each.backend.name != "numpy"]


def _cores() -> int:
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not on this system
        return os.cpu_count() or 1


def _flops(graph: Graph, step: Step, batch: int) -> int:
    forward = 2 * batch * sum(map(graph.macs, graph.nodes))
    return BACKWARD * forward if step == "training" else forward


def _predicted(graph: Graph, each: Runnable, step: Step, batch: int, device: str) -> int | None:
    if graph.training is None:
        outputs = tuple(output.name for output in graph.outputs)
        graph = replace(graph, training=default_training(outputs))
    return predicted(graph, each.name, batch, step) if device == "cpu" else None


def _compared(rows: Sequence[Row], product: float) -> list[Row]:
    """With the ratio to the fastest, and the share of the matrix-product speed."""
    fastest = min((row.time.median for row in rows if row.time), default=0.0)
    return [
        replace(
            row,
            ratio=row.time.median / fastest,
            share=row.flops / row.time.median / product if product and row.flops else None,
        )
        if row.time
        else row
        for row in rows
    ]


def _layers(
    graph: Graph,
    chosen: Sequence[Runnable],
    runner: _Runner,
    common: Mapping[str, Any],
    report: Report,
    tell: Callable[[str], object],
) -> list[Layer]:
    times: dict[str, Mapping[str, float]] = {}
    for each in chosen:
        if any(row.fault for row in report.rows if row.backend == each.name):
            continue
        tell(f"{each.name}: layer by layer")
        answer = runner.ask(
            {**KEPT, **each.environment}, "layers", **common, backend=each.name, seconds=0.0
        )
        if answer.fault:
            report.notes.append(f"{each.name}, layer by layer: {answer.fault}")
        else:
            times[each.name] = answer.value
    found = []
    for node in graph.nodes:
        flops = 2 * report.batch * graph.macs(node)
        seconds = {name: layers[node.id] for name, layers in times.items() if node.id in layers}
        share = {}
        if flops and report.product:
            share = {name: flops / time / report.product for name, time in seconds.items()}
        found.append(Layer(node.id, node.op.key, flops, seconds, share))
    return found
