"""A run that was ended in any way and resumed is the run that was not."""

from __future__ import annotations

import errno
import json
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest

import cnnspec
from cnnspec.cli import main
from cnnspec.data import Dataset, Split, order
from cnnspec.diagnostics import DataError, SetupError, UserError
from cnnspec.threads import ONE
from cnnspec.train import curves, interrupt, train
from cnnspec.train import identity as identities
from cnnspec.train.lock import Lock
from cnnspec.train.run import Stopping
from tests.runs import EPOCHS, LASTING, SPEC, UPDATES, Stop, dataset, equal, lasting

ROOT = Path(__file__).parents[1]
BACKENDS = ("numpy", "torch", "keras")


@pytest.fixture(autouse=True)
def undrawn(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pictures take longer than these runs."""
    monkeypatch.setattr(curves, "picture", lambda *_: b"")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of a run that nothing has disturbed."""
    path = tmp_path_factory.mktemp("runs") / "whole"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(curves, "picture", lambda *_: b"")
        run(path)
    return path


@pytest.fixture
def one_thread() -> Iterator[None]:
    """What equal bits are promised for; the others are told by their environment."""
    torch = pytest.importorskip("torch")
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def run(directory: Path, **options: Any) -> Any:
    options = {"backend": "numpy", "data": dataset(), "checkpoint_every": 2, **options}
    graph = cnnspec.load(options.pop("spec", SPEC))
    return train(graph, rundir=directory, **options)


def stopped(directory: Path, after: int, **options: Any) -> None:
    """Leave a directory as a run does that dies behind an update."""
    with pytest.raises(RuntimeError, match="stopped by the test"):
        run(directory, progress=Stop(after), **options)


def fault(caught: pytest.ExceptionInfo[UserError]) -> Any:
    (found,) = caught.value.diagnostics
    return found


# --- the same weights ----------------------------------------------------------------------------


@pytest.mark.parametrize("after", range(1, EPOCHS * UPDATES + 1, 3))
def test_resumed_behind_any_update(whole: Path, tmp_path: Path, after: int) -> None:
    stopped(tmp_path, after)
    progress = Stop()
    result = run(tmp_path, resume=True, progress=progress)
    assert lasting(tmp_path) == lasting(whole)
    assert progress.updates < EPOCHS * UPDATES or after < 3
    assert [row.epoch for row in result.history] == [1, 2, 3]


@pytest.mark.parametrize(
    ("backend", "dtype"),
    [
        ("torch", "float32"),
        ("keras", "float64"),
        pytest.param("torch", "float64", marks=pytest.mark.nightly),
        pytest.param("keras", "float32", marks=pytest.mark.nightly),
    ],
)
def test_resumed_in_every_back_end(
    tmp_path: Path, one_thread: None, backend: str, dtype: Literal["float64", "float32"]
) -> None:
    options: dict[str, Any] = {"backend": backend, "dtype": dtype, "epochs": 2}
    expected = run(tmp_path / "whole", **options)
    stopped(tmp_path / "run", 9, **options)
    result = run(tmp_path / "run", resume=True, **options)
    assert equal(result.weights, expected.weights)
    assert result.history == expected.history
    assert lasting(tmp_path / "run") == lasting(tmp_path / "whole")


def test_killed_at_its_file_operations_and_updates(tmp_path: Path) -> None:
    assert killed_everywhere(tmp_path, every=13) > 10


@pytest.mark.nightly
def test_killed_at_every_file_operation_and_update(tmp_path: Path) -> None:
    assert killed_everywhere(tmp_path, every=1) > 150


def killed_everywhere(directory: Path, every: int) -> int:
    done = subprocess.run(
        [sys.executable, "-m", "tests.kill_everywhere", str(directory), str(every)],
        cwd=ROOT,
        env={**os.environ, **ONE},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return int(done.stdout)


def test_a_resumed_run_that_is_complete_changes_nothing(whole: Path) -> None:
    before = lasting(whole)
    result = run(whole, resume=True)
    assert lasting(whole) == before
    assert len(result.history) == EPOCHS
    assert set(result.confusion) == {"output"}


def test_resumed_for_more_epochs(whole: Path, tmp_path: Path) -> None:
    run(tmp_path, epochs=1)
    run(tmp_path, resume=True)
    found, expected = lasting(tmp_path), lasting(whole)
    assert found == expected


def test_resume_begins_where_there_is_nothing(whole: Path, tmp_path: Path) -> None:
    progress = Stop()
    run(tmp_path / "new", resume=True, progress=progress)
    assert progress.remarks == [f"`{tmp_path / 'new'}` has no checkpoint yet; the run begins"]
    assert lasting(tmp_path / "new") == lasting(whole)


def test_rows_behind_the_checkpoint_are_taken_back(whole: Path, tmp_path: Path) -> None:
    stopped(tmp_path, 2 * UPDATES + 1)
    with open(tmp_path / "metrics.csv", "a") as stream:
        stream.write("3,0.0,0.0,0.0,0.0\n4,0.")
    (tmp_path / ".cnnspec-0123456789abcdef.tmp").write_bytes(b"half a file")
    run(tmp_path, resume=True)
    assert lasting(tmp_path) == lasting(whole)
    assert not (tmp_path / ".cnnspec-0123456789abcdef.tmp").exists()


def test_the_log_tells_all_parts(tmp_path: Path) -> None:
    stopped(tmp_path, 9)
    progress = Stop()
    run(tmp_path, resume=True, progress=progress)
    assert progress.remarks == ["resumed at epoch 2 of 3, after update 3 of 5"]
    lines = [line.partition(" ")[2] for line in (tmp_path / "log.txt").read_text().splitlines()]
    starts = ["begins: python", "epoch 1/3", "resumed at epoch 2 of 3, after update 3 of 5: python"]
    starts += ["epoch 2/3", "epoch 3/3", "complete; epoch "]
    assert [line.startswith(start) for line, start in zip(lines, starts, strict=True)] == [True] * 6


# --- asked to end ------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("after", [3, UPDATES])
def test_signals(whole: Path, tmp_path: Path, number: signal.Signals, after: int) -> None:
    class Ask(Stop):
        def advance(self, loss: float) -> None:
            self.updates += 1
            if self.updates == after:
                signal.raise_signal(number)

    handlers = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    progress: Stop = Ask()
    with pytest.raises(interrupt.Interrupted, match=f"epoch 1 of 3, after update {after} of 5"):
        run(tmp_path, progress=progress, checkpoint_every=None)
    assert progress.updates == after
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == handlers
    progress = Stop()
    run(tmp_path, resume=True, progress=progress)
    assert progress.updates == EPOCHS * UPDATES - after
    found, expected = lasting(tmp_path), lasting(whole)
    assert found == expected


def test_a_second_signal_ends_at_once(tmp_path: Path) -> None:
    class Ask(Stop):
        def advance(self, loss: float) -> None:
            self.updates += 1
            for _ in range(2):
                signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt) as caught:
        run(tmp_path, progress=Ask())
    assert type(caught.value) is KeyboardInterrupt


def command(directory: Path, backend: str, *more: str) -> list[str]:
    arguments = ["train", str(directory / "net.yaml"), "-b", backend, "-o", str(directory / "run")]
    return [sys.executable, "-m", "cnnspec", *arguments, "--checkpoint-every", "3", *more]


def started(directory: Path, backend: str, *more: str) -> subprocess.Popen[str]:
    """The command, once it trains: when it has said in the log that it begins or goes on."""
    log = directory / "run" / "log.txt"
    before = log.stat().st_size if log.exists() else 0
    child = subprocess.Popen(
        command(directory, backend, *more),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **ONE},
    )
    while child.poll() is None and not (log.exists() and log.stat().st_size > before):
        time.sleep(0.002)
    return child


