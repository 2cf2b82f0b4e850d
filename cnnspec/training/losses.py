"""Losses as written: each is a sum over a batch, and the weight that it is divided by."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal, Self

from pydantic import PlainValidator, WithJsonSchema, model_validator
from pydantic_core import PydanticCustomError

from cnnspec.training.vocabulary import Fraction, Positive, Vocabulary

__all__ = [
    "LOSSES",
    "BinaryCrossEntropy",
    "CrossEntropy",
    "Hinge",
    "Huber",
    "KlDivergence",
    "Loss",
    "MeanAbsoluteError",
    "MeanSquaredError",
    "MultiMargin",
    "SquaredHinge",
    "Targets",
]

Targets = Literal["labels", "values", "probabilities", "fractions", "signs"]
"""What a loss compares an output with: `labels` are whole numbers of channels, (N, *space);
everything else has the output's own shape: any `values`, `probabilities` that add up to 1 over
the channels, `fractions` from 0 to 1, and `signs`, -1 or 1."""


def _by_channel(value: object) -> float | tuple[float, ...]:
    numbers = value if isinstance(value, (tuple, list)) else (value,)
    for number in numbers:
        if isinstance(number, bool) or not isinstance(number, (int, float)):
            raise PydanticCustomError(
                "by_channel_type", "expected a number, or a list with one for each channel"
            )
        if not 0 < number <= sys.float_info.max:
            raise PydanticCustomError("range", "has to be above 0, and finite")
    found = tuple(float(number) for number in numbers)
    return found if isinstance(value, (tuple, list)) else found[0]


_POSITIVE = {"type": "number", "exclusiveMinimum": 0}
ByChannel = Annotated[
    float | tuple[float, ...],
    PlainValidator(_by_channel),
    WithJsonSchema({"anyOf": [_POSITIVE, {"type": "array", "items": _POSITIVE}]}),
]
"""One number above 0, or one for each channel."""


class Loss(Vocabulary):
    """A loss of one output; `weight` scales it where there are several."""

    folds: ClassVar[tuple[str, ...]] = ()
    """The activations that the loss has inside: it reads what goes into them."""

    least_channels: ClassVar[int] = 1
    """How many channels an output needs, so that there is something to learn."""

    weight: Positive = 1.0

    @property
    def expects(self) -> Targets:
        """What its targets are."""
        return "values"

    @property
    def by_channel(self) -> Mapping[str, int]:
        """How many numbers each option has that has one for each channel."""
        return {}


class CrossEntropy(Loss):
    """-log softmax(z)[label], averaged over every label position; z are logits over channels.

    With `label_smoothing` e the target is (1 - e) one-hot + e/C. `class_weights` multiply each
    channel's term, and `weight_norm` says what the sum is divided by: the sum of the weights of
    the labels (`sum_w`, as in PyTorch), or the number of labels (`batch`, as in Keras). With
    `targets: probabilities` the targets q are (N, C, *space) and add up to 1 over the channels;
    `sum_w` is then the sum of q times the weights, over positions and channels.
    """

    key = "cross_entropy"
    folds = ("softmax", "log_softmax")
    least_channels = 2

    label_smoothing: Fraction = 0.0
    class_weights: tuple[Positive, ...] | None = None
    weight_norm: Literal["sum_w", "batch"] | None = None
    targets: Literal["labels", "probabilities"] = "labels"

    @model_validator(mode="after")
    def _weights_have_a_norm(self) -> Self:
        if (self.class_weights is None) != (self.weight_norm is None):
            raise PydanticCustomError(
                "weight_norm",
                "`class_weights` and `weight_norm` go together",
                {
                    "help": "`weight_norm: sum_w` divides by the weights of the labels, as "
                    "PyTorch does, `batch` by their number, as Keras does"
                },
            )
        return self

    @property
    def expects(self) -> Targets:
        """Labels, or a probability for each channel."""
        return self.targets

    @property
    def by_channel(self) -> Mapping[str, int]:
        """The weights of the classes."""
        return {} if self.class_weights is None else {"class_weights": len(self.class_weights)}


class BinaryCrossEntropy(Loss):
    """softplus(z) - t z, averaged over every element; z are logits, t from 0 to 1.

    With `label_smoothing` e, t (1 - e) + e/2 stands for t. `pos_weight` multiplies the term of t,
    one number or one for each channel.
    """

    key = "binary_cross_entropy"
    folds = ("sigmoid",)

    label_smoothing: Fraction = 0.0
    pos_weight: ByChannel | None = None

    @property
    def expects(self) -> Targets:
        """Fractions of yes."""
        return "fractions"

    @property
    def by_channel(self) -> Mapping[str, int]:
        """The weights of yes, unless there is but one."""
        weights = self.pos_weight
        return {"pos_weight": len(weights)} if isinstance(weights, tuple) else {}


class MeanSquaredError(Loss):
    """(y - target)^2, averaged over every element."""

    key = "mean_squared_error"


class MeanAbsoluteError(Loss):
    """|y - target|, averaged over every element; its gradient at 0 is 0."""

    key = "mean_absolute_error"


class Huber(Loss):
    """e^2 / 2 where |e| <= delta, else delta (|e| - delta / 2), averaged; e is y - target."""

    key = "huber"

    delta: Positive = 1.0


class Hinge(Loss):
    """max(0, 1 - t y), averaged over every element; t is -1 or 1; no gradient at the margin."""

    key = "hinge"

    @property
    def expects(self) -> Targets:
        """Signs."""
        return "signs"


class SquaredHinge(Hinge):
    """max(0, 1 - t y)^2, averaged over every element; t is -1 or 1."""

    key = "squared_hinge"


class MultiMargin(Loss):
    """max(0, 1 - y[label] + y[c]) over the other channels c, divided by C, averaged over labels."""

    key = "multi_margin"
    least_channels = 2

    @property
    def expects(self) -> Targets:
        """Labels."""
        return "labels"


class KlDivergence(Loss):
    """q (log q - log softmax(z)) over channels, averaged over positions; z are logits."""

    key = "kl_divergence"
    folds = ("softmax", "log_softmax")
    least_channels = 2

    @property
    def expects(self) -> Targets:
        """A probability for each channel."""
        return "probabilities"


LOSSES: dict[str, type[Loss]] = {
    cls.key: cls
    for cls in (
        CrossEntropy,
        BinaryCrossEntropy,
        MeanSquaredError,
        MeanAbsoluteError,
        Huber,
        Hinge,
        SquaredHinge,
        MultiMargin,
        KlDivergence,
    )
}
