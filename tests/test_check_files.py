"""`check` over directories, several networks at once, and the ways in which it saves memory."""

from __future__ import annotations

import io
import itertools
import json
import math
import os
from concurrent.futures import Future
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import pytest

from cnnspec.backends import At, Style, get
from cnnspec.build import build
from cnnspec.check import (
    SpecReport,
    bounds,
    check,
    compare,
    effort,
    modes,
    pieces,
    samples,
    store,
    trajectory,
)
from cnnspec.check.command import command
from cnnspec.check.rate import fitting, furthest
from cnnspec.check.spread import Spread
from cnnspec.check.worker import Sessions, receive, send
from cnnspec.diagnostics import Diagnostic, SetupError
from cnnspec.document import parse
from cnnspec.graph import Graph
from cnnspec.schema import read_spec
from cnnspec.spec_files import listed

SPEC = """\
cnnspec: 1
name: small
input: [2, 9, 8]
layers:
  - conv: {name: conv1, filters: 4, kernel: 3, padding: same, bias: false}
  - batch_norm: {name: bn1}
  - relu
  - max_pool: {kernel: 3, stride: 2, padding: 1}
  - conv: {name: conv2, filters: 4, kernel: 3, padding: 1}
  - conv: {name: conv3, filters: 4, kernel: 3, padding: 1, share: conv2}
  - tanh
  - flatten
  - dense: {name: fc, units: 6}
"""
LIBRARY = "cnnspec: 1\ndefine: {act: {layers: [relu]}}\n"
HEADS = """\
cnnspec: 1
name: heads
input: [2, 6, 5]
layers:
  - conv: {name: stem, filters: 3, kernel: 3, padding: 1}
  - relu: {name: act}
  - conv: {name: side, from: act, filters: 2, kernel: 3}
  - batch_norm: {name: side_bn}
  - global_avg_pool: {name: main, from: act}
outputs:
  main: main
  aux: {from: side_bn, training_only: true}
"""


def graph_of(text: str = SPEC) -> Graph:
    return build(read_spec(parse(text, "small.yaml"))).graph


def run(specs: list[str], **options: Any) -> tuple[int, list[str]]:
    said: list[str] = []
    given: dict[str, Any] = {
        "backends": ("numpy", "torch"),
        "form": "text",
        "dtype": "float64",
        "seed": None,
        "steps": 1,
        "inputs": None,
        "save": None,
        "sources": (),
        "in_process": True,
        "out": said.append,
        "say": said.append,
        **options,
    }
    return command(specs, **given), said


