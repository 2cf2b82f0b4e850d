"""What is measured after an epoch, and how it is shown."""

from __future__ import annotations

import csv
import itertools
import json
import struct
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import cnnspec
from cnnspec import backends
from cnnspec.backends.base import Style
from cnnspec.data import Dataset, Split, fit
from cnnspec.initializers import initial_weights
from cnnspec.train import curves, stopping, train
from cnnspec.train.chart import charts, ticks
from cnnspec.train.metrics import Epoch, columns, evaluate, per_class, ranks
from tests.runs import SPEC, dataset

# --- ranks, classes ------------------------------------------------------------------------------


@given(st.integers(0, 2**32 - 1), st.integers(1, 9), st.sampled_from([(), (2,), (3, 2)]))
def test_ranks_are_places_in_a_stable_order(seed: int, channels: int, space: tuple[int]) -> None:
    rng = np.random.default_rng(seed)
    values = rng.integers(0, 4, (5, channels, *space)).astype(float)  # with many ties
    labels = rng.integers(0, channels, (5, *space))
    order = np.argsort(-values, axis=1, kind="stable")
    expected = np.argmax(order == labels[:, None], axis=1)
    assert (ranks(values, labels) == expected).all()
    assert ((ranks(values, labels) == 0) == (values.argmax(axis=1) == labels)).all()


def test_top5_by_hand() -> None:
    values = np.array([[9.0, 8, 7, 6, 5, 4, 3], [0, 0, 0, 0, 0, 0, 0], [1, 2, 3, 4, 5, 6, 7]])
    assert ranks(values, np.array([5, 4, 6])).tolist() == [5, 4, 0]
    assert ranks(values, np.array([4, 5, 0])).tolist() == [4, 5, 6]


def test_precision_and_recall_by_hand() -> None:
    found = per_class(np.array([[3, 1, 0], [0, 0, 0], [1, 0, 5]]))
    assert found["samples"] == [4, 0, 6]
    assert found["predicted"] == [4, 1, 5]
    assert found["precision"] == [0.75, 0.0, 1.0]
    assert found["recall"] == [0.75, None, 5 / 6]


HEADS = """\
cnnspec: 1
name: heads
input: [4]
layers:
  - dense: {name: hidden, units: 5}
  - tanh: {name: bend}
  - dense: {name: kind, units: 6}
  - dense: {name: place, units: 2, from: bend}
outputs: {kind: kind, place: place, AUX}
train:
  loss: {kind: cross_entropy, place: {mean_squared_error: {weight: 0.25}}, LOSS}
  optimizer: {sgd: {lr: 0.05}}
  batch: 8
  epochs: 2
"""


def heads(*, auxiliary: bool) -> tuple[cnnspec.Graph, Dataset]:
    aux, loss = ("aux: {from: place, training_only: true}", "aux: mean_squared_error")
    text = HEADS.replace("AUX", aux if auxiliary else "").replace("LOSS", loss if auxiliary else "")
    rng = np.random.default_rng(1)

    def split(count: int) -> Split:
        x = rng.normal(size=(count, 4))
        targets = {"kind": rng.integers(0, 6, count), "place": x[:, :2], "aux": x[:, 2:]}
        return Split({"input": x}, targets if auxiliary else dict(list(targets.items())[:2]))

    return cnnspec.load(text.replace(", }", "}")), Dataset("made", split(30), split(11))


