"""Optimizers as written; t counts updates from 1, and all state starts at 0."""

from __future__ import annotations

from typing import ClassVar, Self

from pydantic import model_validator
from pydantic_core import PydanticCustomError

from cnnspec.training.vocabulary import Fraction, NotNegative, Positive, Vocabulary

__all__ = [
    "OPTIMIZERS",
    "Adadelta",
    "Adagrad",
    "Adam",
    "AdamW",
    "Adamax",
    "Nadam",
    "Optimizer",
    "RmsProp",
    "Sgd",
]


class Optimizer(Vocabulary):
    """What all optimizers have.

    `weight_decay` w is coupled: w p is added to the gradient after clipping. Where it is
    `decoupled`, p becomes (1 - lr w) p before the update, and the gradient stays as it is.
    """

    adaptive: ClassVar[bool] = True
    """Whether it divides by the size of the gradients."""

    lr: Positive
    weight_decay: NotNegative = 0.0
    decoupled: bool = False

    @property
    def corrected(self) -> tuple[float, ...]:
        """The b of running means that are divided by 1 - b^t, as they start at 0."""
        return ()

    @model_validator(mode="after")
    def _decoupled_has_decay(self) -> Self:
        if self.decoupled and "decoupled" in self.model_fields_set and not self.weight_decay:
            raise PydanticCustomError("decoupled", "`decoupled` needs a `weight_decay` above 0")
        return self


class Sgd(Optimizer):
    """b = momentum * b + (1 - dampening) * g; p -= lr * b (or lr * (g + momentum * b))."""

    key = "sgd"
    adaptive = False

    momentum: NotNegative = 0.0
    dampening: NotNegative = 0.0
    nesterov: bool = False

    @model_validator(mode="after")
    def _nesterov_has_momentum(self) -> Self:
        if self.nesterov and (self.momentum == 0 or self.dampening != 0):
            raise PydanticCustomError(
                "nesterov", "`nesterov` needs a `momentum` above 0, and no `dampening`"
            )
        return self


class Adagrad(Optimizer):
    """a += g^2; p -= lr * g / (sqrt(a) + eps)."""

    key = "adagrad"

    eps: Positive = 1e-10


class RmsProp(Optimizer):
    """v = alpha v + (1 - alpha) g^2; q = g / (sqrt(v) + eps); p -= lr * q.

    `centered` takes the square of the running mean of g from v, at least 0; with `momentum` b,
    which is momentum * b + q, stands for q.
    """

    key = "rmsprop"

    alpha: Fraction = 0.99
    eps: Positive = 1e-8
    momentum: NotNegative = 0.0
    centered: bool = False


class Adam(Optimizer):
    """p -= lr / (1 - b1^t) * m / (sqrt(v) / sqrt(1 - b2^t) + eps); `amsgrad`: the largest v."""

    key = "adam"

    betas: tuple[Fraction, Fraction] = (0.9, 0.999)
    eps: Positive = 1e-8
    amsgrad: bool = False

    @property
    def corrected(self) -> tuple[float, ...]:
        """Both means."""
        return self.betas


class AdamW(Adam):
    """Adam with decoupled weight decay."""

    key = "adamw"

    weight_decay: NotNegative = 0.01
    decoupled: bool = True


class Adadelta(Optimizer):
    """v = rho v + (1 - rho) g^2; d = sqrt(u + eps) / sqrt(v + eps) * g; p -= lr * d.

    u is the running mean of d^2, taken after the update.
    """

    key = "adadelta"

    lr: Positive = 1.0
    rho: Fraction = 0.9
    eps: Positive = 1e-6


class Nadam(Optimizer):
    """Adam with Nesterov momentum: mu_t = b1 (1 - 0.5 * 0.96^(t * momentum_decay)).

    p -= lr (1 - mu_t) / (1 - M_t) * g / d + lr mu_(t+1) / (1 - M_(t+1)) * m / d, with the product
    M_t of mu_1 to mu_t and d = sqrt(v / (1 - b2^t)) + eps.
    """

    key = "nadam"

    betas: tuple[Fraction, Fraction] = (0.9, 0.999)
    eps: Positive = 1e-8
    momentum_decay: NotNegative = 0.004

    @property
    def corrected(self) -> tuple[float, ...]:
        """Both means."""
        return self.betas


class Adamax(Optimizer):
    """u = max(b2 u, |g| + eps); p -= lr / (1 - b1^t) * m / u."""

    key = "adamax"

    betas: tuple[Fraction, Fraction] = (0.9, 0.999)
    eps: Positive = 1e-8

    @property
    def corrected(self) -> tuple[float, ...]:
        """The mean, but not the maximum."""
        return self.betas[:1]


OPTIMIZERS: dict[str, type[Optimizer]] = {
    cls.key: cls for cls in (Sgd, Adagrad, RmsProp, Adam, AdamW, Adadelta, Nadam, Adamax)
}