def only(report: Any) -> SpecReport:
    (found,) = report.specs
    assert isinstance(found, SpecReport)
    return found


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two specs, one of them below, a library, and what is none of these."""
    (tmp_path / "more" / "deep").mkdir(parents=True)
    (tmp_path / ".hidden").mkdir()
    (tmp_path / "b.yaml").write_text(SPEC)
    (tmp_path / "more" / "deep" / "a.json").write_text(
        json.dumps({"cnnspec": 1, "input": [3, 4], "layers": ["tanh"]})
    )
    (tmp_path / "more" / "lib.yml").write_text(LIBRARY)
    (tmp_path / "notes.txt").write_text("none")
    (tmp_path / ".hidden" / "c.yaml").write_text("none")
    (tmp_path / ".d.yaml").write_text("none")
    return tmp_path


# --- directories -----------------------------------------------------------------------------


def test_a_directory_stands_for_its_specs(folder: Path) -> None:
    specs, libraries = listed([str(folder)])
    assert [os.path.relpath(path, folder) for path in specs] == ["b.yaml", "more/deep/a.json"]
    assert [os.path.relpath(path, folder) for path in libraries] == ["more/lib.yml"]


def test_links_to_directories_are_not_followed(folder: Path) -> None:
    (folder / "more" / "again").symlink_to(folder)
    assert len(listed([str(folder)])[0]) == 2


def test_a_directory_is_checked_and_libraries_are_named(folder: Path) -> None:
    status, said = run([str(folder)])
    text = "\n".join(said)
    assert status == 0
    assert f"{folder}/more/lib.yml: a library of blocks, which is not checked" in said
    assert "2 of 2 specs agree, in" in said[-1]
    assert "numpy - torch" not in text  # a line for each that agrees, and no table
    status, said = run([str(folder)], form="json")
    document = json.loads(said[0])
    assert document["libraries"] == [f"{folder}/more/lib.yml"]
    assert [spec["status"] for spec in document["specs"]] == ["agree", "agree"]


def test_a_named_library_is_no_network(folder: Path) -> None:
    status, said = run([str(folder / "more" / "lib.yml")])
    assert status == 1
    assert "is-library" in "\n".join(said)


def test_a_directory_without_specs_is_never_green(tmp_path: Path) -> None:
    (tmp_path / "lib.yaml").write_text(LIBRARY)
    with pytest.raises(SetupError) as refused:
        run([str(tmp_path)])
    assert refused.value.exit_status == 2
    (diagnostic,) = refused.value.diagnostics
    assert (diagnostic.code, diagnostic.primary) == ("no-specs", None)


def test_the_worst_outcome_is_the_exit_status_and_all_are_counted(folder: Path) -> None:
    (folder / "broken.yaml").write_text("cnnspec: 1\ninput: [1, 4]\nlayers: [tanhh]\n")
    status, said = run([str(folder)])
    assert status == 1
    assert "2 of 3 specs agree, 1 are wrong, in" in said[-1]
    assert any("unknown-op" in text and "broken.yaml:3:10" in text for text in said)


# --- several at once -------------------------------------------------------------------------


def test_several_at_once_find_the_same(folder: Path) -> None:
    (folder / "broken.yaml").write_text("cnnspec: 1\ninput: [1, 4]\nlayers: [tanhh]\n")
    alone = json.loads(run([str(folder)], form="json", in_process=False)[1][0])
    together = json.loads(run([str(folder)], form="json", in_process=False, jobs=2)[1][0])
    assert alone == together
    assert together["status"] == "invalid_spec"


def test_a_job_that_dies_takes_its_network_alone(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from cnnspec.check import engines

    submit = engines.Child.submit

    def dying(self: Any, name: str, **arguments: Any) -> Any:
        if str(arguments.get("file")).endswith("b.yaml"):
            self._process.kill()
        return submit(self, name, **arguments)

    monkeypatch.setattr(engines.Child, "submit", dying)
    _, said = run([str(folder)], form="json", in_process=False, jobs=2)
    found = {Path(spec["spec"]).name: spec for spec in json.loads(said[0])["specs"]}
    assert found["b.yaml"]["status"] == "engine_failed"
    assert "killed" in found["b.yaml"]["diagnostics"][0]["message"]
    assert found["a.json"]["status"] == "agree"


def test_what_does_not_fit_together_runs_one_by_one(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from cnnspec.check import engines, jobs

    monkeypatch.setattr(jobs, "MOST_BYTES", 1)
    running: list[int] = []
    most: list[int] = []
    submit = engines.Child.submit

    def counted(self: Any, name: str, **arguments: Any) -> Any:
        running.append(1)
        most.append(len(running))
        future = submit(self, name, **arguments)
        future.add_done_callback(lambda _: running.pop())
        return future

    monkeypatch.setattr(engines.Child, "submit", counted)
    status, _ = run([str(folder)], in_process=False, jobs=2)
    assert status == 0
    assert most == [1, 1]


def test_what_lacks_memory_beside_others_runs_again(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of three, two are under way at once; the second finds no memory, and later it does."""
    from cnnspec.check import jobs

    files = [str(folder / f"{name}.yaml") for name in "abc"]
    asked: list[str] = []
    held: list[tuple[str, Future[Any]]] = []

    class Job:
        def __init__(self, name: str, **options: Any) -> None:
            self.name = name

        def submit(self, command: str, *, file: str, request: Any) -> Future[Any]:
            future: Future[Any] = Future()
            lacks = asked.count(file) == 0 and file == files[1]
            asked.append(file)
            report = SpecReport(file)
            if lacks:
                report.worsen("environment")
                report.diagnostics.append(Diagnostic("not-enough-memory", "too little"))
                future.set_result(report)
            else:
                held.append((file, future))
            if len(held) == 2 or asked.count(files[1]) == 2:
                while held:
                    done, waiting = held.pop()
                    waiting.set_result(SpecReport(done))
            return future

        def close(self) -> None:
            """Nothing to end."""

    monkeypatch.setattr(jobs, "Child", Job)
    sizes = dict(zip(files, (3, 2, 1), strict=True))
    monkeypatch.setattr(jobs, "_size", lambda file, request: sizes[file])
    found = dict(jobs.in_jobs(files, cast("Any", None), 2))
    assert asked == [files[0], files[1], files[2], files[1]]
    assert {index: report.status for index, report in found.items()} == dict.fromkeys(
        range(3), "agree"
    )


