"""`cnnspec fuzz`: networks of a seed, what is found, how it shrinks, and what is written."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from cnnspec.backends.base import Style
from cnnspec.backends.columns import Spelling
from cnnspec.backends.torch.cells import COLUMN as TORCH
from cnnspec.backends.writer import Code, call
from cnnspec.check import check
from cnnspec.check.engines import Engine, InProcess
from cnnspec.cli import main
from cnnspec.diagnostics import SetupError
from cnnspec.fuzz import case as cases
from cnnspec.fuzz import fuzz, known, page
from cnnspec.fuzz.flatten import alone, flat
from cnnspec.fuzz.generate import network
from cnnspec.fuzz.judge import graph_of, judge
from cnnspec.fuzz.options import Case, FuzzOptions, FuzzReport, Verdict, Way, usual_dtypes
from cnnspec.fuzz.report import summary, to_json, to_text
from cnnspec.fuzz.shrink import shrink
from cnnspec.graph import Node
from cnnspec.ops.activation import Tanh
from cnnspec.ops.base import Op, registered
from cnnspec.testing.choices import Rejected, Seeded
from cnnspec.testing.networks import text_of
from cnnspec.testing.strategies import OPS

CELLS: dict[Any, Any] = TORCH._cells  # a test plants what it likes
PAIR = FuzzOptions(backends=("numpy", "torch"))


# --- the networks of a seed --------------------------------------------------------------------


def test_a_seed_gives_the_same_networks_and_another_one_others() -> None:
    first = [network(PAIR, index) for index in range(20)]
    assert first == [network(PAIR, index) for index in range(20)]
    assert len(set(first)) == 20
    other = FuzzOptions(backends=PAIR.backends, seed=1)
    assert not set(first) & {network(other, index) for index in range(20)}


def test_networks_are_drawn_without_hypothesis_and_do_not_depend_on_the_process() -> None:
    code = (
        "import sys\n"
        "from cnnspec.fuzz.generate import network\n"
        "from cnnspec.fuzz.options import FuzzOptions\n"
        "print(network(FuzzOptions(), 7), end='')\n"
        "assert 'hypothesis' not in sys.modules\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONHASHSEED": "5"},
    )
    assert done.stdout == network(FuzzOptions(), 7)


def test_networks_cover_ranks_and_blocks_and_keep_their_size() -> None:
    texts = [network(PAIR, index) for index in range(100)]
    graphs = [graph_of(text) for text in texts]
    assert max(len(graph.nodes) for graph in graphs) <= PAIR.most_nodes
    ranks = {len(entry.shape) - 1 for graph in graphs for entry in graph.inputs}
    assert ranks == {0, 1, 2, 3}
    assert sum("define:" in text for text in texts) > 10
    assert sum("train:" in text for text in texts) > 50


@pytest.mark.nightly
def test_networks_cover_all_ops() -> None:
    graphs = [graph_of(network(PAIR, index)) for index in range(400)]
    found = {type(node.op) for graph in graphs for node in graph.nodes}
    wanted = {op.part or op for op in registered() if op in OPS}
    assert not {op.key for op in wanted - found}


def test_asked_for_ops_are_in_every_network() -> None:
    options = FuzzOptions(ops=("conv_transpose", "add"), most_nodes=8)
    for index in range(10):
        graph = graph_of(network(options, index))
        assert {"conv_transpose", "add"} <= {node.op.key for node in graph.nodes}
        assert len(graph.nodes) <= 8


def test_ops_that_are_unknown_or_do_not_fit_are_refused() -> None:
    with pytest.raises(SetupError, match="there is no op `relv`") as caught:
        fuzz(FuzzOptions(ops=("relv",)))
    assert [(d.code, d.help) for d in caught.value.diagnostics] == [
        ("unknown-op", "did you mean `relu`?")
    ]
    with pytest.raises(SetupError, match="at most 1 layers with `add`, `conv` was found") as caught:
        network(FuzzOptions(ops=("add", "conv"), most_nodes=1), 0)
    assert [d.code for d in caught.value.diagnostics] == ["nothing-drawn"]


def test_a_strategy_of_hypothesis_in_a_plug_in_is_drawn_from_a_seed_too() -> None:
    from hypothesis import strategies as st

    wanted = st.lists(st.integers(0, 9), min_size=2)
    first, second = (Seeded("a")(wanted) for _ in range(2))
    assert first == second
    assert len(first) > 1
    with pytest.raises(Rejected):
        Seeded("a")(st.nothing())


# --- what is found, and how it shrinks ---------------------------------------------------------


@pytest.fixture
def torch_engine() -> Iterator[Mapping[str, Engine]]:
    engine = InProcess("torch")
    yield {"torch": engine}
    engine.close()


@pytest.fixture
def wrong_tanh(monkeypatch: pytest.MonkeyPatch) -> None:
    """Torch's tanh of channels beyond the first is a little too large."""

    def spell(node: Node[Op], style: Style) -> Spelling:
        if node.shape[0] == 1:
            return Spelling(Code("nn.Tanh()"), lambda x: call("torch.tanh", x))
        return Spelling(Code("nn.Tanh()"), lambda x: Code(f"torch.tanh({x}) * 1.000001"))

    monkeypatch.setitem(CELLS, Tanh, spell)


