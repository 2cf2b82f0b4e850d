"""Emitted files that are checked in: compared with what is emitted now, and run on their own."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from cnnspec import backends
from cnnspec.backends.base import Emitted
from cnnspec.backends.program import audit
from cnnspec.weights import read_weights, write_weights
from tests.networks import BACKENDS, GOLDEN, SPECS, STYLES, data, distance, graph_of

CHOSEN = (
    "digits",
    "lenet_modern",
    "mini_resnet",
    "two_towers",
    "named_sequence",
    "asymmetric",
)
RUN = GOLDEN / "run_files.py"


def emitted(spec: str, backend: str, style: str) -> Emitted:
    return backends.get(backend).emit(graph_of(SPECS[spec]), STYLES[style])


def files(backend: str) -> Iterator[tuple[str, str, Path]]:
    """Spec, style and path; the reproducible file only where it is another one."""
    for spec in CHOSEN:
        yield spec, "plain", GOLDEN / f"{spec}.{backend}.py"
        if emitted(spec, backend, "plain").text != emitted(spec, backend, "reproducible").text:
            yield spec, "reproducible", GOLDEN / f"{spec}.{backend}.reproducible.py"


@pytest.mark.parametrize("backend", BACKENDS)
def test_text(backend: str, golden: Callable[[Path, str], None]) -> None:
    faults = []
    for spec, style, path in files(backend):
        try:
            golden(path, emitted(spec, backend, style).text)
        except AssertionError as fault:
            faults.append(str(fault).partition("\n")[0])
    assert not faults, "\n".join(faults)


def test_no_file_is_left_over() -> None:
    wanted = {path for backend in BACKENDS for _, _, path in files(backend)}
    assert {p for p in GOLDEN.glob("*.py") if "." in p.stem} == wanted


@pytest.mark.parametrize("backend", BACKENDS)
def test_files_stand_alone(backend: str, tmp_path: Path) -> None:
    pytest.importorskip({"keras": "tensorflow"}.get(backend, backend))
    jobs = []
    for spec, style, path in files(backend):
        audit(path.read_text(encoding="utf-8"))
        made = emitted(spec, backend, style)
        network = graph_of(SPECS[spec])
        weights, inputs, targets = data(network)
        name = path.stem
        write_weights(tmp_path / f"{name}.safetensors", weights)
        arrays = {f"input/{k}": v for k, v in inputs.items()}
        arrays |= {f"target/{k}": v for k, v in targets.items()}
        np.savez(tmp_path / f"{name}.npz", allow_pickle=False, **arrays)
        jobs.append(
            {
                "name": name,
                "backend": backend,
                "file": str(path),
                "entry": made.entry,
                "inputs": [n for n, _ in made.inputs],
                "outputs": list(made.outputs),
                "train": made.trains,
                "spec": spec,
                "style": style,
            }
        )
    (tmp_path / "jobs.json").write_text(json.dumps(jobs))
    process = subprocess.run(
        [sys.executable, "-I", "-B", str(RUN), str(tmp_path)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert process.returncode == 0, process.stderr[-3000:]
    for job in jobs:
        compare(job, tmp_path)


def compare(job: dict[str, object], place: Path) -> None:
    """The file's results against the NumPy back end's, whose text is another one."""
    spec, style, name = str(job["spec"]), str(job["style"]), str(job["name"])
    network = graph_of(SPECS[spec])
    weights, inputs, targets = data(network)
    with np.load(place / f"{name}.result.npz") as file:
        results = {key: file[key] for key in file.files}
    numpy = backends.get("numpy")
    session = numpy.open(numpy.emit(network, STYLES[style]), dtype="float64")
    try:
        session.assign(weights)
        for output, value in session.forward(inputs).items():
            assert distance(value, results[f"output/{output}"]) < 1e-12, (name, output)
        after = read_weights(place / f"{name}.after.safetensors", network)
        changed = {key for key, value in after.items() if not np.array_equal(value, weights[key])}
        assert changed, f"{name} did not train"
        if style == "reproducible" or not any(node.op.random for node in network.nodes):
            loss = session.step(inputs, targets, updates_per_epoch=2)
            assert distance(np.asarray(loss), results["loss"]) < 1e-12, name
            for key, value in session.weights().items():
                assert distance(value, after[key]) < 1e-9, (name, key)
    finally:
        session.close()