# --- effort ----------------------------------------------------------------------------------


def test_large_networks_are_given_less_of_the_same() -> None:
    plain = "cnnspec: 1\nname: net\ninput: [2, 4, 5]\nlayers: [flatten, {dense: {units: %s}}]\n"
    small, wide = graph_of(plain % 3), graph_of(plain % 600_000)
    assert [effort.costly(small), effort.costly(wide)] == [False, True]
    # Sizes of the small one are 2, 3, 4, 5, 40; of the inputs and outputs of the other 2, 4, 5.
    assert [effort.batch_size(small), effort.batch_size(wide)] == [6, 3]
    assert [effort.steps(small), effort.steps(wide)] == [5, 2]
    assert all(
        a > b for a, b in zip(effort.replicates(small), effort.replicates(wide), strict=True)
    )
    heavy = "input: [1, 99, 98]\nlayers: [{conv: {filters: 999, kernel: 6, padding: same}}]\n"
    assert effort.batch_size(graph_of("cnnspec: 1\nname: net\n" + heavy)) == 2


def test_deviations_beyond_float32_are_infinite_and_say_nothing() -> None:
    size = pieces.NARROW_FROM
    spread = Spread({"a": np.zeros(size)}, bounds.END_TO_END_STEP)
    spread.add({"a": np.full(size, 1e30)})
    assert spread.largest["a"].dtype == np.float32
    assert spread.typical("a") == math.inf


@pytest.mark.parametrize(
    ("far", "rate"), [(0.0, 0.01), (0.39, 0.01), (0.4, 0.001), (40.0, 1e-5), (1e30, 1e-9)]
)
def test_the_rate_is_one_that_weights_stand(far: float, rate: float) -> None:
    assert fitting(far) == rate
    assert fitting(math.inf) == fitting(math.nan) == 0.01


def test_how_far_a_rate_of_one_moves() -> None:
    weights = {"a": np.full((2, 3), 2.0), "b": np.zeros(3), "c": np.ones(2)}
    gradients = {"a": np.full((2, 3), 3.0), "b": np.ones(3), "c": np.array([1.0, -1.0])}
    assert furthest(gradients, weights) == 1.5
    assert furthest({}, weights) == 0.0


def test_a_network_with_steep_gradients_is_checked_at_a_lower_rate() -> None:
    scale = "weight_init: {normal: {std: 0.0001}}"
    text = f"""\
cnnspec: 1
name: steep
input: [3]
layers: [{{dense: {{units: 4, {scale}}}}}, {{batch_norm: {{eps: 1e-12}}}}, {{dense: {{units: 2}}}}]
"""
    options: dict[str, Any] = {"backends": ("numpy", "torch"), "dtype": "float64"}
    found = only(check(graph_of(text), in_process=True, **options))
    assert found.agree
    (note,) = [note for note in found.notes if "no `train:`" in note]
    assert "learning rate 1e-" in note
    assert note.endswith("at which the first update moves no parameter by more than a 256th")
    rates = [c for c in found.comparisons if c.name == "learning_rate"]
    assert rates
    assert {c.update for c in found.comparisons if c.name == "loss"} == {0, 1, 2, 3, 4}


# --- modes -----------------------------------------------------------------------------------


