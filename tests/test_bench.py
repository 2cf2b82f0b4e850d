"""`bench`: what it measures, what it predicts, how it says so, and what it refuses."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cnnspec.bench import Memory, Options, Report, Row, Time, child, measure, resident
from cnnspec.bench.clock import measure as timed
from cnnspec.bench.plot import picture
from cnnspec.bench.prediction import buffers, predicted
from cnnspec.bench.results import Layer
from cnnspec.bench.single import alone, kind
from cnnspec.bench.text import render
from cnnspec.cli import main
from cnnspec.diagnostics import SetupError
from tests.networks import BACKENDS, SPECS, graph, graph_of

SPEC = """\
cnnspec: 1
name: small
input: [2, 8, 8]
layers:
  - conv: {name: conv1, filters: 4, kernel: 3, bias: false}
  - relu
  - split: {name: halves, sizes: [2, 2]}
  - add: {name: sum, from: [halves.0, halves.1]}
  - flatten
  - dense: {name: fc, units: 3}
train: {loss: cross_entropy, optimizer: {sgd: {lr: 0.1, momentum: 0.9}}, batch: 4}
"""


@pytest.fixture
def spec(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.chdir(tmp_path)
    Path("small.yaml").write_text(SPEC)
    return "small.yaml"


def failure(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str]:
    status = main(["bench", *arguments])
    captured = capsys.readouterr()
    assert captured.out == ""
    return status, captured.err


# --- measuring -----------------------------------------------------------------------------------


def test_a_call_is_measured_as_long_as_it_takes() -> None:
    found = timed(lambda: time.sleep(0.01), 0.06)
    assert 0.01 <= found.low <= found.median <= found.high
    assert found.count >= 5


def test_a_peak_begins_anew() -> None:
    before = resident.reset_peak()
    if before is None:
        pytest.skip("this system does not tell the peak of resident memory")
    large = np.ones(1 << 23)
    peak = resident.peak()
    assert peak is not None
    assert peak >= before + large.nbytes
    del large
    again = resident.reset_peak()
    peak = resident.peak()
    assert again is not None
    assert peak is not None
    assert peak < before + (1 << 25)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_layer_by_itself_computes_what_it_does_in_the_network(backend: str, spec: str) -> None:
    found = child.layers(
        spec=spec, parameters=[], backend=backend, batch=2, device="cpu", seconds=0.0
    )
    assert set(found) == {"conv1", "relu1", "sum", "flatten1", "fc"}
    assert all(0 < seconds < 10 for seconds in found.values())


def test_layers_alone_are_graphs_of_their_own() -> None:
    network = graph(SPEC)
    for node in network.nodes:
        single = alone(node)
        if node.id.startswith("halves."):
            assert single is None, "a part of a split is a view"
            continue
        assert single is not None
        single.verify()
        (layer,) = single.nodes
        assert (layer.op, layer.input_shapes, layer.shape) == (
            node.op,
            node.input_shapes,
            node.shape,
        )
    twice = graph(SPEC.replace("  - relu\n", "  - relu\n  - relu\n"))
    first, second = (node for node in twice.nodes if node.op.key == "relu")
    assert kind(first) == kind(second)
    assert kind(first) != kind(twice.node("fc"))


def test_time_and_memory_of_the_text_that_compile_writes(spec: str) -> None:
    common: dict[str, Any] = {
        "spec": spec,
        "parameters": [],
        "backend": "numpy",
        "batch": 4,
        "device": "cpu",
    }
    for training in (False, True):
        found: Any = child.time(**common, training=training, seconds=0.0)
        assert 0 < found["low"] <= found["median"] <= found["high"]
        held: Any = child.memory(**common, training=training)
        assert held is None or held["peak"] >= 1 << 20
    assert child.product(device="cpu", seconds=0.0) > 1e8


# --- predicting ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("optimizer", "count"),
    [
        ("{sgd: {lr: 0.1}}", 0),
        ("{sgd: {lr: 0.1, momentum: 0.9}}", 1),
        ("{adagrad: {lr: 0.1}}", 1),
        ("{rmsprop: {lr: 0.1, centered: true, momentum: 0.5}}", 3),
        ("{adam: {lr: 0.1}}", 2),
        ("{adamw: {lr: 0.1, amsgrad: true}}", 3),
        ("adadelta", 2),
        ("{nadam: {lr: 0.1}}", 2),
        ("{adamax: {lr: 0.1}}", 2),
    ],
)
@pytest.mark.parametrize("backend", ["numpy", "torch"])
def test_the_buffers_of_an_optimizer(optimizer: str, count: int, backend: str) -> None:
    """As many as its session has after an update."""
    text = SPEC.replace("{sgd: {lr: 0.1, momentum: 0.9}}", optimizer)
    network = graph(text)
    assert network.training is not None
    assert buffers(network.training) == count
    session = _stepped(text, backend)
    parameters = sum(param.size for param in network.params().values())
    held = sum(v.size for name, v in session.state().items() if name.count(".") and v.size > 1)
    assert held == count * parameters


def _stepped(text: str, backend: str) -> Any:
    from cnnspec.backends import get

    chosen = get(backend)
    session = chosen.open(chosen.emit(graph(text)))
    session.step({"input": np.ones((2, 2, 8, 8))}, {"output": np.zeros(2, np.int64)})
    return session


def test_a_prediction_is_made_of_the_counts_of_summary() -> None:
    network = graph(SPEC)
    parameters = sum(param.size for param in network.params().values())
    one, two = (predicted(network, "torch", batch, "inference") for batch in (1, 2))
    assert one is not None
    assert two is not None
    # The convolution's output and what relu makes of it.
    assert two - one == 4 * 2 * 4 * 6 * 6
    assert one == 4 * parameters + (two - one)
    assert predicted(network, "keras", 1, "inference") is None


@pytest.mark.nightly
@pytest.mark.parametrize("backend", ["numpy", "torch"])
@pytest.mark.parametrize(
    ("name", "batch"), [("lenet_keras", 128), ("resnet18", 4), ("mobilenet_v2", 2)]
)
def test_predictions_are_within_15_percent(backend: str, name: str, batch: int) -> None:
    path = SPECS[name]
    network = graph_of(path)
    options = Options(backends=(backend,), batch=batch, seconds=0.01, layers=False)
    for row in measure.bench(network, str(path), options).rows:
        assert row.memory is not None, row.fault
        assert row.memory.error is not None
        assert abs(row.memory.error) <= 0.15, row


# --- printing ------------------------------------------------------------------------------------


def report() -> Report:
    times = {"numpy": Time(0.02, 0.018, 0.03, 9), "torch": Time(0.004, 0.0039, 0.0061, 50)}
    found = Report("net.yaml", "net", 8, 2, "cpu", 1e11, ["a note"])
    found.rows = [
        Row(name, "inference", time, Memory(50 << 20, 80 << 20, 26 << 20), 10**9, ratio, share)
        for (name, time), ratio, share in zip(times.items(), (5.0, 1.0), (0.5, 1.0), strict=True)
    ]
    found.rows.append(Row("keras", "inference", fault="the process was killed by signal 9"))
    found.layers = [
        Layer("conv", "conv", 10**9, {"numpy": 0.01, "torch": 0.003}, {"numpy": 1.0, "torch": 3.3}),
        *(Layer(f"relu{i}", "relu", 0, {"numpy": 2e-6 * i}, {}) for i in range(30)),
    ]
    return found


def test_the_tables() -> None:
    text = render(report(), "table")
    lines = text.splitlines()
    assert lines[0] == "net, batch 8, float32, cpu, 2 threads; matrix products reach 100 GFLOP/s"
    assert lines[1] == "a note"
    assert "inference  numpy     20 ms    18 ms to 30 ms        400   5.00     50.0" in text
    assert "inference  numpy     50.0 MiB  80.0 MiB  30.0 MiB   26.0 MiB      -5%" in text
    assert "12 others" not in text
    assert "11 others" in text
    assert lines[-1] == "keras, inference: failed: the process was killed by signal 9"
    assert "| inference | numpy | 20 ms |" in render(report(), "markdown")


def test_json_has_everything() -> None:
    found = json.loads(render(report(), "json"))
    assert found["rows"][0]["memory"]["error"] == pytest.approx(76 / 80 - 1)
    assert len(found["layers"]) == 31
    assert found["rows"][2]["time"] is None


def test_the_picture() -> None:
    pytest.importorskip("matplotlib")
    assert picture(report()).startswith(b"\x89PNG")
    bare = report()
    bare.layers, bare.rows = [], bare.rows[:1]
    assert picture(bare).startswith(b"\x89PNG")


# --- the command ---------------------------------------------------------------------------------


def test_the_command(spec: str, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("matplotlib")
    arguments = ["bench", spec, "-b", "numpy", "--seconds", "0.01", "--threads", "1"]
    assert main([*arguments, "-o", "found.json", "--plot", "found.png"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("small, batch 1, float32, cpu, 1 thread; matrix products reach ")
    for row in ("inference  numpy", "training   numpy", "conv1"):
        assert row in out
    found = json.loads(Path("found.json").read_text())
    assert [row["step"] for row in found["rows"]] == ["inference", "training"]
    macs = 4 * 2 * 9 * 36 + 72 * 3
    assert [row["flops"] for row in found["rows"]] == [2 * macs, 6 * macs]
    assert Path("found.png").read_bytes().startswith(b"\x89PNG")
    assert main([*arguments, "-o", "found.json"]) == 2, "nothing is measured first"
    assert "`found.json` exists already" in capsys.readouterr().err


class Answers:
    """Stands for the processes."""

    def __init__(self, **answers: Mapping[str, Any]) -> None:
        self.answers = answers

    def __call__(self, environment: object, task: str, **request: Any) -> Any:
        usual: dict[str, Any] = {
            "product": {"value": 1e11},
            "time": {"value": {"median": 0.1, "low": 0.1, "high": 0.1, "count": 5}},
            "memory": {"value": {"base": 1 << 26, "peak": 1 << 27}},
            "layers": {"value": {"conv1": 0.01}},
        }
        return measure._Answer(**(usual | self.answers)[task])


def test_a_back_end_that_dies_is_a_row_that_failed(
    spec: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    died = {"fault": "the process was killed by signal 9"}
    monkeypatch.setattr(measure._Runner, "ask", Answers(time=died))
    assert main(["bench", spec, "-b", "numpy"]) == 1
    out = capsys.readouterr().out
    assert "numpy, inference: failed: the process was killed by signal 9" in out
    assert "numpy, training: failed" in out


def test_faults_beside_the_times_are_notes(
    spec: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    fault = {"fault": "no answer within 600 s"}
    made = Answers(product=fault, memory=fault, layers=fault)
    monkeypatch.setattr(measure._Runner, "ask", made)
    assert main(["bench", spec, "-b", "numpy"]) == 0
    out = capsys.readouterr().out
    assert "the speed of matrix products could not be measured: no answer within 600 s" in out
    assert "numpy, memory of training: no answer within 600 s" in out
    assert "numpy, layer by layer: no answer within 600 s" in out


def test_what_a_process_says_or_does_not_say(monkeypatch: pytest.MonkeyPatch) -> None:
    runner = measure._Runner(1, 20.0)
    answer = runner.ask({}, "time", spec="missing.yaml", parameters=[], backend="numpy", batch=1,
                        device="cpu", training=False, seconds=0.0)  # fmt: skip
    assert answer.fault == "there is no file `missing.yaml`"
    assert answer.code == "file-not-found"
    assert "KeyError" in runner.ask({}, "nonsense").fault
    assert replace(runner, timeout=0.01).ask({}, "product").fault == "no answer within 0.01 s"
    assert runner.ask({"PYTHONHOME": "/nowhere"}, "product").fault.startswith("the process ended")


def test_a_framework_that_is_missing(
    spec: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    missing = {"fault": "the torch backend needs PyTorch", "code": "backend-missing"}
    monkeypatch.setattr(measure._Runner, "ask", Answers(time=missing))
    status, err = failure(capsys, spec, "-b", "torch")
    assert status == 2
    assert "error[backend-missing]: the torch backend needs PyTorch" in err
    monkeypatch.setattr(measure, "find_spec", lambda name: None)
    assert [each.name for each in measure._chosen(Options(), "cpu")] == ["numpy"]


def test_without_a_gpu_nothing_is_said_of_one(
    spec: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(measure, "_gpu", lambda: "")
    status, err = failure(capsys, spec, "--device", "cuda")
    assert status == 2
    assert "unknown-device" in err
    assert "nothing was measured on CUDA" in err
    monkeypatch.setattr(measure._Runner, "ask", Answers())
    assert main(["bench", spec, "-b", "numpy", "--device", "auto"]) == 0
    assert "no GPU was found: nothing was measured on CUDA" in capsys.readouterr().out


def test_on_a_gpu_the_reference_has_no_row(
    spec: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(measure, "_gpu", lambda: "a GPU")
    monkeypatch.setattr(measure._Runner, "ask", Answers())
    arguments = ["bench", spec, "-b", "numpy", "-b", "torch", "--device", "cuda"]
    assert main([*arguments, "--format", "json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["device"] == "cuda"
    assert "GPU: a GPU; TF32 is off" in found["notes"]
    assert {row["backend"] for row in found["rows"]} == {"torch"}
    assert {row["memory"]["predicted"] for row in found["rows"]} == {None}


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (["--backend", "tourch"], 2, "there is no backend `tourch`"),
        (["--backend", "keras:jacks"], 2, "unknown-engine"),
        (["--batch", "2000000000"], 2, "running `small` with a batch of 2,000,000,000 would take"),
        (["--batch", "0"], 2, "--batch"),
        (["--seconds", "0"], 2, "--seconds"),
        (["--plot", "no/where.png"], 2, "there is no directory `no`"),
        (["--plot", "same", "--output", "same"], 2, "`same` would be written twice"),
        (["-p", "width=3"], 2, "width"),
    ],
)
def test_what_is_refused(
    arguments: list[str], status: int, said: str, spec: str, capsys: pytest.CaptureFixture[str]
) -> None:
    found, err = failure(capsys, spec, *arguments)
    assert found == status
    assert said in err


def test_the_spec_is_read_before_anything_is_measured(
    spec: str, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("wrong.yaml").write_text(SPEC.replace("filters: 4", "filters: four"))
    status, err = failure(capsys, "wrong.yaml")
    assert status == 1
    assert "--> wrong.yaml:5:" in err
    assert failure(capsys, "missing.yaml")[0] == 2
    with pytest.raises(SetupError):
        measure.bench(graph(SPEC), spec, Options(backends=("tourch",)))
