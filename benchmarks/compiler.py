"""Reading, checking and emitting networks of many layers: time and memory grow in proportion."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.harness import QUICK, Curve, Result, judged, slope

SIZES = (300, 1_000, 3_000, 10_000) if QUICK else (1_000, 3_000, 10_000, 100_000)
GOALS = {1_000: 0.5, 10_000: 3.0, 100_000: 35.0}
"""Seconds of `validate`."""
LINEAR = 1.1
"""The exponent of what grows in proportion; 2 would be that of a square."""
BACKENDS = ("numpy", "torch", "keras")
EMITTED = tuple(size for size in SIZES if size <= 10_000)
"""Python itself cannot load a file with much more."""

PROGRAM = """\
import gc, json, sys, time
gc.disable()
path, backend = sys.argv[1:]
from cnnspec import document, document_yaml
from cnnspec.bench.resident import peak, reset_peak
from cnnspec.build import build
from cnnspec.schema import read_spec
from cnnspec.backends import get
chosen = get(backend) if backend != "validate" else None
from cnnspec.ops import registered
list(registered())
before = reset_peak() or peak()
start = time.process_time()
graph = build(read_spec(document.read(path), {})).graph
if chosen is not None:
    before = reset_peak() or peak()
    start = time.process_time()
    chosen.emit(graph)
seconds = time.process_time() - start
print(json.dumps([seconds, peak() - before, peak()]))
"""


def spec(layers: int) -> str:
    """A chain with a name and a place for every layer, as a program would write it."""
    lines = ["cnnspec: 1", "name: chain", "input: [4, 8, 8]", "layers:"]
    for number in range(layers // 2):
        lines.append(f"  - conv: {{name: conv{number}, filters: 4, kernel: 3, padding: same}}")
        lines.append(f"  - relu: {{name: relu{number}}}")
    return "\n".join(lines) + "\n"


def measured(path: Path, backend: str) -> tuple[float, int, int]:
    """Seconds of processor time, bytes that were added, and the peak of the process."""
    done = subprocess.run(  # noqa: S603 - the program above
        [sys.executable, "-c", PROGRAM, str(path), backend],
        capture_output=True,
        text=True,
        check=True,
    )
    seconds, added, peak = json.loads(done.stdout)
    return float(seconds), max(int(added), 1), int(peak)


def run() -> list[Result | Curve]:
    """Each size once: what is asked is whether it is near a bound, and how it grows."""
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    found: list[Result | Curve] = []
    with tempfile.TemporaryDirectory() as folder:
        paths = {size: Path(folder) / f"{size}.yaml" for size in SIZES}
        for size, path in paths.items():
            path.write_text(spec(size))
        for what in ("validate", *BACKENDS):
            sizes = SIZES if what == "validate" else EMITTED
            times: list[tuple[float, float]] = []
            bytes_: list[tuple[float, float]] = []
            for size in sizes:
                seconds, added, peak = measured(paths[size], what)
                times.append((size, seconds))
                bytes_.append((size, added))
                if what == "validate" and size in GOALS:
                    found.append(within(size, seconds, peak))
            name = "validate" if what == "validate" else f"emit {what}"
            found.append(linear(f"{name}: time over {len(sizes)} sizes", times, "s"))
            found.append(linear(f"{name}: memory over {len(sizes)} sizes", bytes_, "B"))
            found.append(Curve("compiler: time", name, "layers", "seconds", times))
            found.append(Curve("compiler: memory", name, "layers", "bytes", bytes_))
    return found


def within(size: int, seconds: float, peak: int) -> Result:
    """Against the bound."""
    goal = GOALS[size]
    name = f"validate of {size:,} layers, processor time"
    ratio = seconds / goal
    result = Result(name, f"{goal:g} s", seconds, goal, ratio, ratio, ratio, memory=peak)
    return judged(result, 1.0, "within it")


def linear(name: str, points: list[tuple[float, float]], unit: str) -> Result:
    """The exponent, with the cost of the largest and what a proportional one would be."""
    (small, first), (large, last) = points[0], points[-1]
    exponent = slope(points)
    expected = first * large / small
    found = Result(name, "in proportion", last, expected, exponent, exponent, exponent, unit=unit)
    return judged(found, LINEAR, f"exponent at most {LINEAR}")