def test_a_compiled_step_gives_the_same_verdict() -> None:
    options: dict[str, Any] = {"backends": ("numpy", "keras"), "dtype": "float64", "steps": 3}
    eager = only(check(graph_of(), in_process=True, **options))
    traced = only(check(graph_of(), in_process=True, graph=True, **options))
    assert eager.agree
    assert traced.agree
    kinds = [(c.quantity, c.mode, c.name, c.update) for c in eager.comparisons]
    assert kinds == [(c.quantity, c.mode, c.name, c.update) for c in traced.comparisons]


@pytest.mark.parametrize("graph", [False, True])
def test_compilation_is_what_the_option_says(monkeypatch: pytest.MonkeyPatch, graph: bool) -> None:
    made, asked = get("keras"), []
    opening = made.open

    def remember(*args: Any, **options: Any) -> Any:
        asked.append(options["eager"])
        return opening(*args, **options)

    monkeypatch.setattr(made, "open", remember)
    options: dict[str, Any] = {"backends": ("numpy", "keras"), "steps": 0, "dtype": "float64"}
    assert check(graph_of(HAND), in_process=True, graph=graph, **options)
    assert asked == [not graph]


HAND = "cnnspec: 1\ninput: [3]\nlayers: [{dense: {units: 2}}]\n"


@pytest.mark.parametrize("backend", ["torch", "keras"])
def test_outputs_are_counted_per_mode(backend: str) -> None:
    found = only(check(graph_of(HEADS), backends=("numpy", backend), in_process=True))
    assert found.agree, found.first_difference

    def names(training: bool, quantity: str, mode: str) -> set[str]:
        return {
            c.name
            for c in found.comparisons
            if (c.training, c.quantity, c.mode) == (training, quantity, mode)
        }

    assert names(True, "forward", "end_to_end") == {"main", "aux"}
    assert names(False, "forward", "end_to_end") == {"main"}
    assert names(False, "forward", "isolated") == {"stem", "act", "main"}
    assert names(True, "forward", "isolated") == {"side", "side_bn"}
    assert names(False, "forward", "isolated") == {"stem", "act", "main"}
    assert "side.weight" in names(True, "parameter_gradient", "end_to_end")
    assert "side.weight" not in names(False, "parameter_gradient", "end_to_end")
    assert {c.name for c in found.comparisons if c.quantity == "step"} >= {"side.weight", "loss"}


# --- what it rests on ------------------------------------------------------------------------


def reference(graph: Graph) -> tuple[Any, samples.Sample]:
    session = get("numpy").open(get("numpy").emit(graph, Style(random="counter")))
    session.assign(samples.weights(graph, 0))
    return session, samples.sample(graph, 0, 0, 3)


@pytest.mark.parametrize("training", [False, True])
def test_a_node_gives_the_same_bits_end_to_end_and_alone(training: bool) -> None:
    """So that the reference's own answers need no second pass."""
    graph = graph_of()
    session, sample = reference(graph)
    whole = session.trace(sample.inputs, cotangents=sample.cotangents, training=training)
    alone = session.trace(
        sample.inputs,
        feed=bounds.feeds(graph.nodes, {**sample.inputs, **whole.values}),
        cotangents=whole.gradients,
        training=training,
    )
    for kind in ("values", "parameters", "statistics"):
        left, right = getattr(whole, kind), getattr(alone, kind)
        assert left.keys() == right.keys()
        assert all(np.array_equal(left[name], right[name]) for name in left)
    assert whole.own.keys() == alone.own.keys()
    for name, own in whole.own.items():
        assert all(np.array_equal(a, b) for a, b in zip(own, alone.own[name], strict=True))


