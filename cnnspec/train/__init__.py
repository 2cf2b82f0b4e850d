"""Training with the functions of a network's own emitted file, equal in every back end."""

from __future__ import annotations

from cnnspec.train.loop import Result, train
from cnnspec.train.metrics import Epoch, Score, evaluate
from cnnspec.train.progress import Progress
from cnnspec.train.running import command

__all__ = ["Epoch", "Progress", "Result", "Score", "command", "evaluate", "train"]
