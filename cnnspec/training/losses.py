"""Losses as written: each is a sum over a batch, and the weight that it is divided by."""

from __future__ import annotations

from typing import ClassVar, Literal, Self

from pydantic import model_validator
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


class Loss(Vocabulary):
    """A loss of one output; `weight` scales it where there are several."""

    folds: ClassVar[tuple[str, ...]] = ()

    weight: Positive = 1.0

    @property
    def expects(self) -> Targets:
        """What its targets are."""
        return "values"


class CrossEntropy(Loss):
    """-log softmax(z)[label], averaged over every label position; z are logits over channels.

    With `label_smoothing` e the target is (1 - e) one-hot + e/C. `class_weights` multiply each
    channel's term, and `weight_norm` says what the sum is divided by: the sum of the weights of
    the labels (`sum_w`, as in PyTorch), or the number of labels (`batch`, as in Keras). With
    `targets: probabilities` the targets are (N, C, *space) and add up to 1 over the channels.
    """

    key = "cross_entropy"
    folds = ("softmax", "log_softmax")

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


class BinaryCrossEntropy(Loss):
    """softplus(z) - t z, averaged over every element; z are logits, t from 0 to 1.

    With `label_smoothing` e, t (1 - e) + e/2 stands for t. `pos_weight` multiplies the term of t,
    one number or one for each channel.
    """

    key = "binary_cross_entropy"
    folds = ("sigmoid",)

    label_smoothing: Fraction = 0.0
    pos_weight: Positive | tuple[Positive, ...] | None = None

    @property
    def expects(self) -> Targets:
        """Fractions of yes."""
        return "fractions"


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

    @property
    def expects(self) -> Targets:
        """Labels."""
        return "labels"


class KlDivergence(Loss):
    """q (log q - log softmax(z)) over channels, averaged over positions; z are logits."""

    key = "kl_divergence"
    folds = ("softmax", "log_softmax")

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