@pytest.mark.parametrize("auxiliary", [False, True])
@pytest.mark.parametrize("backend", ["numpy", "torch"])
def test_every_output_has_its_columns(tmp_path: Path, backend: str, auxiliary: bool) -> None:
    graph, data = heads(auxiliary=auxiliary)
    result = train(graph, backend, data, rundir=tmp_path)
    with open(tmp_path / "metrics.csv", newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert tuple(rows[0]) == columns(("kind", "place"))
    last, row = result.history[-1], rows[-1]
    assert graph.training is not None
    session = backends.get(backend).open(
        cnnspec.emit(graph, backend, reproducible=True), drawn=False
    )
    session.assign(result.weights)
    # By hand, from what the network answers in inference.
    outputs = session.forward(data.test.inputs)
    z, y = outputs["kind"], data.test.targets["kind"]
    losses = np.log(np.exp(z).sum(axis=1)) - z[np.arange(len(z)), y]
    squares = np.square(outputs["place"] - data.test.targets["place"])
    assert last.outputs["test_loss.kind"] == pytest.approx(losses.mean(), rel=1e-12)
    assert last.outputs["test_loss.place"] == pytest.approx(squares.mean(), rel=1e-12)
    assert last.test_loss == pytest.approx(losses.mean() + 0.25 * squares.mean(), rel=1e-12)
    top = np.argsort(-z, axis=1, kind="stable")[:, :5]
    assert last.test_top5 == np.mean((top == y[:, None]).any(axis=1))
    assert last.outputs["test_accuracy.kind"] == last.test_accuracy == np.mean(z.argmax(1) == y)
    assert row["test_loss.place"] == repr(last.outputs["test_loss.place"])
    assert row["test_accuracy.place"] == row["test_top5.place"] == ""
    assert float(row["learning_rate"]) == 0.05
    # The confusion matrix of the one output that has labels.
    expected = np.zeros((6, 6), int)
    np.add.at(expected, (y, z.argmax(axis=1)), 1)
    assert (result.confusion["kind"] == expected).all()
    told = json.loads((tmp_path / "confusion.json").read_text())
    assert told["epoch"] == 2
    assert list(told["outputs"]) == ["kind"]
    assert told["outputs"]["kind"]["matrix"] == expected.tolist()
    with open(tmp_path / "confusion.csv", newline="") as stream:
        table = list(csv.reader(stream))
    assert table[0] == ["label", "0", "1", "2", "3", "4", "5"]
    assert [[int(cell) for cell in row[1:]] for row in table[1:]] == expected.tolist()


def test_evaluation_does_not_depend_on_the_batch() -> None:
    graph = cnnspec.load(SPEC)
    assert graph.training is not None
    data = fit(dataset(), graph)
    backend = backends.get("numpy")
    session = backend.open(backend.emit(graph, Style(random="counter")), drawn=False)
    session.assign(initial_weights(graph))
    scores = [
        evaluate(session, data.train, graph.training, batch=batch, confusion=True)
        for batch in (1, 7, 36, 100)
    ]
    for score in scores:
        assert score.loss == pytest.approx(scores[0].loss, rel=1e-13)
        assert (score.accuracy, score.top5) == (scores[0].accuracy, scores[0].top5)
        matrix = score.outputs["output"].confusion
        assert matrix is not None
        assert (matrix == scores[0].outputs["output"].confusion).all()
        assert matrix.sum() == 36
        assert np.trace(matrix) / 36 == score.accuracy


def test_the_rate_of_an_epoch_is_that_of_its_last_update(tmp_path: Path) -> None:
    result = train(cnnspec.load(SPEC), "numpy", dataset())
    rates = [row.learning_rate for row in result.history]
    assert rates == pytest.approx([0.01 * 0.9**4, 0.01 * 0.9**9, 0.01 * 0.9**14], rel=1e-13)


# --- stopping ------------------------------------------------------------------------------------


def test_best() -> None:
    assert stopping.best([], rising=True) is None
    assert stopping.best([None, None], rising=True) is None
    assert stopping.best([3.0, 1.0, 1.0, 2.0], rising=False) == 1
    assert stopping.best([None, 1.0, 3.0, 3.0], rising=True) == 2
    assert stopping.best([3.0, 2.95, 2.8], rising=False, min_delta=0.1) == 2
    assert stopping.best([3.0, 2.95, 2.91], rising=False, min_delta=0.1) == 0


def test_exhausted() -> None:
    falling = [3.0, 2.0, 2.5, 2.0]
    ended = [
        stopping.exhausted(falling[:n], patience=2, rising=False) for n in range(len(falling) + 1)
    ]
    assert ended == [False, False, False, False, True]
    assert stopping.exhausted([1.0, 1.0], patience=1, rising=True)
    assert not stopping.exhausted([1.0, 2.0], patience=1, rising=True)
    assert stopping.exhausted([1.0, 2.0], patience=1, rising=True, min_delta=1.0)
    assert [stopping.rises(m) for m in ("test_loss", "test_accuracy", "test_top5")] == [0, 1, 1]


# --- curves --------------------------------------------------------------------------------------


@given(
    st.floats(-1e12, 1e12, allow_nan=False),
    st.floats(0, 1e12, allow_nan=False),
    st.integers(2, 10),
)
def test_ticks_span_the_values(low: float, width: float, count: int) -> None:
    high = low + width
    found = ticks(low, high, count)
    step = found[1] - found[0]
    slack = 1e-6 * step
    assert found[0] <= low + slack
    assert found[-1] >= high - slack
    assert 2 <= len(found) <= 2 * count + 4
    assert all(b > a for a, b in itertools.pairwise(found))


def history(count: int, name: str = "a") -> list[Epoch]:
    return [
        Epoch(
            n,
            1 / n,
            1 - 0.5 / n,
            1.1 / n,
            1 - 0.6 / n,
            0.1**n,
            None,
            None,
            {f"test_loss.{name}": 2 / n, f"test_accuracy.{name}": None},
        )
        for n in range(1, count + 1)
    ]


class Page(HTMLParser):
    """Elements and attributes of a page, and whether it is well-formed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.texts: list[str] = []
        self.seen: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.attributes += attrs
        self.seen.append(tag)
        if tag != "meta":
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.attributes += attrs

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


@pytest.mark.parametrize("count", [0, 1, 2, 40, 5000])
def test_the_page_stands_alone(count: int) -> None:
    text = curves.page("a <b> & c", history(count, "x<y"))
    page = Page(text)
    assert page.open == []
    assert "a <b> & c" in page.texts
    assert not {"script", "link", "img", "iframe"} & set(page.seen)
    loads = [value for name, value in page.attributes if name in ("src", "href", "data")]
    assert loads == []
    assert "url(" not in text
    assert page.seen.count("svg") == (3 if count else 0)
    assert len(text) < 300_000
    if count:
        assert {"Loss", "Accuracy", "Learning rate", "epoch", "test, x<y"} <= set(page.texts)


def test_long_runs_keep_their_ends() -> None:
    (loss, *_) = charts(history(5000))
    points = loss.curves[0].points
    assert len(points) < 2002
    assert (points[0][0], points[-1]) == (1, (5000, 1 / 5000))


def test_the_picture_is_drawn(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    for count in (1, 3, 60):
        data = curves.picture("costs $5 to $6, 100 %", history(count))
        assert data.startswith(b"\x89PNG\r\n\x1a\n")
        width, height = struct.unpack(">II", data[16:24])
        assert (width, height) == (1200, 890)


# --- TensorBoard ---------------------------------------------------------------------------------


def events(folder: Path) -> list[Any]:
    """Every record of a folder's only event file, its checksums held."""
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.compat.tensorflow_stub.pywrap_tensorflow import masked_crc32c

    (file,) = folder.iterdir()
    data, found = file.read_bytes(), []
    while data:
        (length,) = struct.unpack("<Q", data[:8])
        body = data[12 : 12 + length]
        assert struct.unpack("<I", data[8:12])[0] == masked_crc32c(data[:8])
        assert struct.unpack("<I", data[12 + length : 16 + length])[0] == masked_crc32c(body)
        found.append(Event.FromString(body))
        data = data[16 + length :]
    return found


METRICS = ("accuracy", "loss", "top5")


def test_event_files(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    train(cnnspec.load(SPEC), "numpy", dataset(), rundir=tmp_path, epochs=2)
    result = train(cnnspec.load(SPEC), "numpy", dataset(), rundir=tmp_path, resume=True)
    first, *rest = events(tmp_path / "events")
    assert first.file_version == "brain.Event:2"
    assert [event.step for event in rest] == [1, 2, 3]
    for event, epoch in zip(rest, result.history, strict=True):
        values = {value.tag: value.simple_value for value in event.summary.value}
        per_split = [f"{metric}/{split}" for metric in METRICS for split in ("test", "train")]
        assert sorted(values) == sorted(["learning_rate", *per_split])
        assert values["loss/test"] == np.float32(epoch.test_loss)


@pytest.mark.parametrize("module", ["tensorboard", "matplotlib"])
def test_runs_without_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, module: str) -> None:
    for name in [n for n in sys.modules if n.partition(".")[0] == module]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, module, None)
    train(cnnspec.load(SPEC), "numpy", dataset(), rundir=tmp_path)
    log = (tmp_path / "log.txt").read_text()
    assert "pip install 'cnnspec[log]'" in log
    assert (tmp_path / "curves.html").exists()
    assert (tmp_path / "curves.png").exists() == (module != "matplotlib")
    assert (tmp_path / "events").is_dir() == (module != "tensorboard")
