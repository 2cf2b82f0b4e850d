"""Batches: the order, the parts of ranks, and processes that prepare them."""

from __future__ import annotations

import gc
import os
import pickle
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from multiprocessing import active_children
from pathlib import Path

import numpy as np
import pytest

from cnnspec import data
from cnnspec.data import Batch, Samples, Split, batches, order
from cnnspec.diagnostics import DataError, Diagnostic, Label, Source, Span, UserError
from tests.data_files import image_folder, pictures
from tests.test_augmentation import COUNT, EVERYTHING, made
from tests.test_data_sources import opened

SPLIT = Split({"x": np.arange(23.0)[:, None]}, {"y": np.arange(23)})


def taken(found: Iterator[Batch]) -> list[list[int]]:
    return [batch.targets["y"].tolist() for batch in found]


def test_the_order_and_the_rest() -> None:
    visited = order(5, 2, 23).tolist()
    found = list(batches(SPLIT, batch=10, seed=5, epoch=2))
    assert [(b.number, b.first, b.size) for b in found] == [(0, 0, 10), (1, 0, 10), (2, 0, 3)]
    assert [label for each in taken(iter(found)) for label in each] == visited
    assert all((b.inputs["x"][:, 0] == b.targets["y"]).all() for b in found)
    later = batches(SPLIT, batch=10, seed=5, epoch=2, start=2)
    assert taken(later) == [visited[20:]]
    assert not list(batches(SPLIT, batch=10, seed=5, epoch=2, start=3))


@pytest.mark.parametrize("ranks", [1, 2, 3, 4])
def test_parts_of_ranks(ranks: int) -> None:
    whole = taken(batches(SPLIT, batch=10, seed=5, epoch=2))
    parts = [
        list(batches(SPLIT, batch=10, seed=5, epoch=2, rank=r, ranks=ranks)) for r in range(ranks)
    ]
    for number, wanted in enumerate(whole):
        mine = [part[number].targets["y"].tolist() for part in parts]
        assert mine == [each.tolist() for each in np.array_split(np.array(wanted), ranks)]
        ends = np.cumsum([0, *map(len, mine)])
        assert [part[number].first for part in parts] == ends[:-1].tolist()
        assert {part[number].size for part in parts} == {len(wanted)}


def test_slicing_costs_nothing() -> None:
    inputs, _ = SPLIT.take(slice(3, 9), 4)
    assert np.shares_memory(inputs["x"], SPLIT.inputs["x"])


def equal(one: list[Batch], other: list[Batch]) -> bool:
    assert [(b.number, b.first, b.size) for b in one] == [
        (b.number, b.first, b.size) for b in other
    ]
    return all(
        (x == y).all()
        for a, b in zip(one, other, strict=True)
        for x, y in (
            (a.inputs["input"], b.inputs["input"]),
            (a.targets["output"], b.targets["output"]),
        )
    )


def test_workers_change_nothing(tmp_path: Path) -> None:
    found = made(tmp_path, EVERYTHING).train
    for workers in (1, 2):
        for epoch in (0, 1):
            for start, rank, ranks in ((0, 0, 1), (1, 1, 2)):
                one, other = (
                    list(
                        batches(
                            found, batch=5, seed=3, epoch=epoch, start=start, workers=n,
                            rank=rank, ranks=ranks,
                        )
                    )
                    for n in (0, workers)
                )  # fmt: skip
                assert equal(one, other)
        assert len(active_children()) == workers
        # What an epoch that was left early has asked for is no answer in the next.
        early = batches(found, batch=2, seed=3, epoch=5, workers=workers)
        next(early)
        early.close()
        again = list(batches(found, batch=5, seed=3, epoch=6, workers=workers))
        assert equal(again, list(batches(found, batch=5, seed=3, epoch=6)))
    data.stop(found)
    assert active_children() == []