@pytest.mark.parametrize("backend", ["torch", "keras"])
def test_a_part_of_the_nodes_answers_as_all_do(backend: str) -> None:
    graph = graph_of()
    session, sample = reference(graph)
    whole = session.trace(sample.inputs, cotangents=sample.cotangents, training=True)
    feed = bounds.feeds(graph.nodes, {**sample.inputs, **whole.values})
    tested = get(backend).open(get(backend).emit(graph, Style(random="counter")))
    tested.assign(session.weights())
    everything = tested.trace(sample.inputs, feed=feed, cotangents=whole.gradients, training=True)
    some = ["bn1", "conv2", "conv3", "max_pool1"]
    part = tested.trace(
        sample.inputs,
        feed={name: feed[name] for name in some},
        cotangents={name: whole.gradients[name] for name in some},
        training=True,
    )
    assert set(part.values) == set(part.own) == set(some)
    for name in some:
        assert np.array_equal(part.values[name], everything.values[name])
        assert np.array_equal(part.own[name][0], everything.own[name][0])
    for name in ("bn1.weight", "conv2.weight", "conv2.bias"):
        assert np.array_equal(part.parameters[name], everything.parameters[name])
    assert np.array_equal(
        part.statistics["bn1.running_var"], everything.statistics["bn1.running_var"]
    )


def test_portions_keep_nodes_that_share_together(monkeypatch: pytest.MonkeyPatch) -> None:
    graph = graph_of()
    monkeypatch.setattr(modes, "PORTION", 1)
    portions = [[node.id for node in part] for part in modes.together(graph.nodes, 3)]
    assert ["conv2", "conv3"] in portions
    assert [id for part in portions for id in part] == [node.id for node in graph.nodes]
    assert len(portions) == len(graph.nodes) - 1
    found = only(check(graph, backends=("numpy", "torch"), in_process=True, steps=1))
    monkeypatch.undo()
    whole = only(check(graph, backends=("numpy", "torch"), in_process=True, steps=1))
    assert found.agree

    def keys(report: SpecReport) -> set[tuple[Any, ...]]:
        return {(c.quantity, c.mode, c.dtype, c.training, c.name) for c in report.comparisons}

    assert keys(found) == keys(whole)


def test_layers_that_are_left_out_do_not_run() -> None:
    graph = graph_of()
    session, sample = reference(graph)
    whole = session.trace(sample.inputs, cotangents=sample.cotangents)
    feed = bounds.feeds(graph.nodes, {**sample.inputs, **whole.values})
    seen: dict[tuple[str, str], Any] = {}
    found = session.trace(
        sample.inputs,
        feed=feed,
        cotangents=whole.gradients,
        skip={"conv1", "conv2", "fc"},
        observe=lambda kind, node, value: seen.update({(kind, node): value}),
    )
    assert found.values == found.own == {}
    assert np.array_equal(seen["values", "bn1"], whole.values["bn1"])
    assert np.array_equal(seen["own", "tanh1"][0], whole.own["tanh1"][0])
    assert not seen["values", "fc"].any()
    assert not found.parameters["conv2.weight"].any()


def test_perturbed_runs_leave_the_start_as_it_was() -> None:
    graph = graph_of(SPEC + "train: {loss: mean_squared_error, optimizer: {sgd: {lr: 0.1}}}\n")
    session, sample = reference(graph)
    start = session.weights()
    batches = [(sample.inputs, samples.targets(graph, 0, update, 3)) for update in range(3)]
    run = trajectory.Trajectory(session, start, batches, updates_per_epoch=2)
    answer = session.trace(sample.inputs, cotangents=sample.cotangents, training=True)
    common: dict[str, Any] = {"training": True, "at": At(), "seed": 0, "replicates": 2}
    own = bounds.isolated(graph.nodes, session, start, sample.inputs, answer, **common)
    run.perturb(graph, own, 0, 2)
    assert all(np.array_equal(start[name], value) for name, value in session.weights().items())
    assert not np.array_equal(run.weights[0]["fc.weight"], run.weights[2]["fc.weight"])
    first = run.bound(0, "fc.weight").max()
    assert 0 < first < run.bound(1, "fc.weight").max() < 1e6
    run.close()