def written(directory: Path) -> int:
    """When the last checkpoint was."""
    last = directory / "run" / "checkpoints" / "last.safetensors"
    return last.stat().st_mtime_ns if last.exists() else 0


DIGITS = SPEC.replace("[1, 6, 6]", "[1, 8, 8]").replace("units: 7", "units: 10")


@pytest.fixture
def on_digits(tmp_path: Path) -> Path:
    (tmp_path / "net.yaml").write_text(DIGITS.replace("batch: 8", "batch: 32"))
    return tmp_path


def test_the_command_is_interrupted_and_resumed(on_digits: Path) -> None:
    child = started(on_digits, "numpy", "--epochs", "200")
    time.sleep(0.1)
    child.send_signal(signal.SIGTERM)
    _, err = child.communicate(timeout=60)
    assert child.returncode == 130, err
    assert err.startswith("interrupted at epoch ")
    assert err.endswith(f"the same command with `--resume` goes on from there in {on_digits}/run\n")
    rows = (on_digits / "run" / "metrics.csv").read_text().splitlines()[1:]
    again = subprocess.run(
        command(on_digits, "numpy", "--epochs", str(len(rows) + 1), "--resume"),
        capture_output=True,
        text=True,
        env={**os.environ, **ONE},
        check=False,
    )
    assert again.returncode == 0, again.stderr
    assert "resumed at epoch " in again.stderr
    assert len((on_digits / "run" / "metrics.csv").read_text().splitlines()) == len(rows) + 2


