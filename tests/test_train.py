from __future__ import annotations

import csv
import json
import math
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

import cnnspec
from cnnspec import backends, data
from cnnspec.backends import At
from cnnspec.cli import main
from cnnspec.data import Dataset, Split, order
from cnnspec.demo import compared
from cnnspec.diagnostics import DataError, SetupError, SpecError
from cnnspec.graph import Graph
from cnnspec.initializers import initial_weights
from cnnspec.train import Epoch, Progress, Result, train
from cnnspec.weights import read_weights

BACKENDS = ("numpy", "torch", "keras")
EXACT = 1e-9
DEMO = Path(__file__).parents[1] / "specs" / "digits.yaml"

SMALL = """\
cnnspec: 1
name: small
input: [1, 8, 8]
layers:
  - conv: {filters: 3, kernel: 4, stride: 2, bias: false}
  - batch_norm
  - relu
  - dropout: {p: 0.3}
  - flatten
  - dense: {units: 10}
  - softmax
train:
  loss: cross_entropy
  optimizer: {adam: {lr: 0.01}}
  batch: 64
  epochs: 2
"""

TWO_HEADS = """\
cnnspec: 1
name: heads
input: [4]
layers:
  - dense: {name: hidden, units: 5}
  - tanh: {name: bend}
  - dense: {name: policy, units: 3}
  - dense: {name: value, units: 2, from: bend}
outputs: {policy: policy, value: value}
train:
  loss: {policy: cross_entropy, value: {mean_squared_error: {weight: 0.25}}}
  optimizer: {sgd: {lr: 0.05, momentum: 0.9}}
  batch: 8
  epochs: 3
"""


@pytest.fixture(scope="module")
def digits() -> Dataset:
    return data.load("digits")


@pytest.fixture(scope="module")
def few(digits: Dataset) -> Dataset:
    """Enough of the digits for a last batch that is smaller than the others."""
    train_half, test_half = digits.train.take(slice(150)), digits.test.take(slice(50))
    return Dataset("digits", Split(*train_half), Split(*test_half), digits.classes)


@pytest.fixture
def two_heads() -> tuple[Graph, Dataset]:
    rng = np.random.default_rng(5)

    def split(count: int) -> Split:
        x = rng.normal(size=(count, 4))
        value = x[:, :2] * x[:, 2:]
        return Split({"input": x}, {"policy": x[:, :3].argmax(axis=1), "value": value})

    return cnnspec.load(TWO_HEADS), Dataset("made", split(30), split(11), ("a", "b", "c"))


def numbers(result: Result) -> npt.NDArray[np.float64]:
    return np.array(
        [
            [e.train_loss, e.test_loss, e.train_accuracy or 0, e.test_accuracy or 0]
            for e in result.history
        ]
    )


def rows(path: Path) -> list[dict[str, str]]:
    with open(path, newline="") as stream:
        return list(csv.DictReader(stream))


# --- the same everywhere ---------------------------------------------------------------------


@pytest.mark.parametrize("given", ["few", pytest.param("digits", marks=pytest.mark.nightly)])
def test_curves_of_the_demo_are_equal(given: str, request: pytest.FixtureRequest) -> None:
    graph, dataset = cnnspec.load(DEMO), request.getfixturevalue(given)
    found = {name: train(graph, name, dataset, epochs=2) for name in BACKENDS}
    for result in found.values():
        assert np.abs(numbers(result) - numbers(found["numpy"])).max() <= EXACT
        for name, weight in result.weights.items():
            assert np.abs(weight - found["numpy"].weights[name]).max() <= EXACT