def test_weights_beyond_a_limit_are_kept_in_a_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "IN_MEMORY", 100)
    kept_in = store.Store()
    values = {str(i): np.full((3, 5), float(i)) for i in range(4)}
    kept = kept_in.keep(values)
    for value in values.values():
        np.add(value, 100, out=value)
    assert kept_in._file is not None
    assert kept_in._file.seek(0, 2) == 4 * 15 * 8
    for _ in range(2):
        assert {name: (x.min(), x.max(), x.shape) for name, x in kept.items()} == {
            str(i): (float(i), float(i), (3, 5)) for i in range(4)
        }
    kept_in.close()
    monkeypatch.undo()
    assert store.Store().keep(values)["2"].tolist() == values["2"].tolist()


def test_weights_stay_in_memory_where_a_disk_is_full(monkeypatch: pytest.MonkeyPatch) -> None:
    class Full(io.BytesIO):
        def write(self, data: Any) -> int:
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(store, "IN_MEMORY", 100)
    monkeypatch.setattr("tempfile.TemporaryFile", Full)
    kept = store.Store().keep({"a": np.ones(50), "b": np.zeros(50)})
    assert kept["a"].tolist() == [1.0] * 50


def test_frames_carry_arrays_beside_them() -> None:
    given: dict[str, Any] = {"x": np.arange(6.0).reshape(2, 3), "y": np.zeros((0, 2)), "z": "text"}
    stream = io.BytesIO()
    send(stream, ("call", given))
    send(stream, None)
    stream.seek(0)
    command_, arguments = receive(stream)
    assert (command_, arguments["z"]) == ("call", "text")
    assert np.array_equal(arguments["x"], given["x"])
    arguments["x"] += 1  # an array of its own, that can be written to
    assert receive(stream) is None
    with pytest.raises(EOFError):
        receive(stream)
    cut = io.BytesIO(stream.getvalue()[:-1])
    receive(cut)
    with pytest.raises(EOFError):
        receive(cut)


def test_a_held_answer_is_taken_part_by_part() -> None:
    graph = graph_of()
    sample = samples.sample(graph, 0, 0, 3)
    sessions = Sessions()
    emitted = get("torch").emit(graph, Style(random="counter"))
    sessions.handle(
        "open", {"key": "k", "backend": "torch", "emitted": emitted, "dtype": "float64"}
    )
    call: dict[str, Any] = {
        "key": "k",
        "method": "gradients",
        "args": (sample.inputs,),
        "hold": "g",
    }
    sessions.handle("call", {**call, "kwargs": {"cotangents": sample.cotangents}})
    taken = ("parameters", "fc.weight"), ("outputs", "output")
    weight, output = sessions.handle("take", {"hold": "g", "parts": taken})
    assert (weight.shape, output.shape) == ((6, 80), (3, 6))
    with pytest.raises(KeyError):
        sessions.handle("take", {"hold": "g", "parts": taken})
    sessions.close()


# --- comparison in pieces --------------------------------------------------------------------


ABOUT: dict[str, Any] = {
    "backends": ("a", "b"),
    "quantity": "forward",
    "mode": "isolated",
    "dtype": "float64",
    "training": False,
    "node": "n",
    "name": "n",
}


