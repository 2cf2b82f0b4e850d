"""A small run that tests of resuming share: spec, data, and what it has come to."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from cnnspec.data import Dataset, Split
from cnnspec.train import Progress

SPEC = """\
cnnspec: 1
name: small
input: [1, 6, 6]
layers:
  - conv: {name: conv, filters: 3, kernel: 3, bias: false}
  - batch_norm
  - relu
  - dropout: {p: 0.3}
  - flatten
  - dense: {name: head, units: 7}
train:
  loss: cross_entropy
  optimizer: {adam: {lr: 0.01}}
  schedule: {exponential: {gamma: 0.9, every: update}}
  batch: 8
  epochs: 3
"""

EPOCHS, UPDATES = 3, 5
"""Of a run; the last batch of an epoch has 4 samples."""

# What is written of a run that does not depend on when and in how many parts it was made.
LASTING = (
    "metrics.csv",
    "weights.safetensors",
    "best.safetensors",
    "confusion.csv",
    "confusion.json",
    "curves.html",
    "run.json",
    "expanded.yaml",
    "data.json",
    "checkpoints/last.safetensors",
)


def dataset() -> Dataset:
    """36 samples to train on and 10 to test on, in seven classes."""
    rng = np.random.default_rng(11)

    def split(count: int) -> Split:
        x = rng.normal(size=(count, 1, 6, 6))
        return Split({"input": x}, {"output": x[:, 0, 0].sum(axis=1).argsort() % 7})

    return Dataset("made", split(36), split(10), tuple("abcdefg"))


def lasting(directory: Path) -> dict[str, bytes]:
    """The bytes of what two equal runs have in common."""
    return {name: (directory / name).read_bytes() for name in LASTING}


class Stop(Progress):
    """Raises after an update; keeps the remarks."""

    def __init__(self, after: int | None = None, error: BaseException | None = None) -> None:
        self.after, self.error = after, error or RuntimeError("stopped by the test")
        self.updates = 0
        self.remarks: list[str] = []

    def advance(self, loss: float) -> None:
        self.updates += 1
        if self.updates == self.after:
            raise self.error

    def remark(self, text: str) -> None:
        self.remarks.append(text)


def equal(
    found: dict[str, npt.NDArray[Any]] | Any, expected: dict[str, npt.NDArray[Any]] | Any
) -> bool:
    """Whether weights are the same bits."""
    return dict(found).keys() == dict(expected).keys() and all(
        found[name].tobytes() == value.tobytes() for name, value in expected.items()
    )