@pytest.mark.parametrize("backend", BACKENDS)
def test_several_outputs(two_heads: tuple[Graph, Dataset], backend: str) -> None:
    graph, dataset = two_heads
    found = train(graph, backend, dataset)
    assert np.abs(numbers(found) - numbers(train(graph, "numpy", dataset))).max() <= EXACT
    assert found.history[-1].test_loss < found.history[0].test_loss
    assert graph.training is not None

    # Both metrics, worked out by hand from what the network answers.
    session = backends.get(backend).open(cnnspec.emit(graph, backend, reproducible=True))
    session.assign(found.weights)
    outputs = session.forward(dataset.test.inputs)
    labels, values = dataset.test.targets["policy"], dataset.test.targets["value"]
    z = outputs["policy"]
    losses = np.log(np.exp(z).sum(axis=1)) - z[np.arange(len(z)), labels]
    expected = losses.mean() + 0.25 * np.square(outputs["value"] - values).mean()
    last = found.history[-1]
    assert last.test_loss == pytest.approx(expected, rel=1e-12)
    assert last.test_accuracy == np.mean(z.argmax(axis=1) == labels)


def test_no_labels_no_accuracy(tmp_path: Path) -> None:
    graph = cnnspec.load(
        "cnnspec: 1\nname: line\ninput: [2]\nlayers: [{dense: {units: 1}}]\n"
        "train: {loss: mean_squared_error, optimizer: {sgd: {lr: 0.1}}, batch: 5, epochs: 40}\n"
    )
    x = np.random.default_rng(0).normal(size=(20, 2))
    split = Split({"input": x}, {"output": x @ [[2.0], [-1.0]] + 3})
    result = train(graph, "numpy", Dataset("line", split, split), rundir=tmp_path / "run")
    assert result.history[-1].test_loss < 1e-6
    assert result.history[-1].test_accuracy is None
    row = rows(tmp_path / "run" / "metrics.csv")[-1]
    assert row["train_accuracy"] == row["test_accuracy"] == ""
    assert float(row["test_loss"]) == result.history[-1].test_loss


def test_seeds(few: Dataset) -> None:
    graph = cnnspec.load(SMALL)
    first = numbers(train(graph, "numpy", few))
    assert (numbers(train(graph, "numpy", few)) == first).all()
    assert (numbers(train(graph, "numpy", few, seed=0)) == first).all()
    other = numbers(train(graph, "numpy", few, seed=1))
    assert (other != first).any()
    assert (numbers(train(replace(graph, seed=1), "numpy", few)) == other).all()


def test_train_loss_is_the_mean_over_samples_of_the_losses_as_they_occurred(few: Dataset) -> None:
    graph = cnnspec.load(SMALL)
    assert graph.training is not None
    fitted = data.fit(few, graph)
    session = backends.get("numpy").open(cnnspec.emit(graph, "numpy", reproducible=True))
    session.assign(initial_weights(graph))
    batch, total = graph.training.batch, 0.0
    visited = order(graph.seed, 0, 150)
    for update in range(3):
        index = visited[update * batch : (update + 1) * batch]
        inputs, targets = fitted.train.take(index)
        loss = session.step(inputs, targets, at=At(update), updates_per_epoch=3)
        total += loss * len(index)
    assert len(index) == 22
    assert train(graph, "numpy", few, epochs=1).history[0].train_loss == total / 150


def test_schedule_acts_per_epoch(few: Dataset) -> None:
    def final(schedule: str, epochs: int) -> dict[str, npt.NDArray[np.float64]]:
        text = SMALL.replace("  batch: 64", f"  schedule: {schedule}\n  batch: 64")
        return dict(train(cnnspec.load(text), "numpy", few, epochs=epochs).weights)

    # A rate that falls to all but nothing after the first epoch: the second changes no weight.
    decayed = "{exponential: {gamma: 1.0e-12, every: epoch}}"
    once, twice, constant = final(decayed, 1), final(decayed, 2), final("constant", 1)
    for name, weight in once.items():
        assert (weight == constant[name]).all()
        if "running" not in name:
            assert np.abs(twice[name] - weight).max() < 1e-12


