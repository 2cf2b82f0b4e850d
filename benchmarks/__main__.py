"""`python -m benchmarks [NAME...]`: run them, print a table, keep it in .benchmarks/.

Exit status 1 where a stated goal is missed.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from importlib import import_module
from pathlib import Path

from benchmarks.harness import Result

NAMES = (
    "start_up",
    "check_lenet",
    "torch_model",
    "keras_model",
    "numpy_model",
    "numpy_networks",
    "train_torch",
    "train_keras",
    "optimized",
)
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


def environment() -> dict[str, str]:
    """One thread for everybody, and BLAS as it is by itself."""
    found = {name: value for name, value in os.environ.items() if name not in OVERRIDES}
    found.update(dict.fromkeys(THREADS, "1"))
    found.update(TF_CPP_MIN_LOG_LEVEL="3", KERAS_BACKEND="tensorflow", CUDA_VISIBLE_DEVICES="")
    return found


def run(name: str) -> list[Result]:
    """One benchmark in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "results.json"
        subprocess.run(  # noqa: S603 - this very program
            [sys.executable, "-m", "benchmarks", "--child", name, str(path)],
            env=environment(),
            check=True,
        )
        return [Result(**entry) for entry in json.loads(path.read_text())]


def child(name: str, path: str) -> None:
    """What that process does."""
    results: list[Result] = import_module(f"benchmarks.{name}").run()
    Path(path).write_text(json.dumps([asdict(result) for result in results]))


def table(results: Sequence[Result]) -> str:
    """Markdown."""
    rows = ["| what | peer | ours | peer's | ratio (spread) | goal |", "|---|---|--:|--:|--:|---|"]
    for r in results:
        goal = f"{r.goal}: {'met' if r.met else 'MISSED'}" if r.goal else ""
        spread = f"{r.ratio:.3g} ({r.low:.3g} to {r.high:.3g})"
        times = f"{1e3 * r.ours:.3g} ms | {1e3 * r.theirs:.3g} ms"
        rows.append(f"| {r.name} | {r.peer} | {times} | {spread} | {goal} |")
    return "\n".join(rows)


def main(arguments: Sequence[str]) -> int:
    """Run the named ones, or all."""
    if arguments[:1] == ["--child"]:
        child(*arguments[1:])
        return 0
    unknown = sorted(set(arguments) - set(NAMES))
    if unknown:
        print(f"there is no {unknown[0]}; there are {', '.join(NAMES)}", file=sys.stderr)
        return 2
    results = []
    for name in arguments or NAMES:
        print(f"{name} ...", file=sys.stderr, flush=True)
        results += run(name)
    print(table(results))
    FOLDER.mkdir(exist_ok=True)
    (FOLDER / "results.json").write_text(
        json.dumps([asdict(result) for result in results], indent=1)
    )
    return 0 if all(result.met for result in results) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