def test_images_through_a_worker_and_its_fault(tmp_path: Path) -> None:
    image_folder(tmp_path)
    found: Samples = opened(
        "source: {image_folder: {folder: .}}\nsplit: {test: 2}\naugment: [flip]", tmp_path
    ).train
    one, other = (list(batches(found, batch=3, seed=0, epoch=0, workers=n)) for n in (0, 1))
    assert equal(one, other)
    for path in tmp_path.rglob("*.jpeg"):
        path.write_bytes(path.read_bytes()[:60])
    told = []
    for workers in (0, 1):
        with pytest.raises(DataError) as caught:
            list(batches(found, batch=3, seed=0, epoch=0, workers=workers))
        told.append(caught.value.diagnostics[0])
    assert told[0].code == told[1].code == "data-corrupt"
    assert told[0].message == told[1].message
    assert told[1].primary is not None
    assert told[1].primary.span.line == 5
    assert len(list(batches(found, batch=9, seed=0, epoch=0, start=1, workers=1))) == 0
    data.stop(found)


def test_a_lost_worker(tmp_path: Path) -> None:
    found = made(tmp_path, "[flip]").train
    going = batches(found, batch=2, seed=0, epoch=0, workers=1)
    next(going)
    (child,) = active_children()
    child.kill()
    child.join()
    with pytest.raises(DataError) as caught:
        list(going)
    assert caught.value.diagnostics[0].code == "worker-lost"
    # The next epoch starts another one.
    assert len(list(batches(found, batch=2, seed=0, epoch=0, workers=1))) == COUNT // 2
    data.stop(found)
    assert active_children() == []


def test_workers_end_with_the_split(tmp_path: Path) -> None:
    found = made(tmp_path, "[flip]").train
    assert len(list(batches(found, batch=2, seed=0, epoch=0, workers=1))) == COUNT // 2
    assert len(active_children()) == 1
    del found
    gc.collect()
    assert active_children() == []


SCRIPT = """\
import os, sys, time
import numpy as np
from cnnspec.data import Split, batches
from multiprocessing import active_children
if __name__ == "__main__":
    found = Split({"x": np.ones((20, 3))}, {"y": np.ones(20, np.int64)})
    going = batches(found, batch=2, seed=0, epoch=0, workers=2)
    next(going)
    print(*(child.pid for child in active_children()), flush=True)
    if sys.argv[1] == "wait":
        time.sleep(60)
    if sys.argv[1] == "raise":
        raise ValueError
"""


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0] != "Z"


@pytest.mark.parametrize("end", ["exit", "raise", "interrupt", "kill"])
def test_no_process_is_left(tmp_path: Path, end: str) -> None:
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    waits = end in ("interrupt", "kill")
    process = subprocess.Popen(
        [sys.executable, str(script), "wait" if waits else end],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    )
    assert process.stdout is not None
    pids = [int(text) for text in process.stdout.readline().split()]
    assert len(pids) == 2
    if end == "kill":
        process.kill()
    elif end == "interrupt":
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does: every process gets it
    process.wait(30)
    process.stdout.close()
    deadline = time.monotonic() + 10
    while any(map(alive, pids)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not any(map(alive, pids))


def test_nothing_heavy_in_a_worker(tmp_path: Path) -> None:
    found = made(tmp_path, "[flip]").train
    next(batches(found, batch=2, seed=0, epoch=0, workers=1))
    (child,) = active_children()
    mapped = Path(f"/proc/{child.pid}/maps").read_text()
    assert "numpy" in mapped
    assert not any(name in mapped for name in ("libtorch", "tensorflow", "jaxlib"))
    data.stop(found)


def test_faults_cross_processes() -> None:
    span = Span(Source("net.yaml", "a: 1\n"), 1, 1, 1, 2)
    error = DataError([Diagnostic("data-corrupt", "x", Label(span)), Diagnostic("b", "y")])
    found = pickle.loads(pickle.dumps(error))  # noqa: S301 - made in the line above
    assert isinstance(found, UserError)
    assert [d.message for d in found.diagnostics] == ["x", "y"]
    assert str(found) == str(error)


def test_a_picture_of_bytes_is_looked_up(tmp_path: Path) -> None:
    """Many channels and few, with one table for all and with several."""
    for channels in (1, 3, 20):
        x = pictures(COUNT, (channels, 2))
        found = made(tmp_path, "[normalize]", x_train=x)
        told = found.statistics["input"]
        wanted = (x / 255 - np.array(told.mean)[:, None]) / np.array(told.std)[:, None]
        assert (found.test.inputs["input"] == wanted).all()