LARGE = """\
cnnspec: 1
name: net
input: [4, 6, 5]
define:
  part:
    parameters: {c: required}
    layers:
    - conv: {filters: $c, kernel: 3, padding: same, bias: false, weight_init: glorot_uniform}
    - tanh
    - batch_norm: {eps: 0.5}
layers:
- part: {c: 3}
- relu
- part: {c: 5, repeat: 2}
- max_pool: {kernel: 2}
- flatten
- dense: {units: 3}
train: {loss: cross_entropy, optimizer: {sgd: {lr: 0.1}}}
seed: 2
"""


@pytest.mark.usefixtures("wrong_tanh")
def test_a_fault_of_one_layer_shrinks_to_that_layer(torch_engine: Mapping[str, Engine]) -> None:
    options = PAIR.checked()
    found = judge(LARGE, options, torch_engine)
    assert found.way == Way("disagree", "tanh", ("torch",), "float64")
    small = shrink(LARGE, found, lambda text: judge(text, options, torch_engine))
    assert small.verdict.way == found.way
    (node,) = graph_of(small.text).nodes
    assert (node.op.key, node.shape) == ("tanh", (2,))
    assert small.text == "cnnspec: 1\ninput: [2]\nlayers:\n- tanh\n"
    assert small.checks < 40


@pytest.mark.usefixtures("wrong_tanh")
def test_a_found_case_is_a_file_that_check_replays(
    torch_engine: Mapping[str, Engine], tmp_path: Path
) -> None:
    options = PAIR.checked()
    verdict = judge(LARGE, options, torch_engine)
    case = Case(4, LARGE, LARGE, verdict)
    cases.write(PAIR, case, str(tmp_path / "found"), force=False)
    assert case.file == str(tmp_path / "found" / "seed0-4.yaml")
    written = Path(case.file).read_text()
    header = [line for line in written.splitlines() if line.startswith("#")]
    assert header[0].startswith("# forward of `part1.tanh1` at `part1.tanh1` (tanh), isolated")
    assert any(line.startswith("# replay: cnnspec check ") for line in header)
    assert any("network 4 of seed 0" in line for line in header)
    assert any("numpy " in line and "torch " in line for line in header)
    report = check(case.file, backends=("numpy", "torch"), in_process=True, dtype="float64")
    assert report.status == "disagree"
    with pytest.raises(SetupError, match="exists already"):
        cases.write(PAIR, case, str(tmp_path / "found"), force=False)
    with pytest.raises(SetupError, match="exists already"):
        cases.refuse_existing(PAIR, str(tmp_path / "found"), force=False)
    cases.write(PAIR, case, str(tmp_path / "found"), force=True)
    cases.refuse_existing(FuzzOptions(seed=1), str(tmp_path / "found"), force=False)


