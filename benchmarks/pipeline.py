"""How busy the trainer is while two workers read and augment what it trains on; wall time."""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import torch

import cnnspec
from benchmarks.harness import QUICK, Result, judged
from cnnspec import data as sources
from cnnspec.backends import get
from cnnspec.backends.base import At, Session, Style
from cnnspec.data import Dataset
from cnnspec.data.batches import Batch, batches
from cnnspec.data.workers import stop

SPEC = Path("specs/cifar10_deep.yaml")
SAMPLES = 512 if QUICK else 2048
EPOCHS = 4
"""Of which the first starts the workers, and does not count."""
BUSY = 0.95
WORKERS = 2


def run() -> list[Result]:
    """Epochs of a CIFAR-10 network whose images are rotated, moved, sheared, zoomed and flipped.

    The ratio is the time of an epoch over that of the updates in it. The peer is the same with
    the batches made beforehand, which says what two workers take away from the trainer where
    they share its cores.
    """
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        write_images(Path(folder))
        text = SPEC.read_text().replace("cifar-10-batches-bin", folder)
        graph = cnnspec.load(text)
        assert graph.training is not None
        data = sources.fit(sources.given(None, graph, seed=0), graph)
        emitted = get("torch").emit(graph, Style(random="counter"))
        session = get("torch").open(emitted, dtype="float32")
        shares, waiting, alone = [], [], []
        made = list(epoch_of(data, 0, workers=0, batch=graph.training.batch))
        for epoch in range(EPOCHS):
            found = epoch_of(data, epoch, workers=WORKERS, batch=graph.training.batch)
            whole, updates = timed(session, found)
            _, plain = timed(session, made)
            if epoch:
                shares.append(whole / updates)
                waiting.append(whole)
                alone.append(plain)
        stop(data.train)
        session.close()
    busy = 1 / statistics.median(shares)
    limit = f"{BUSY:.0%} busy with {WORKERS} workers: {busy:.1%}"
    result = Result(
        f"torch CIFAR-10, augmented, an epoch of {SAMPLES:,}",
        "its updates alone, batches in memory",
        statistics.median(waiting),
        statistics.median(alone),
        statistics.median(shares),
        min(shares),
        max(shares),
    )
    return [judged(result, 1 / BUSY, limit)]


def epoch_of(data: Dataset, epoch: int, *, workers: int, batch: int) -> Iterator[Batch]:
    """The batches of an epoch."""
    return batches(data.train, batch=batch, seed=0, epoch=epoch, workers=workers)


def timed(session: Session, found: Iterable[Batch]) -> tuple[float, float]:
    """Seconds of an epoch, and of the updates in it."""
    updates, start = 0.0, time.perf_counter()
    for number, batch in enumerate(found):
        begun = time.perf_counter()
        session.step(batch.inputs, batch.targets, at=At(number), updates_per_epoch=1 << 20)
        updates += time.perf_counter() - begun
    return time.perf_counter() - start, updates


def write_images(folder: Path) -> None:
    """Files of CIFAR-10's binary format with random pixels."""
    rng = np.random.default_rng(0)

    def write(name: str, count: int) -> None:
        records = rng.integers(0, 256, (count, 3073), dtype=np.uint8)
        records[:, 0] %= 10
        (folder / name).write_bytes(records.tobytes())

    for number in range(1, 6):
        write(f"data_batch_{number}.bin", SAMPLES // 5 + (number <= SAMPLES % 5))
    write("test_batch.bin", 10)
