"""Engines that crash, hang or end, and a user who interrupts, through the command itself."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from cnnspec.backends import Style, get
from cnnspec.build import build
from cnnspec.document import parse
from cnnspec.schema import read_spec

SPEC = """\
cnnspec: 1
name: small
input: [3]
layers:
  - dense: {name: fc, units: 2}
"""


def broken(tmp_path: Path, statement: str, backend: str = "numpy") -> str:
    """The compiled file of a network whose forward pass begins with a statement."""
    graph = build(read_spec(parse(SPEC, "small.yaml"))).graph
    text = get(backend).emit(graph, Style(random="counter")).text
    text += f"""

def forward(self, *given, inner=Small.forward):
    import os, signal, sys, time
    {statement}
    return inner(self, *given)


Small.forward = forward
"""
    (tmp_path / "broken.py").write_text(text)
    return str(tmp_path / "broken.py")


def started(tmp_path: Path, *options: str, spec: str = SPEC) -> subprocess.Popen[str]:
    (tmp_path / "small.yaml").write_text(spec)
    return subprocess.Popen(
        [sys.executable, "-m", "cnnspec", "check", str(tmp_path / "small.yaml"), *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def check(tmp_path: Path, *options: str) -> tuple[int, Any]:
    process = started(tmp_path, "--format", "json", *options)
    out, err = process.communicate(timeout=500)
    assert not err
    return process.returncode, json.loads(out)["specs"][0]


def alive(session: int) -> list[int]:
    """Processes of a session that have not ended."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            pid, _, rest = stat.read_text().partition(" (")
        except OSError:
            continue
        state, _, _, its_session = rest.rpartition(") ")[2].split()[:4]
        if int(its_session) == session and state not in "ZX":
            found.append(int(pid))
    return found


# --- engines ---------------------------------------------------------------------------------

FAULTS = [
    ("os.kill(os.getpid(), signal.SIGSEGV)", "it crashed with SIGSEGV"),
    ("os.abort()", "it crashed with SIGABRT"),
    ("os.kill(os.getpid(), signal.SIGKILL)", "it was killed, most likely for want of memory"),
    ("bytearray(1 << 60)", "it raised MemoryError"),
    ("sys.stderr.write('so long'); sys.exit(3)", "it ended with exit status 3"),
    ("time.sleep(10_000)", "no answer in 40 s; it has been stopped"),
]


@pytest.mark.parametrize(
    ("statement", "message"),
    [FAULTS[0], *(pytest.param(*fault, marks=pytest.mark.nightly) for fault in FAULTS[1:])],
)
def test_a_fault_of_an_engine_is_its_own(tmp_path: Path, statement: str, message: str) -> None:
    """The other's results stand, and the status says that something is wrong."""
    source = f"numpy={broken(tmp_path, statement)}"
    status, found = check(
        tmp_path, "--backends", "numpy,torch", "--source", source, "--dtype", "float64",
        "--timeout", "40",
    )  # fmt: skip
    assert (status, found["status"]) == (1, "engine_failed")
    (diagnostic,) = found["diagnostics"]
    assert diagnostic["code"] == "engine-failed"
    assert diagnostic["message"] == f"numpy: {message}"
    if "so long" in statement:
        assert "so long" in diagnostic["notes"][0]


@pytest.mark.nightly
@pytest.mark.parametrize(("statement", "message"), FAULTS[:1])
def test_the_others_results_stand(tmp_path: Path, statement: str, message: str) -> None:
    source = f"torch={broken(tmp_path, statement, 'torch')}"
    status, found = check(
        tmp_path, "--backends", "numpy,torch,keras", "--source", source, "--dtype", "float64"
    )
    assert (status, found["status"]) == (1, "engine_failed")
    assert found["diagnostics"][0]["message"] == f"torch: {message}"
    others = [c for c in found["comparisons"] if c["backends"] == ["numpy", "keras"]]
    assert {c["quantity"] for c in others} >= {"forward", "parameter_gradient", "step"}
    assert all(c["agree"] for c in others)


def test_a_spec_that_changes_meanwhile_is_reported_as_it_was_read(tmp_path: Path) -> None:
    change = f"open({str(tmp_path / 'small.yaml')!r}, 'w').write('layers: []')"
    source = f"numpy={broken(tmp_path, change + '; given[0][...] += 1')}"
    process = started(tmp_path, "--backends", "numpy,torch", "--source", source, "--steps", "0")
    out, err = process.communicate(timeout=500)
    assert (process.returncode, err) == (1, "")
    assert (tmp_path / "small.yaml").read_text() == "layers: []"
    assert "5 |   - dense: {name: fc, units: 2}" in out


# --- interruption ------------------------------------------------------------------------------


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks for processes in /proc")
@pytest.mark.parametrize("whom", ["alone", "group"])
@pytest.mark.parametrize("jobs", [1, pytest.param(2, marks=pytest.mark.nightly)])
def test_an_interrupt_leaves_nothing_behind(tmp_path: Path, whom: str, jobs: int) -> None:
    """While an engine is busy for longer than anybody would wait."""
    mark = tmp_path / "busy"
    busy = f"open({str(mark)!r}, 'w').close(); time.sleep(1000)"
    (tmp_path / "other.yaml").write_text(SPEC)
    process = started(
        tmp_path, str(tmp_path / "other.yaml"), "--backends", "numpy,torch", "--format", "json",
        "--source", f"numpy={broken(tmp_path, busy)}", "--jobs", str(jobs),
    )  # fmt: skip
    waited = time.monotonic()
    while not mark.exists():
        assert time.monotonic() - waited < 200
        time.sleep(0.05)
    assert len(alive(process.pid)) >= 2 * jobs
    (os.kill if whom == "alone" else os.killpg)(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out, err) == (130, "", "")
    gone = time.monotonic()
    while alive(process.pid):
        assert time.monotonic() - gone < 10
        time.sleep(0.05)
