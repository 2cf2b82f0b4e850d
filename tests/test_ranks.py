"""Several processes that make one run: losses and weights of one with the same batch."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file

import cnnspec
from cnnspec.backends.base import LostWorker
from cnnspec.diagnostics import SetupError
from cnnspec.train import train
from cnnspec.train.interrupt import Interrupt

SPEC = """\
cnnspec: 1
name: ranks
input: [1, 8, 8]
layers:
  - conv: {name: conv1, filters: 6, kernel: 3, bias: false, regularize: {l2: 0.01}}
  - batch_norm: {name: bn1, running_var: %(variance)s}
  - relu
  - dropout: {p: 0.25}
  - flatten
  - dense: {name: fc1, units: 12, bias: false}
  - batch_norm: {name: bn2}
  - dense: {name: fc2, units: 10}
train:
  loss: {cross_entropy: {class_weights: [1, 2, 1, 1, 3, 1, 1, 1, 1, 1], weight_norm: sum_w}}
  optimizer: {adam: {lr: 0.01, weight_decay: 0.1}}
  clip: {norm: 1.0}
  batch: %(batch)d
  accumulate: %(accumulate)d
  average: {decay: 0.9}
  epochs: 2
data: {source: digits, subset: %(subset)d}
"""
PLAIN = {"variance": "unbiased", "batch": 50, "accumulate": 1, "subset": 103}


def written(folder: Path, **options: Any) -> Path:
    path = folder / "ranks.yaml"
    path.write_text(SPEC % {**PLAIN, **options})
    return path


def started(spec: Path, run: Path, count: int, *more: str) -> subprocess.Popen[str]:
    command = ["-m", "cnnspec", "train", str(spec), "-b", "torch", "-o", str(run), *more]
    launcher = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", str(count)]
    launcher += ["--master-port", "0", "--rdzv-backend", "c10d", "--rdzv-endpoint", "localhost:0"]
    return subprocess.Popen(
        [*launcher, *command],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )


def together(spec: Path, run: Path, count: int) -> tuple[dict[str, Any], str]:
    process = started(spec, run, count)
    out, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    return load_file(run / "weights.safetensors"), out


def differences(a: dict[str, Any], b: dict[str, Any]) -> float:
    assert a.keys() == b.keys()
    return max(float(np.abs(a[name] - b[name]).max()) for name in a)


CASES = [
    pytest.param(2, {"accumulate": 2, "subset": 103}, id="2, uneven, accumulated"),
    pytest.param(2, {}, id="2", marks=pytest.mark.nightly),
    pytest.param(3, {"accumulate": 2, "subset": 104}, id="3", marks=pytest.mark.nightly),
    # The last batch has two samples, and four processes.
    pytest.param(4, {"subset": 102, "variance": "biased"}, id="4", marks=pytest.mark.nightly),
    pytest.param(4, {"accumulate": 3}, id="4, accumulated", marks=pytest.mark.nightly),
]


@pytest.mark.parametrize(("count", "options"), CASES)
def test_they_give_what_one_gives(tmp_path: Path, count: int, options: dict[str, Any]) -> None:
    spec = written(tmp_path, **options)
    alone = train(cnnspec.load(spec), "torch", None, rundir=tmp_path / "one")
    weights, out = together(spec, tmp_path / "several", count)
    assert differences(dict(alone.weights), weights) < 1e-12
    assert len([line for line in out.splitlines() if line.startswith("epoch")]) == 2
    found = (tmp_path / "several" / "metrics.csv").read_text().splitlines()[1:]
    for epoch, line in zip(alone.history, found, strict=True):
        values = [float(each) for each in line.split(",")]
        wanted = [float(each) for each in epoch.row().split(",")]
        np.testing.assert_allclose(values, wanted, rtol=1e-12)


@pytest.mark.nightly
def test_a_lost_worker_ends_the_run_and_it_goes_on_from_a_checkpoint(tmp_path: Path) -> None:
    spec, run = written(tmp_path, subset=1000), tmp_path / "run"
    process = started(spec, run, 2, "--epochs", "500", "--checkpoint-every", "7")
    log = run / "log.txt"
    waited = time.monotonic()
    while not log.exists() or "  2/500" not in log.read_text():
        assert time.monotonic() - waited < 120
        assert process.poll() is None
        time.sleep(0.05)
    os.kill(worker(process.pid, "1"), signal.SIGKILL)
    _, err = process.communicate(timeout=120)
    assert process.returncode != 0
    assert "error[worker-lost]: another process of this run has ended" in err
    assert "Traceback (most recent call last)" not in err.split("error[worker-lost]")[0]
    resumed = train(cnnspec.load(spec), "torch", None, rundir=run, resume=True, epochs=3)
    assert len(resumed.history) >= 3


@pytest.mark.parametrize("error", [LostWorker(), RuntimeError()])
def test_a_lost_worker_has_time_to_say_so(error: Exception) -> None:
    """torchrun asks all processes to end once one is lost."""
    before = signal.getsignal(signal.SIGTERM)
    try:
        with pytest.raises(type(error)), Interrupt():
            raise error
        lost = isinstance(error, LostWorker)
        assert signal.getsignal(signal.SIGTERM) == (signal.SIG_IGN if lost else before)
    finally:
        signal.signal(signal.SIGTERM, before)


def worker(launcher: int, rank: str) -> int:
    """The process of a rank."""
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                parent = (folder / "stat").read_text().rpartition(")")[2].split()[1]
                environment = (folder / "environ").read_bytes()
            except OSError:
                continue
            if parent == str(launcher) and f"\0RANK={rank}\0".encode() in environment:
                return int(folder.name)
    raise AssertionError("there is no such process")


@pytest.mark.nightly
def test_a_fault_is_told_once(tmp_path: Path) -> None:
    spec, run = written(tmp_path, batch=500), tmp_path / "run"
    process = started(spec, run, 2)
    _, err = process.communicate(timeout=120)
    assert process.returncode != 0
    assert err.count("error[batch-too-large]") == 1


@pytest.mark.parametrize("backend", ["numpy", "keras"])
def test_other_back_ends_work_alone(
    tmp_path: Path, backend: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "0")
    graph = cnnspec.load(written(tmp_path))
    with pytest.raises(SetupError) as caught:
        train(graph, backend, None)
    assert [each.code for each in caught.value.diagnostics] == ["one-process-only"]


def test_nobody_answers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not all that torchrun says is there."""
    for name, value in {"WORLD_SIZE": "2", "RANK": "0"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("MASTER_ADDR", raising=False)
    with pytest.raises(SetupError) as caught:
        train(cnnspec.load(written(tmp_path)), "torch", None)
    assert [each.code for each in caught.value.diagnostics] == ["workers-unreachable"]