ALONE = """\
import sys
from importlib.util import module_from_spec, spec_from_file_location

import numpy as np

sys.modules["cnnspec"] = None  # an import of it fails
backend, file, weights, arrays = sys.argv[1:]
spec = spec_from_file_location("net", file)
net = module_from_spec(spec)
if backend == "keras":
    import keras

    keras.config.set_floatx("float64")
spec.loader.exec_module(net)
stored = np.load(arrays)
x, y = stored["x"], stored["y"]
optimizer = []
if backend == "keras":
    model = net.build_model()
    net.load_weights(model, weights)
    model = net.logits_model(model)
    net.compile_model(model)
    x = np.moveaxis(x, 1, -1)
else:
    model = net.Small()
    if backend == "torch":
        import torch

        model, x, y = model.double(), torch.tensor(x), torch.tensor(y)
    else:
        model.astype("float64")
    model.load_weights(weights)
    optimizer = [net.make_optimizer(model)]
for update in range(3):
    rows = stored["order"][update * 64 : (update + 1) * 64]
    print(repr(float(net.train_step(model, *optimizer, x[rows], y[rows], update, 3))))
"""


class Losses(Progress):
    """Keeps the loss of every batch, and what else it was told."""

    def __init__(self, stop: int | None = None) -> None:
        self.losses: list[float] = []
        self.begun: list[tuple[int, int, int, int]] = []
        self.rates: list[float] = []
        self.closed = False
        self.stop = stop

    def begin(self, epoch: int, epochs: int, batches: int, done: int) -> None:
        self.begun.append((epoch, epochs, batches, done))

    def advance(self, loss: float) -> None:
        self.losses.append(loss)
        if len(self.losses) == self.stop:
            raise KeyboardInterrupt

    def end(self, epoch: Epoch, epochs: int, rate: float) -> None:
        self.rates.append(rate)

    def close(self) -> None:
        self.closed = True


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_emitted_file_alone_gives_the_same_losses(
    few: Dataset, tmp_path: Path, backend: str
) -> None:
    graph = cnnspec.load(SMALL)
    run = tmp_path / "run"
    train(graph, backend, few, epochs=0, rundir=run)
    x, y = few.train.inputs["input"], few.train.targets["output"]
    np.savez(tmp_path / "data.npz", x=x, y=y, order=order(0, 0, 150))
    names = (f"small_{backend}.py", "weights.safetensors")
    done = subprocess.run(
        [sys.executable, "-c", ALONE, backend]
        + [str(run / name) for name in names]
        + [str(tmp_path / "data.npz")],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    told = Losses()
    train(graph, backend, few, epochs=1, progress=told)
    assert [float(text) for text in done.stdout.split()] == pytest.approx(told.losses, rel=1e-12)


# --- what a run tells and leaves behind --------------------------------------------------------


def test_run_directory(few: Dataset, tmp_path: Path) -> None:
    run = tmp_path / "new" / "run"
    spec = tmp_path / "net.yaml"
    spec.write_text(SMALL)
    graph = cnnspec.load(spec)
    result = train(graph, "numpy", few, seed=3, rundir=run)
    assert sorted(path.relative_to(run).as_posix() for path in run.rglob("*.*")) == [
        ".lock",
        "best.safetensors",
        "checkpoints/last.safetensors",
        "checkpoints/previous.safetensors",
        "confusion.csv",
        "confusion.json",
        "curves.html",
        "curves.png",
        "data.json",
        *(path.relative_to(run).as_posix() for path in run.glob("events/events.out.tfevents.*")),
        "expanded.yaml",
        "log.txt",
        "metrics.csv",
        "run.json",
        "small_numpy.py",
        "spec.yaml",
        "weights.safetensors",
    ]
    assert (run / "spec.yaml").read_text() == SMALL
    assert "SEED = 3" in (run / "small_numpy.py").read_text()
    told = json.loads((run / "run.json").read_text())
    assert (told["backend"], told["dtype"], told["seed"]) == ("numpy", "float64", 3)
    stored = read_weights(run / "weights.safetensors", graph)
    assert all((stored[name] == weight).all() for name, weight in result.weights.items())

    text = (run / "metrics.csv").read_bytes()
    head = b"epoch,train_loss,train_accuracy,test_loss,test_accuracy,learning_rate,"
    head += b"train_top5,test_top5\n1,"
    assert text.startswith(head)
    assert text.endswith(b"\n")
    for epoch, row in zip(result.history, rows(run / "metrics.csv"), strict=True):
        assert row == {
            "epoch": str(epoch.epoch),
            "train_loss": repr(epoch.train_loss),
            "train_accuracy": repr(epoch.train_accuracy),
            "test_loss": repr(epoch.test_loss),
            "test_accuracy": repr(epoch.test_accuracy),
            "learning_rate": "0.01",
            "train_top5": repr(epoch.train_top5),
            "test_top5": repr(epoch.test_top5),
        }


def test_no_epochs_leave_the_initial_weights(few: Dataset, tmp_path: Path) -> None:
    graph = cnnspec.load(SMALL)
    result = train(graph, "torch", few, epochs=0, rundir=tmp_path)
    stored = read_weights(tmp_path / "weights.safetensors", graph)
    for name, weight in initial_weights(graph).items():
        assert (weight == stored[name]).all()
        assert (weight == result.weights[name]).all()
    assert result.history == ()
    assert rows(tmp_path / "metrics.csv") == []


def test_a_directory_in_use_is_refused(few: Dataset, tmp_path: Path) -> None:
    graph = cnnspec.load(SMALL)
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(SetupError) as caught:
        train(graph, "numpy", few, rundir=tmp_path)
    assert caught.value.diagnostics[0].code == "directory-in-use"
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]
    train(graph, "numpy", few, epochs=1, rundir=tmp_path, force=True)
    assert (tmp_path / "mine.txt").read_text() == "mine"
    assert len(rows(tmp_path / "metrics.csv")) == 1
    with pytest.raises(SetupError) as caught:
        train(graph, "numpy", few, rundir=tmp_path / "mine.txt")
    assert caught.value.diagnostics[0].code == "not-a-directory"


