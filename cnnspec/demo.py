"""`python -m cnnspec.demo`: one spec, compiled three times, proven equal, and trained three times.

Everything goes through the same commands that a user has. The exit status is 0 only if all of it
holds: the back ends agree, the curves are equal, and the network has learnt to read.
"""

from __future__ import annotations

import argparse
import csv
import io
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from cnnspec.diagnostics import UserError

BACKENDS = ("numpy", "torch", "keras")
SPEC = Path(__file__).parent.parent / "specs" / "digits.yaml"
SAMPLES = 37
"""Real digits that are checked; no size in the network, so that no two axes can be confused."""

THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")

MOST_ERROR = 1e-12
"""Of a tensor, relative to its largest magnitude, in float64."""

MOST_DIFFERENCE = 1e-9
"""Between the losses of two back ends, in any epoch."""

LEAST_ACCURACY = 0.975


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the demo.

    Args:
        arguments: without the program's name; by default those of the process.

    Returns:
        The exit status: 0 if everything agrees, 1 otherwise, 2 where something is missing.
    """
    parser = argparse.ArgumentParser(prog="python -m cnnspec.demo", description=__doc__)
    parser.add_argument("-o", "--output", type=Path, default=Path("demo-out"))
    parser.add_argument("--epochs", type=int, help="instead of those of the spec")
    parser.add_argument("--backends", default=",".join(BACKENDS))
    given = parser.parse_args(arguments)
    names = tuple(given.backends.split(","))
    # What the children print must come between these lines, into a pipe as well.
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(line_buffering=True)
    started = time.perf_counter()
    try:
        faults = [
            *compiled(SPEC, names, given.output),
            *checked(SPEC, names, given.output),
            *trained(SPEC, names, given.output, given.epochs),
        ]
    except UserError as error:
        from cnnspec.render import render

        print(render(error.diagnostics, "full"), file=sys.stderr)
        return error.exit_status
    except Failed as failure:
        print(failure, file=sys.stderr)
        return failure.status
    for fault in faults:
        print(f"FAILED: {fault}")
    if not faults:
        print(f"all of it holds ({time.perf_counter() - started:.0f} s)")
    return 1 if faults else 0


class Failed(Exception):
    """A command ended with a status other than 0; it has said why."""

    def __init__(self, command: str, status: int) -> None:
        super().__init__(f"`{command}` ended with exit status {status}")
        self.status = 2 if status == 2 else 1


def compiled(spec: Path, names: Sequence[str], output: Path) -> list[str]:
    """Write the network for every back end, as a user would."""
    _title("compile")
    output.mkdir(parents=True, exist_ok=True)
    for name in names:
        file = output / f"{spec.stem}_{name}.py"
        _cnnspec("compile", str(spec), "--backend", name, "-o", str(file), "--force")
        print(f"{name:>6}: {len(file.read_text().splitlines())} lines in {file}")
    return []


def checked(spec: Path, names: Sequence[str], output: Path) -> list[str]:
    """Check it on seeded inputs and on real digits, and print the largest error of each."""
    import numpy as np

    from cnnspec import load
    from cnnspec.data import fit
    from cnnspec.data import load as load_data

    _title("check")
    inputs, _ = fit(load_data("digits"), load(spec)).test.take(slice(SAMPLES))
    file = output / "digits.npz"
    np.savez(file, allow_pickle=False, **inputs)
    faults = []
    for what, path in (("seeded inputs", None), ("real digits", file)):
        status, worst = check_spec(spec, names, path)
        print(f"{what:>14}: {status}, largest float64 error {worst:.1e} of its tensor's magnitude")
        if status != "agree" or not worst <= MOST_ERROR:
            faults.append(f"check on {what}: {status}, largest error {worst:.1e}")
    return faults


def check_spec(spec: Path, names: Sequence[str], inputs: Path | None) -> tuple[str, float]:
    """The status of a check, and the largest relative float64 error among all that it judged."""
    import numpy as np

    from cnnspec.check import check
    from cnnspec.render import render

    given = None
    if inputs is not None:
        with np.load(inputs, allow_pickle=False) as stored:
            given = dict(stored)
    report = check(spec, backends=tuple(names), inputs=given)
    for each in report.specs:
        if each.diagnostics:
            print(render(each.diagnostics, "full"), file=sys.stderr)
    errors = [
        found.relative
        for each in report.specs
        for found in each.comparisons
        if found.judged and found.dtype == "float64"
    ]
    return report.status, max(errors, default=float("nan"))


def trained(spec: Path, names: Sequence[str], output: Path, epochs: int | None) -> list[str]:
    """Train it in every back end, each in a process of its own, and compare the curves."""
    curves = {}
    for name in names:
        _title(f"train with {name}")
        rundir = output / f"run-{name}"
        options = ["--data", "digits", "--dtype", "float64", "-o", str(rundir), "--force"]
        if epochs is not None:
            options += ["--epochs", str(epochs)]
        _cnnspec("train", str(spec), "--backend", name, *options)
        with open(rundir / "metrics.csv", newline="") as stream:
            curves[name] = list(csv.DictReader(stream))
    _title("curves")
    return compared(curves)


def compared(curves: dict[str, list[dict[str, str]]]) -> list[str]:
    """Print the curves side by side.

    Args:
        curves: back end -> the rows of its metrics.csv.

    Returns:
        What is wrong with them, a sentence each.
    """
    import numpy as np

    names = list(curves)
    first = curves[names[0]]
    if not first or any(len(curve) != len(first) for curve in curves.values()):
        return ["the back ends have not trained for one number of epochs"]
    losses = "  ".join(f"{name + ' loss':>12}" for name in names)
    accuracies = "  ".join(f"{name + ' acc.':>12}" for name in names)
    print(f"epoch  {losses}  {accuracies}  largest difference")
    differences = []
    for rows in zip(*curves.values(), strict=True):
        numbers = np.array([[float(row[key]) for key in first[0]] for row in rows])
        differences.append(float(np.ptp(numbers, axis=0).max()))  # NaN if there is one
        train = "  ".join(f"{float(row['train_loss']):12.6f}" for row in rows)
        test = "  ".join(f"{float(row['test_accuracy']):12.4f}" for row in rows)
        print(f"{rows[0]['epoch']:>5}  {train}  {test}  {differences[-1]:18.1e}")
    faults = []
    largest = float(np.max(differences))
    print(f"largest difference of any metric: {largest:.1e} (at most {MOST_DIFFERENCE:g})")
    if not largest <= MOST_DIFFERENCE:
        faults.append(f"the curves differ by {largest:.1e}")
    for name, curve in curves.items():
        accuracy = float(curve[-1]["test_accuracy"])
        print(f"{name:>6}: test accuracy {accuracy:.4f} (at least {LEAST_ACCURACY})")
        if not accuracy >= LEAST_ACCURACY:
            faults.append(f"{name} reaches a test accuracy of {accuracy:.4f} only")
    return faults


def _title(text: str) -> None:
    print(f"\n== {text} ==")


def _cnnspec(*arguments: str) -> None:
    # One thread each: so small a network gains nothing from more, and with other processes about
    # threads that wait for each other take many times as long.
    threads = {name: os.environ.get(name, "1") for name in THREADS}
    done = subprocess.run(  # noqa: S603 - this very program
        [sys.executable, "-m", "cnnspec", *arguments],
        check=False,
        env={**os.environ, **threads},
    )
    if done.returncode:
        raise Failed(f"cnnspec {' '.join(arguments)}", done.returncode)


if __name__ == "__main__":
    sys.exit(main())