def test_an_exception_of_ours_is_a_case(
    torch_engine: Mapping[str, Engine], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(node: Node[Op], style: Style) -> Spelling:
        raise ZeroDivisionError("planted")

    monkeypatch.setitem(CELLS, Tanh, broken)
    found = judge(LARGE, PAIR.checked(), torch_engine)
    assert found.way is not None
    assert found.way.outcome == "crash"
    assert found.way.what.startswith("ZeroDivisionError in ")
    small = shrink(LARGE, found, lambda text: judge(text, PAIR.checked(), torch_engine))
    assert [node.op.key for node in graph_of(small.text).nodes] == ["tanh"]


def test_an_engine_that_raises_is_told_by_its_exception(
    torch_engine: Mapping[str, Engine], monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(node: Node[Op], style: Style) -> Spelling:
        return Spelling(Code("nn.Tanh()"), lambda x: Code(f"{x}.reshape(99, 99)"))

    monkeypatch.setitem(CELLS, Tanh, failing)
    found = judge(LARGE, PAIR.checked(), torch_engine)
    assert found.way == Way("engine_failed", "RuntimeError", ("torch",))
    assert "shape '[99, 99]' is invalid" in found.message


def test_a_spec_that_should_be_valid_and_is_refused_is_a_case() -> None:
    found = judge("cnnspec: 1\ninput: [2]\nlayers: [no_such_op]\n", PAIR.checked(), {})
    assert found.way == Way("refused", "unknown-op")


@pytest.mark.parametrize("index", range(0, 60, 6))
def test_a_network_without_scopes_has_the_same_layers(index: int) -> None:
    graph = graph_of(network(FuzzOptions(seed=3), index))
    again = graph_of(text_of(flat(graph)))
    assert [(n.op, n.shape) for n in again.nodes] == [(n.op, n.shape) for n in graph.nodes]
    assert [o.value.shape for o in again.outputs] == [o.value.shape for o in graph.outputs]
    for node in graph.nodes:
        own = graph_of(text_of(alone(graph, node.id)))
        assert any((n.op, n.shape) == (node.op, node.shape) for n in own.nodes)


# --- the command -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("backends", "dtypes"),
    [
        ("numpy,torch,keras", ("float64",)),
        ("numpy,keras:torch", ("float32",)),
        ("numpy,torch,keras:jax", ("float64", "float32")),
        ("numpy,keras:theano", ("float64",)),
    ],
)
def test_engines_without_float64_are_judged_in_float32(
    backends: str, dtypes: tuple[str, ...]
) -> None:
    assert usual_dtypes(backends.split(",")) == dtypes


def test_a_run_agrees_and_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["fuzz", "--backends", "numpy,torch", "-n", "4", "--seed", "5", "-j", "2"]
    assert main([*arguments, "--format", "json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["status"] == "none"
    assert document["networks"] == 4
    assert document["outcomes"]["agree"] + document["outcomes"]["undecided"] == 4
    assert document["seed"] == 5
    assert document["cases"] == []


def test_native_layers_are_judged_and_known_faults_told_apart(tmp_path: Path) -> None:
    options = FuzzOptions(
        backends=("numpy", "torch"), examples=3, ops=("hard_sigmoid",), layers="native"
    )
    report = fuzz(options)
    assert report
    assert report.known["torch-hardsigmoid-gradient"] == report.counts["known"] > 0
    assert "known: torch-hardsigmoid-gradient, the gradient of hardsigmoid" in to_text(report)


def test_what_is_not_known_is_found_shrunk_and_written(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(known, "faults", lambda: ())
    arguments = ["fuzz", "--backends", "numpy,torch", "-n", "3", "--ops", "hard_sigmoid"]
    arguments += ["--native", "-j", "1", "-o", str(tmp_path)]
    assert main(arguments) == 1
    text = capsys.readouterr().out
    assert "input_gradient of `input` at `hard_sigmoid1` (hard_sigmoid)" in text
    (file,) = tmp_path.iterdir()
    assert f"written to {file}" in text
    assert file.read_text().endswith("layers:\n- hard_sigmoid\n")
    graph = graph_of(file.read_text())
    replayed = check(graph, backends=("numpy", "torch"), in_process=True, layers="native")
    assert replayed.status == "disagree"
    assert main(arguments) == 2
    assert "exists already" in capsys.readouterr().err


def test_a_back_end_that_is_missing_is_status_2(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fuzz", "--backends", "numpy,no_such"]) == 2
    assert "no_such" in capsys.readouterr().err
    assert main(["fuzz", "--backends", "numpy"]) == 2
    assert "at least two" in capsys.readouterr().err


def test_the_end_of_the_process_is_a_case_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    from cnnspec.fuzz import run

    options = FuzzOptions(backends=("numpy", "torch"), timeout=60)
    job = run._Job(0, options)
    try:
        assert job.look(0)[1].outcome == "agree"
        process = job.child._process
        threading.Timer(0.05, lambda: os.kill(process.pid, signal.SIGSEGV)).start()
        time.sleep(0.3)
        text, verdict = job.look(1)
        assert text == network(options, 1)
        assert verdict.way == Way("crash", "it crashed with SIGSEGV")
        assert job.look(1)[1].outcome == "agree"
    finally:
        job.close()


def test_ctrl_c_reports_what_was_done() -> None:
    def tell(report: FuzzReport) -> None:
        if report.networks:
            raise KeyboardInterrupt

    report = fuzz(FuzzOptions(backends=("numpy", "torch"), examples=1000), tell=tell)
    assert report.interrupted
    assert 0 < report.networks < 1000
    assert summary(report).startswith(f"interrupted after {report.networks} network")


@pytest.mark.nightly
def test_ctrl_c_of_the_terminal_ends_all_processes_and_is_no_case() -> None:
    command = [sys.executable, "-m", "cnnspec", "fuzz", "--backends", "numpy,torch", "-j", "1"]
    process = subprocess.Popen(
        [*command, "--seconds", "300", "--format", "json"],
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    time.sleep(20)
    os.killpg(process.pid, signal.SIGINT)
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 130
    document = json.loads(out)
    assert document["interrupted"]
    assert document["outcomes"]["agree"] > 0
    assert sum(document["outcomes"].values()) == document["networks"]


# --- known faults ------------------------------------------------------------------------------


def finding(**about: Any) -> Verdict:
    way = Way("disagree", about.get("op", ""), tuple(about["backends"]), about["dtype"])
    return Verdict("disagree", way, "", about)


def test_a_known_fault_is_matched_by_op_option_engine_dtype_and_version(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    native = FuzzOptions(layers="native")
    about: dict[str, Any] = {
        "op": "upsample",
        "fields": {"mode": "bilinear", "scale": (2, 2)},
        "dtype": "float64",
        "quantity": "forward",
        "backends": ["keras"],
    }
    found = known.match(finding(**about), native)
    assert found is not None
    assert found.id == "tensorflow-resize-float32"
    assert known.match(finding(**{**about, "backends": ["keras:tensorflow"]}), native) is found
    assert known.match(finding(**about), FuzzOptions()) is None
    assert known.match(finding(**{**about, "dtype": "float32"}), native) is None
    assert known.match(finding(**{**about, "backends": ["torch"]}), native) is None
    assert known.match(finding(**{**about, "backends": ["keras", "torch"]}), native) is None
    assert known.match(finding(**{**about, "fields": {"mode": "nearest"}}), native) is None
    assert known.match(finding(**{**about, "op": "conv"}), native) is None
    monkeypatch.setattr("importlib.metadata.version", lambda name: "99.0")
    assert known.match(finding(**about), native) is None


def test_a_known_failure_is_matched_by_its_text() -> None:
    way = Way("engine_failed", "tensorflow...NotFoundError", ("keras",))
    verdict = Verdict("engine_failed", way, "no kernel for AvgPool3D", {"backends": ["keras"]})
    found = known.match(verdict, FuzzOptions(layers="native"))
    assert found is not None
    assert found.id == "tensorflow-pool3d-float64"


def test_the_page_is_written_from_the_list() -> None:
    assert page.PAGE.read_text(encoding="utf-8") == page.page(), "python -m cnnspec.fuzz.page"
    assert len({fault.id for fault in known.faults()}) == len(known.faults())


@pytest.mark.nightly
@pytest.mark.parametrize("fault", known.faults(), ids=lambda fault: fault.id)
def test_a_known_fault_still_shows(fault: known.KnownFault) -> None:
    """One that has gone belongs off the list, and its helper out of the emitted files."""
    done = subprocess.run(
        [sys.executable, "-c", fault.script],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **fault.environment},
        timeout=300,
    )
    assert done.returncode == 0, f"{fault.id} does not show: {done.stdout}{done.stderr}"


@pytest.mark.nightly
def test_random_networks_agree_everywhere() -> None:
    report = fuzz(FuzzOptions(examples=600, seed=1, jobs=2, dtypes=("float64", "float32")))
    assert report, to_text(report)
    assert report.counts["agree"] > 0.9 * report.networks


@pytest.mark.nightly
@pytest.mark.timeout(3600)
def test_native_keras_shows_known_faults_only() -> None:
    report = fuzz(
        FuzzOptions(backends=("numpy", "keras"), examples=300, seed=2, jobs=2, layers="native")
    )
    assert report, to_text(report)
    assert len(report.known) > 3


@pytest.mark.nightly
@pytest.mark.parametrize(
    ("dtype", "ids"),
    [
        ("float32", {"keras-torch-average-pool-same", "keras-maximum-ties"}),
        ("float64", {"keras-torch-float64", "keras-torch-layer-norm-axis"}),
    ],
)
def test_known_faults_of_keras_on_torch_are_found_again(dtype: str, ids: set[str]) -> None:
    options = FuzzOptions(
        backends=("numpy", "keras:torch"), examples=60, seed=3, dtypes=(dtype,), layers="native"
    )
    report = fuzz(options)
    assert report, to_text(report)
    assert ids <= set(report.known)


def test_an_interrupted_report_says_so() -> None:
    report = FuzzReport(PAIR, interrupted=True, seconds=2.0)
    report.counts["agree"] = 1
    assert summary(report) == "interrupted after 1 network: 1 agree; 2.0 s, 0.5 a second"
    assert json.loads(to_json(report))["interrupted"]