def test_progress_is_told_everything(few: Dataset) -> None:
    told = Losses()
    train(cnnspec.load(SMALL), "numpy", few, progress=told)
    assert told.begun == [(1, 2, 3, 0), (2, 2, 3, 0)]
    assert len(told.losses) == 6
    assert len(told.rates) == 2
    assert min(told.rates) > 0
    assert told.closed


def test_interrupted_in_the_second_epoch(few: Dataset, tmp_path: Path) -> None:
    graph = cnnspec.load(SMALL)
    told = Losses(stop=5)
    with pytest.raises(KeyboardInterrupt):
        train(graph, "numpy", few, rundir=tmp_path, progress=told)
    assert told.closed
    once = train(graph, "numpy", few, epochs=1)
    assert [row["epoch"] for row in rows(tmp_path / "metrics.csv")] == ["1"]
    stored = read_weights(tmp_path / "weights.safetensors", graph)
    assert all((stored[name] == weight).all() for name, weight in once.weights.items())


# --- faults --------------------------------------------------------------------------------------


def test_a_loss_that_is_not_finite(few: Dataset, tmp_path: Path) -> None:
    spoilt = few.train.inputs["input"].copy()
    spoilt[order(0, 0, 150)[70]] = np.nan
    dataset = replace(few, train=Split({"input": spoilt}, few.train.targets))
    with pytest.raises(DataError) as caught:
        train(cnnspec.load(SMALL), "numpy", dataset, rundir=tmp_path)
    (fault,) = caught.value.diagnostics
    assert fault.code == "loss-not-finite"
    assert fault.message == "the loss is nan in epoch 1, update 2 of 3"
    assert rows(tmp_path / "metrics.csv") == []
    assert not (tmp_path / "weights.safetensors").exists()


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_rate_that_is_too_high(two_heads: tuple[Graph, Dataset], backend: str) -> None:
    graph = cnnspec.load(TWO_HEADS.replace("lr: 0.05", "lr: 1.0e+30"))
    with pytest.raises(DataError) as caught:
        train(graph, backend, two_heads[1])
    assert caught.value.diagnostics[0].code == "loss-not-finite"


FLAT_NORM = """\
cnnspec: 1
name: flat
input: [1, 8, 8]
layers:
  - flatten
  - batch_norm: {name: norm}
  - dense: {units: 10}
train:
  loss: cross_entropy
  optimizer: {sgd: {lr: 0.1}}
  batch: BATCH
"""


