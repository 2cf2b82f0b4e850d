"""`python -m benchmarks [--quick] [NAME...]`: run them, print a table, keep it in .benchmarks/.

Exit status 1 where a stated goal is missed; with `--quick`, which takes a few minutes, where a
ratio is far above it.
"""

from __future__ import annotations

import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, replace
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from benchmarks.harness import Curve, Result

NAMES = (
    "start_up",
    "compiler",
    "check_lenet",
    "torch_model",
    "keras_model",
    "numpy_model",
    "numpy_networks",
    "optimized",
    "onnx_peers",
    "train_torch",
    "train_keras",
    "pipeline",
    "growth",
    "gpu",
)
QUICK = ("start_up", "compiler", "torch_model", "keras_model", "numpy_model")
TWO_THREADS = ("optimized", "onnx_peers")
"""Those whose goals are for two threads, in wall time."""
FOLDER = Path(".benchmarks")
THREADS = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "TF_NUM_INTRAOP_THREADS",
    "TF_NUM_INTEROP_THREADS",
)
# Variables that make BLAS work for another machine than this one; one of them halves its speed.
OVERRIDES = ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE", "NVPL_BLAS_DEBUG_CPU_TYPE")


def environment(name: str, *, quick: bool) -> dict[str, str]:
    """So many threads for everybody, BLAS as it is by itself, and a GPU for what is about one."""
    threads = 2 if name in TWO_THREADS else 1
    found = {name: value for name, value in os.environ.items() if name not in OVERRIDES}
    found.update(dict.fromkeys(THREADS, str(threads)))
    found.update(TF_CPP_MIN_LOG_LEVEL="3", KERAS_BACKEND="tensorflow")
    if name != "gpu":
        found["CUDA_VISIBLE_DEVICES"] = ""
    found["CNNSPEC_BENCH_THREADS"] = str(threads)
    found["CNNSPEC_BENCH_QUICK"] = "1" if quick else ""
    return found


def run(name: str, *, quick: bool) -> tuple[list[Result], list[Curve]]:
    """One benchmark in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "results.json"
        subprocess.run(  # noqa: S603 - this very program
            [sys.executable, "-m", "benchmarks", "--child", name, str(path)],
            env=environment(name, quick=quick),
            check=True,
        )
        found = json.loads(path.read_text())
        curves = [Curve(**entry) for entry in found["curves"]]
        return [Result(**entry) for entry in found["results"]], curves


def child(name: str, path: str) -> None:
    """What that process does."""
    found: list[Result | Curve] = list(import_module(f"benchmarks.{name}").run())
    peak = 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    results = [r if r.memory else replace(r, memory=peak) for r in found if isinstance(r, Result)]
    curves = [curve for curve in found if isinstance(curve, Curve)]
    kept = {"results": [asdict(r) for r in results], "curves": [asdict(c) for c in curves]}
    Path(path).write_text(json.dumps(kept))


def table(results: Sequence[Result]) -> str:
    """Markdown."""
    rows = [
        "| what | peer | ours | peer's | ratio (spread) | goal | memory |",
        "|---|---|--:|--:|--:|---|--:|",
    ]
    for r in results:
        if not r.theirs:
            rows.append(f"| {r.name} | {r.peer} | | | | {r.goal} | |")
            continue
        goal = f"{r.goal}: {'met' if r.met else 'MISSED'}" if r.goal else ""
        spread = f"{r.ratio:.3g} ({r.low:.3g} to {r.high:.3g})"
        factor, unit = (1e3, "ms") if r.unit == "s" else (2**-20, "MiB")
        times = f"{factor * r.ours:.3g} {unit} | {factor * r.theirs:.3g} {unit}"
        memory = f"{r.memory / 2**20:,.0f} MiB"
        rows.append(f"| {r.name} | {r.peer} | {times} | {spread} | {goal} | {memory} |")
    return "\n".join(rows)


def keep(results: Sequence[Result], curves: Sequence[Curve], *, quick: bool) -> None:
    """Write the run under its time, the same as the latest, and the charts."""
    runs = FOLDER / "runs"
    runs.mkdir(parents=True, exist_ok=True)
    begun = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    found: dict[str, Any] = {
        "begun": begun,
        "quick": quick,
        "machine": {
            "cores": os.cpu_count(),
            "processor": platform.machine(),
            "python": platform.python_version(),
        },
        "results": [asdict(result) for result in results],
        "curves": [asdict(curve) for curve in curves],
    }
    text = json.dumps(found, indent=1)
    (runs / f"{begun}.json").write_text(text)
    (FOLDER / "results.json").write_text(text)
    if curves and find_spec("matplotlib") is not None:
        from benchmarks.charts import picture

        (FOLDER / "costs.png").write_bytes(picture(curves))


def known(names: Sequence[str]) -> list[str]:
    """Those of which there is a module."""
    return [name for name in names if find_spec(f"benchmarks.{name}") is not None]


def main(arguments: Sequence[str]) -> int:
    """Run the named ones, or all."""
    if arguments[:1] == ["--child"]:
        child(*arguments[1:])
        return 0
    quick = "--quick" in arguments
    wanted = [name for name in arguments if name != "--quick"]
    unknown = sorted(set(wanted) - set(known(NAMES)))
    if unknown:
        print(f"there is no {unknown[0]}; there are {', '.join(known(NAMES))}", file=sys.stderr)
        return 2
    results: list[Result] = []
    curves: list[Curve] = []
    for name in wanted or known(QUICK if quick else NAMES):
        print(f"{name} ...", file=sys.stderr, flush=True)
        rows, drawn = run(name, quick=quick)
        results += rows
        curves += drawn
    print(table(results))
    keep(results, curves, quick=quick)
    return 0 if all(result.met for result in results) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