@pytest.mark.nightly
@pytest.mark.timeout(3600)  # twenty processes start, which Keras takes long for
@pytest.mark.parametrize("backend", BACKENDS)
def test_killed_at_random_moments(on_digits: Path, backend: str) -> None:
    reference = on_digits / "reference"
    reference.mkdir()
    (reference / "net.yaml").write_text((on_digits / "net.yaml").read_text())
    child = started(reference, backend, "--epochs", "30")
    _, err = child.communicate()
    assert child.returncode == 0, err
    rng = random.Random(7)  # noqa: S311 - moments, no secrets
    for _ in range(20):
        child = started(on_digits, backend, "--epochs", "30", "--resume")
        seconds = 0.0
        # Of 450 checkpoints, by whose distance time is told: the machine may be slow or fast.
        for _ in range(rng.randrange(1, 8)):
            before, since = written(on_digits), time.monotonic()
            while child.poll() is None and written(on_digits) == before:
                time.sleep(0.002)
            seconds = time.monotonic() - since
        time.sleep(rng.uniform(0, seconds))
        assert child.poll() is None, "it was too fast to be killed"
        child.kill()
        child.communicate()
    child = started(on_digits, backend, "--epochs", "30", "--resume")
    _, err = child.communicate()
    assert child.returncode == 0, err
    names = [name for name in LASTING if name != "run.json"]
    for name in names:
        found = (on_digits / "run" / name).read_bytes()
        assert found == (reference / "run" / name).read_bytes(), name


# --- checkpoints that cannot be used -------------------------------------------------------------


