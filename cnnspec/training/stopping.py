"""When a run ends before its last epoch, and the moving average of its weights."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from cnnspec.ops.fields import Finite
from cnnspec.training.vocabulary import Fields, NotNegative

__all__ = ["Average", "EarlyStopping"]


class EarlyStopping(Fields):
    """Ends a run when `monitor` has not become better by `min_delta` for `patience` epochs."""

    monitor: Literal["test_loss", "test_accuracy", "train_loss", "train_accuracy"] = "test_loss"
    patience: Annotated[int, Field(ge=1, le=2**31 - 1)] = 5
    min_delta: NotNegative = 0.0


class Average(Fields):
    """An exponential moving average: e = decay * e + (1 - decay) * w after each update.

    It starts at the initial weights; evaluation uses it, with the running statistics of the model.
    """

    decay: Annotated[Finite, Field(gt=0, lt=1)]