@pytest.mark.parametrize(
    ("batch", "help"),
    [
        (149, "`batch: 148` leaves a last batch of 2"),
        (1, "`batch: 2` leaves a last batch of 2"),
    ],
)
def test_a_last_batch_of_one(few: Dataset, tmp_path: Path, batch: int, help: str) -> None:
    graph = cnnspec.load(FLAT_NORM.replace("BATCH", str(batch)))
    with pytest.raises(DataError) as caught:
        train(graph, "torch", few, rundir=tmp_path / "run")
    (fault,) = caught.value.diagnostics
    assert fault.code == "batch-of-one"
    assert "`norm`" in fault.message
    assert fault.primary is not None
    assert (fault.primary.span.line, fault.primary.span.column) == (6, 5)
    assert f"150 samples in batches of {batch}" in fault.notes[0]
    assert fault.help == help
    assert not (tmp_path / "run").exists()


def test_a_last_batch_of_one_matters_where_there_is_nothing_else_to_average(few: Dataset) -> None:
    # Space counts: one sample of 8x8 has 64 values per channel.
    train(cnnspec.load(SMALL.replace("batch: 64", "batch: 149")), "torch", few, epochs=1)
    train(cnnspec.load(FLAT_NORM.replace("BATCH", "148")), "torch", few, epochs=1)
    with pytest.raises(DataError) as caught:
        train(cnnspec.load(FLAT_NORM.replace("BATCH", "151")), "torch", few, epochs=1)
    (fault,) = caught.value.diagnostics
    assert fault.code == "batch-too-large"
    assert fault.help == "`batch: 150` takes all of them at once"


def test_a_spec_without_train() -> None:
    graph = cnnspec.load("cnnspec: 1\nname: x\ninput: [1, 8, 8]\nlayers: [relu]\n")
    with pytest.raises(SpecError) as caught:
        train(graph, "numpy", "digits")
    (fault,) = caught.value.diagnostics
    assert fault.code == "train-missing"
    assert "optimizer" in fault.help
    assert fault.primary is not None
    assert (fault.primary.span.line, fault.primary.span.column) == (1, 1)


# --- the command ---------------------------------------------------------------------------------


def test_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    spec = tmp_path / "net.yaml"
    spec.write_text(SMALL)
    run = tmp_path / "run"
    arguments = ["train", str(spec), "--backend", "numpy", "--data", "digits", "-o", str(run)]
    assert main([*arguments, "--epochs", "1", "--dtype", "float64"]) == 0
    captured = capsys.readouterr()
    assert captured.out.startswith("epoch 1/1  train loss ")
    assert captured.out.count("\n") == 1
    assert captured.err == f"wrote weights.safetensors, metrics.csv and small_numpy.py to {run}\n"
    (row,) = rows(run / "metrics.csv")
    assert math.isfinite(float(row["train_loss"]))
    assert main(arguments) == 2
    assert "directory-in-use" in capsys.readouterr().err
    assert main([*arguments, "--epochs", "2", "--force", "--dtype", "float32"]) == 0
    assert len(rows(run / "metrics.csv")) == 2


def test_command_refuses_unknown_data(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    spec = tmp_path / "net.yaml"
    spec.write_text(SMALL)
    arguments = ["train", str(spec), "-b", "numpy", "--data", "mnist", "-o", str(tmp_path / "run")]
    assert main(arguments) == 2
    assert "unknown-data" in capsys.readouterr().err


def test_the_demo_judges_curves(capsys: pytest.CaptureFixture[str]) -> None:
    row = {"epoch": "1", "train_loss": "0.5", "train_accuracy": "0.9", "test_loss": "0.4"}
    row["test_accuracy"] = "0.98"
    good = {"numpy": [row], "torch": [dict(row)]}
    assert compared(good) == []
    assert "largest difference of any metric: 0.0e+00" in capsys.readouterr().out
    for key, value in (("train_loss", "0.500000002"), ("test_loss", "nan")):
        (fault,) = compared({"numpy": [row], "torch": [{**row, key: value}]})
        assert "differ" in fault
    assert len(compared({"numpy": [{**row, "test_accuracy": "0.97"}]})) == 1
    assert compared({"numpy": [row], "torch": []})
    assert compared({"numpy": [], "torch": []})