@pytest.mark.parametrize("damage", ["truncated", "flipped", "empty", "missing"])
def test_falls_back_to_the_previous_one(whole: Path, tmp_path: Path, damage: str) -> None:
    stopped(tmp_path, 9)
    last = tmp_path / "checkpoints" / "last.safetensors"
    data = last.read_bytes()
    if damage == "missing":
        last.unlink()
    elif damage == "flipped":
        last.write_bytes(data[:-100] + bytes([data[-100] ^ 1]) + data[-99:])
    else:
        last.write_bytes(data[: len(data) // 2] if damage == "truncated" else b"")
    progress = Stop()
    run(tmp_path, resume=True, progress=progress)
    said = "\n".join(progress.remarks)
    assert "resumed at epoch 2 of 3, after update 1 of 5" in said  # update 6, and not 8
    if damage != "missing":
        assert f"[checkpoint-corrupt]: `{last}` cannot be used: " in said
        assert "previous.safetensors`, is whole and is used instead" in said
        assert "cannot be used" in (tmp_path / "log.txt").read_text()
    assert lasting(tmp_path) == lasting(whole)


def test_the_previous_one_survives_a_second_fall(whole: Path, tmp_path: Path) -> None:
    # A last one that is broken must not take the place of the good one.
    stopped(tmp_path, 9)
    last = tmp_path / "checkpoints" / "last.safetensors"
    last.write_bytes(b"broken")
    stopped(tmp_path, 3, resume=True)  # update 9; the next checkpoint was that behind update 8
    assert last.read_bytes() != b"broken"
    last.write_bytes(b"broken")
    progress = Stop()
    run(tmp_path, resume=True, progress=progress)
    assert progress.remarks[1] == "resumed at epoch 2 of 3, after update 1 of 5"
    assert lasting(tmp_path) == lasting(whole)


def test_no_checkpoint_is_whole(tmp_path: Path) -> None:
    stopped(tmp_path, 9)
    for file in (tmp_path / "checkpoints").iterdir():
        file.write_bytes(file.read_bytes()[:-1])
    before = (tmp_path / "metrics.csv").read_bytes()
    with pytest.raises(DataError) as caught:
        run(tmp_path, resume=True)
    found = fault(caught)
    assert found.code == "checkpoint-corrupt"
    assert "last.safetensors` cannot be used: it is not a safetensors file" in found.message
    assert "previous.safetensors` cannot be used" in found.notes[0]
    assert (tmp_path / "metrics.csv").read_bytes() == before


def altered(text: str) -> dict[str, Any]:
    return {"spec": text}


OTHERS: dict[str, tuple[dict[str, Any], tuple[str, ...]]] = {
    "the spec differs": (
        {"spec": SPEC.replace("p: 0.3", "p: 0.4")},
        ("was: - dropout: {name: dropout1, p: 0.3", "is: - dropout: {name: dropout1, p: 0.4"),
    ),
    "the seed was `0` and is `5`": ({"seed": 5}, ()),
    "the back end was `numpy` and is `torch`": ({"backend": "torch"}, ()),
    "the dtype was `float64` and is `float32`": ({"dtype": "float32"}, ()),
    "the data was": ({"data": replace(dataset(), name="other")}, ()),
}


@pytest.mark.parametrize("expected", OTHERS)
def test_a_checkpoint_of_another_run(whole: Path, expected: str) -> None:
    before = {path: path.read_bytes() for path in whole.rglob("*") if path.is_file()}
    options, notes = OTHERS[expected]
    with pytest.raises(DataError) as caught:
        run(whole, resume=True, **options)
    found = fault(caught)
    assert found.code == "checkpoint-differs"
    assert expected in found.message
    assert all(any(note.startswith(start) for note in found.notes) for start in notes)
    after = {path: path.read_bytes() for path in whole.rglob("*") if path.is_file()}
    assert {p: b for p, b in after.items() if p.name != ".lock"} == {
        p: b for p, b in before.items() if p.name != ".lock"
    }


def test_a_checkpoint_of_another_version(whole: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(identities, "__version__", "9.9")
    with pytest.raises(DataError, match=r"the version of cnnspec was `.*` and is `9\.9`"):
        run(whole, resume=True)


def test_other_samples_of_the_same_number(whole: Path) -> None:
    data = dataset()
    moved = Split({"input": data.train.inputs["input"] + 1}, data.train.targets)
    with pytest.raises(DataError, match="the data was `made, 36 samples to train on, fingerprint"):
        run(whole, resume=True, data=replace(data, train=moved))


def test_other_surroundings_are_remarked_on(
    whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(whole, tmp_path / "run")
    monkeypatch.setattr("platform.python_version", lambda: "3.99")
    progress = Stop()
    run(tmp_path / "run", resume=True, progress=progress)
    assert "is `3.99`, so that the last digits may differ" in progress.remarks[0]


# --- faults of the system ----------------------------------------------------------------------


@pytest.mark.parametrize("call", ["open", "fsync", "replace"])
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS])
def test_writing_fails(
    whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str, number: int
) -> None:
    stopped(tmp_path, 9)
    before = {path.name: path.read_bytes() for path in (tmp_path / "checkpoints").iterdir()}
    real = getattr(os, call)

    def fail(path: Any, *args: Any, **more: Any) -> Any:
        name = os.readlink(f"/proc/self/fd/{path}") if isinstance(path, int) else str(path)
        if "checkpoints" in name:
            raise OSError(number, os.strerror(number))
        return real(path, *args, **more)

    with monkeypatch.context() as patch:
        patch.setattr(os, call, fail)
        with pytest.raises(SetupError) as caught:
            run(tmp_path, resume=True)
    found = fault(caught)
    assert found.code == "file-unwritable"
    assert os.strerror(number).lower() in found.message
    after = {path.name: path.read_bytes() for path in (tmp_path / "checkpoints").iterdir()}
    assert {n: b for n, b in after.items() if n != "next.safetensors"} == before
    assert "stopped: " in (tmp_path / "log.txt").read_text()
    run(tmp_path, resume=True)
    assert lasting(tmp_path) == lasting(whole)


def test_a_disk_that_is_really_full(tmp_path: Path) -> None:
    # The source, of 24 kB, fits; the first checkpoint does not.
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (40000, limits[1]))
    try:
        with pytest.raises(SetupError) as caught:
            run(tmp_path, spec=SPEC.replace("filters: 3", "filters: 64"))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    file = tmp_path / "checkpoints" / "next.safetensors"
    assert fault(caught).message == f"`{file}` cannot be written: file too large"
    assert list((tmp_path / "checkpoints").iterdir()) == []


def test_a_directory_that_refuses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.open

    def refuse(path: Any, *args: Any, **more: Any) -> int:
        # Root may write everywhere, so the refusal is played.
        if str(path).startswith(str(tmp_path)):
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return real(path, *args, **more)

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(SetupError) as caught:
        run(tmp_path)
    assert fault(caught).code == "file-unwritable"
    assert fault(caught).message == f"`{tmp_path}/.lock` cannot be written: permission denied"
    assert list(tmp_path.iterdir()) == []


def test_two_runs_into_one_directory(whole: Path, tmp_path: Path) -> None:
    held = Lock(whole)
    try:
        for options in ({"resume": True}, {"force": True}):
            with pytest.raises(SetupError) as caught:
                run(whole, **options)
            found = fault(caught)
            assert found.code == "directory-locked"
            assert found.message == f"another run is writing to the directory `{whole}`"
            assert found.notes == (f"it is process {os.getpid()}",)
    finally:
        held.release()
    run(whole, resume=True)


def test_a_lock_ends_with_its_process(tmp_path: Path) -> None:
    code = "import sys, pathlib; from cnnspec.train.lock import Lock; "
    code += "lock = Lock(pathlib.Path(sys.argv[1])); print('held', flush=True); input()"
    child = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert child.stdout is not None
    assert child.stdout.readline() == "held\n"
    with pytest.raises(SetupError, match="another run"):
        Lock(tmp_path)
    child.kill()
    child.communicate()
    Lock(tmp_path).release()


def test_directories_that_are_no_run(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(SetupError) as caught:
        run(tmp_path, resume=True)
    assert fault(caught).code == "not-a-run"
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_force_leaves_nothing_of_the_run_before(tmp_path: Path) -> None:
    run(tmp_path)
    run(tmp_path, force=True, epochs=0)
    for name in ("best.safetensors", "confusion.csv", "confusion.json", "curves.png"):
        assert not (tmp_path / name).exists()
    assert len((tmp_path / "metrics.csv").read_text().splitlines()) == 1
    assert json.loads((tmp_path / "run.json").read_text())["epochs"] == 0
    assert (tmp_path / "log.txt").read_text().count("begins: ") == 1
    assert [p.name for p in (tmp_path / "checkpoints").iterdir()] == ["last.safetensors"]


# --- divergence ----------------------------------------------------------------------------------


def spoilt(value: float, sample: int) -> Dataset:
    """The data with one number replaced, in a sample that the first epoch visits late."""
    data = dataset()
    images = data.train.inputs["input"].copy()
    images[order(0, 0, 36)[sample], 0, 2, 2] = value
    return replace(data, train=Split({"input": images}, data.train.targets))


def test_data_that_are_not_finite_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        run(tmp_path, data=spoilt(np.nan, 30), checkpoint_every=2)
    found = fault(caught)
    assert found.code == "loss-not-finite"
    assert found.message == "the loss is nan in epoch 1, update 4 of 5"
    assert (
        found.notes[0] == "in update 4 of the epoch, the data of the input `input` are not finite"
    )
    assert found.notes[1] == (
        f"`{tmp_path}` keeps the weights of 0 complete epochs, and a checkpoint after update 2 of "
        "the next one"
    )


DEEP = """\
cnnspec: 1
name: deep
input: [1, 6, 6]
layers:
  - conv: {name: first, filters: 3, kernel: 3}
  - relu
  - elu: {name: bend}
  - flatten
  - dense: {name: head, units: 7}
train: {loss: cross_entropy, optimizer: {sgd: {lr: RATE}}, batch: 8, epochs: 2}
"""


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_first_layer_that_overflows_is_named(tmp_path: Path, backend: str) -> None:
    # One huge pixel: finite data, and a convolution that overflows.
    data = spoilt(1.7e308, 20)
    weights = DEEP.replace("RATE", "0.1").replace(
        "kernel: 3}", "kernel: 3, weight_init: {constant: {value: 4.0}}}"
    )
    progress = Stop()
    with pytest.raises(DataError) as caught:
        run(tmp_path, spec=weights, data=data, backend=backend, progress=progress)
    found = fault(caught)
    assert found.message.endswith("in epoch 1, update 3 of 5")
    what = "in update 3 of the epoch, the values of `first` are the first that are not finite"
    assert found.notes[0] == what
    assert found.primary is not None
    assert (found.primary.span.line, found.primary.span.column) == (5, 5)
    assert "looking for the layer" in progress.remarks[-1]
    # The good weights are there, and another rate may go on from other ones; nothing is lost.
    checkpoints = sorted(path.name for path in (tmp_path / "checkpoints").iterdir())
    assert checkpoints == ["last.safetensors", "previous.safetensors"]


@pytest.mark.parametrize("rundir", [True, False])
def test_a_rate_that_is_too_high_names_a_layer(tmp_path: Path, rundir: bool) -> None:
    graph = cnnspec.load(DEEP.replace("RATE", "1.0e+200"))
    with pytest.raises(DataError) as caught:
        train(graph, "numpy", dataset(), rundir=tmp_path / "run" if rundir else None)
    found = fault(caught)
    assert found.code == "loss-not-finite"
    assert found.primary is not None
    assert "first" in found.notes[0] or "head" in found.notes[0]
    if not rundir:
        assert found.notes[1] == "no run directory was given, so that no weights are kept"


def test_weights_that_overflow_in_the_last_update_are_not_kept(tmp_path: Path) -> None:
    # A single update an epoch: the loss is finite, the weights behind it are not.
    text = DEEP.replace("RATE", "1.0e+308").replace("batch: 8", "batch: 36")
    data = dataset()
    images = {"input": data.train.inputs["input"] * 1e10}
    with pytest.raises(DataError) as caught:
        run(tmp_path, spec=text, data=replace(data, train=Split(images, data.train.targets)))
    found = fault(caught)
    assert found.message == "the weights are not finite after epoch 1, update 1 of 1"
    what = "update 1 of the epoch, values and gradients are finite, and `first.weight` is not after"
    assert found.notes[0].startswith(f"in {what}")
    assert found.primary is not None
    assert found.primary.span.line == 5
    assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == ["last.safetensors"]


def test_running_statistics_that_overflow_are_named(tmp_path: Path) -> None:
    # Weights of 1e160 are finite, and so is what a batch norm makes of them; their variance is not.
    text = SPEC.replace("{adam: {lr: 0.01}}", "{sgd: {lr: 1.0e+160}}")
    with pytest.raises(DataError) as caught:
        run(tmp_path, spec=text, checkpoint_every=None)
    found = fault(caught)
    assert "`batch_norm1.running_var` is not after the update" in found.notes[0]
    assert found.primary is not None
    assert found.primary.span.line == 6


def test_a_test_set_that_overflows_names_a_layer(tmp_path: Path) -> None:
    data = dataset()
    images = data.test.inputs["input"].copy()
    images[3, 0, 1, 1] = 1e308
    text = DEEP.replace("RATE", "0.1").replace(
        "kernel: 3}", "kernel: 3, weight_init: {constant: {value: 40.0}}}"
    )
    huge = replace(data, test=Split({"input": images}, data.test.targets))
    with pytest.raises(DataError) as caught:
        run(tmp_path, spec=text, data=huge)
    found = fault(caught)
    assert found.message.endswith("after epoch 1, over the test set")
    assert found.notes[0] == "the values of `first` are the first that are not finite"


# --- ending early --------------------------------------------------------------------------------


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> Callable[[Stopping], None]:
    def put(rule: Stopping) -> None:
        monkeypatch.setattr(Stopping, "of", lambda _: rule)

    return put


def test_stops_early_and_stays_so(tmp_path: Path, patient: Callable[[Stopping], None]) -> None:
    patient(Stopping("train_loss", patience=2, min_delta=10.0))  # never that much better
    progress = Stop()
    result = run(tmp_path, epochs=9, progress=progress)
    assert len(result.history) == 3
    text = "no better train_loss for 2 epochs; the run ends"
    assert progress.remarks == [text]
    progress = Stop()
    assert len(run(tmp_path, epochs=9, resume=True, progress=progress).history) == 3
    assert progress.remarks == ["resumed at the beginning of epoch 4 of 9", text]


def test_the_best_weights_are_kept(tmp_path: Path, patient: Callable[[Stopping], None]) -> None:
    # The rate grows, so that the first epochs are the best.
    patient(Stopping("learning_rate"))
    text = SPEC.replace("gamma: 0.9", "gamma: 1.1")
    first = run(tmp_path / "one", spec=text, epochs=1)
    run(tmp_path / "all", spec=text)
    found = cnnspec.load(text)
    from cnnspec.weights import read_weights

    assert equal(read_weights(tmp_path / "all" / "best.safetensors", found), first.weights)
    assert not equal(read_weights(tmp_path / "all" / "weights.safetensors", found), first.weights)
    assert json.loads((tmp_path / "all" / "run.json").read_text())["best"] == "learning_rate"


def test_usage(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "x.yaml", "-b", "numpy", "--resume", "--force"]) == 2
    assert "--resume" in capsys.readouterr().err