@pytest.mark.parametrize("size", [1, 7, 100, 1000])
def test_pieces_make_no_difference(monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    rng = np.random.default_rng(size)
    a: npt.NDArray[Any] = rng.normal(size=(9, 11))
    b = a + rng.normal(size=a.shape) * 1e-9
    limit = rng.uniform(0, 1e-9, a.shape).T.T
    whole = compare.compare(a, b, limit, **ABOUT)
    monkeypatch.setattr(pieces, "PIECE", size)
    assert compare.compare(a, b, limit, **ABOUT) == whole
    assert compare.compare(a, b, limit / 4, unit=4, **ABOUT) == whole
    ratio = np.abs(a - b) / limit
    worst = np.unravel_index(np.argmax(ratio), a.shape)
    assert whole.worst is not None
    assert whole.worst.index == tuple(worst)
    assert whole.agree is bool(np.all(np.abs(a - b) <= limit))
    assert (whole.max_error, whole.magnitude) == (np.abs(a - b).max(), np.abs(a).max())
    assert pieces.distance(a, b) == whole.max_error


@pytest.mark.parametrize(
    ("left", "right", "bound", "agree"),
    [
        (0.0, 0.0, 0.0, True),
        (1.0, 1.0, 0.0, True),
        (1.0, 1.0 + 1e-9, 1e-9, False),
        (math.nan, math.nan, math.inf, False),
        (math.inf, math.inf, 1.0, False),
        (1.0, math.nan, 1.0, False),
        (-math.inf, 0.0, 1e300, False),
    ],
)
@pytest.mark.parametrize("place", [0, 5, 9])
def test_one_element_decides(
    monkeypatch: pytest.MonkeyPatch,
    left: float,
    right: float,
    bound: float,
    agree: bool,
    place: int,
) -> None:
    monkeypatch.setattr(pieces, "PIECE", 3)
    a, b, limit = np.ones(10), np.ones(10), np.full(10, 1e-12)
    a[place], b[place], limit[place] = left, right, bound
    found = compare.compare(a, b, limit, **ABOUT)
    assert found.agree is agree
    if not agree:
        assert found.worst is not None
        assert found.worst.index == (place,)


def test_bounds_of_large_tensors_are_never_rounded_to_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(pieces, "NARROW_FROM", 4)
    value = np.array([0.0, 1e-60, -1e-45, 2.0])
    found = pieces.as_bound(3.0, value)
    assert found.dtype == np.float32
    assert found[0] == 0
    assert (found[1:3] > 0).all()
    assert found[3] == 6
    assert pieces.as_bound(3.0, value[1:]).dtype == np.float64


def test_views_of_pieces_are_written_through() -> None:
    target = np.zeros((3, 4))
    for source, view in pieces.pieces(np.arange(12.0).reshape(3, 4), target):
        np.copyto(view, source)
    assert target.tolist() == np.arange(12.0).reshape(3, 4).tolist()
    shapes = itertools.product((0, 1, 5), (0, 3))
    assert all(sum(x.size for (x,) in pieces.pieces(np.zeros(s))) == math.prod(s) for s in shapes)


def test_a_chaotic_run_is_compared_as_long_as_it_can_be(monkeypatch: pytest.MonkeyPatch) -> None:
    options: dict[str, Any] = {"backends": ("numpy", "torch"), "dtype": "float64", "steps": 4}
    plain = only(check(graph_of(), in_process=True, **options))
    assert {c.update for c in plain.comparisons if c.name == "loss"} == {0, 1, 2, 3}
    assert not any("rounding has grown" in note for note in plain.notes)
    # What such a network does by itself, with a limit that this one exceeds after some updates.
    network = graph_of(SPEC + "train: {loss: mean_squared_error, optimizer: {sgd: {lr: 0.1}}}\n")
    session, sample = reference(network)
    start = session.weights()
    batches = [(sample.inputs, samples.targets(network, 0, update, 3)) for update in range(4)]
    run = trajectory.Trajectory(session, start, batches, updates_per_epoch=2)
    answer = session.trace(sample.inputs, cotangents=sample.cotangents, training=True)
    common: dict[str, Any] = {"training": True, "at": At(), "seed": 0, "replicates": 2}
    own = bounds.isolated(network.nodes, session, start, sample.inputs, answer, **common)
    run.perturb(network, own, 0, 2)
    growth = [
        max(
            spread.typical(name) / pieces.root_mean_square(value) for name, value in weights.items()
        )
        for spread, weights in zip(run._spreads, run.weights, strict=True)
    ]
    before = max(growth[:2])
    assert before < growth[2]
    limit = math.sqrt(before * growth[2]) * bounds.END_TO_END_STEP
    monkeypatch.setattr(trajectory, "MOST_GROWTH", limit)
    run.perturb(network, own, 0, 2)
    assert (run.chaotic, len(run.losses), len(run.weights)) == (2, 2, 2)
    run.close()
    monkeypatch.setattr(trajectory, "MOST_GROWTH", 1e-30)
    found = only(check(graph_of(), in_process=True, **options))
    assert found.agree
    assert any("at update 0 rounding has grown" in note for note in found.notes)
    assert not any(c.name == "loss" for c in found.comparisons)
