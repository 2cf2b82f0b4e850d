"""How the words of a train section are drawn: losses, optimizers, schedules."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cnnspec import training
from cnnspec.testing import choices as st
from cnnspec.testing.strategies import TRAINING, Draw, Fields, literals, one_of, some, spelled


@TRAINING(
    training.MeanSquaredError,
    training.MeanAbsoluteError,
    training.Hinge,
    training.SquaredHinge,
    training.MultiMargin,
    training.KlDivergence,
)
def _loss(draw: Draw, channels: int = 2) -> Fields:
    found: Fields = {}
    some(draw, found, weight=one_of(0.5, 2))
    return found


DECAY = {"weight_decay": one_of(0.01, 0.5)}


def _decoupled(draw: Draw, found: Fields) -> Fields:
    """With a decay that may be decoupled."""
    some(draw, found, **DECAY)
    if "weight_decay" in found:
        some(draw, found, decoupled=st.just(True))
    return found


@TRAINING(training.CrossEntropy)
def _cross_entropy(draw: Draw, channels: int = 2) -> Fields:
    found = _loss(draw)
    some(
        draw,
        found,
        label_smoothing=one_of(0.1, 0.7),
        class_weights=_for_each(channels),
        targets=literals(training.CrossEntropy, "targets"),
    )
    if "class_weights" in found:
        found["weight_norm"] = draw(one_of("sum_w", "batch"))
    return found


@TRAINING(training.BinaryCrossEntropy)
def _binary_cross_entropy(draw: Draw, channels: int = 2) -> Fields:
    found = _loss(draw)
    weights = one_of(3, 0.3) | _for_each(channels)
    some(draw, found, label_smoothing=one_of(0.1, 0.7), pos_weight=weights)
    return found


@TRAINING(training.Huber)
def _huber(draw: Draw, channels: int = 2) -> Fields:
    found = _loss(draw)
    some(draw, found, delta=one_of(0.3, 2))
    return found


def _for_each(channels: int) -> st.Choice[Any]:
    """A weight for each channel."""
    return st.lists(one_of(0.3, 1, 2.5), min_size=channels, max_size=channels)


@TRAINING(training.Sgd)
def _sgd(draw: Draw) -> Fields:
    found: Fields = {"lr": draw(one_of(0.01, 0.1, 0.001))}
    some(draw, found, momentum=one_of(0.9, 0.5))
    if "momentum" in found:
        some(
            draw, found, **draw(one_of({}, {"nesterov": st.just(True)}, {"dampening": one_of(0.5)}))
        )
    return _decoupled(draw, found)


@TRAINING(training.Adagrad)
def _adagrad(draw: Draw) -> Fields:
    found: Fields = {"lr": draw(one_of(0.01, 0.001))}
    some(draw, found, eps=one_of(1e-3, 0.1))
    return _decoupled(draw, found)


@TRAINING(training.RmsProp)
def _rmsprop(draw: Draw) -> Fields:
    found: Fields = {"lr": draw(one_of(0.01, 0.001))}
    some(
        draw,
        found,
        alpha=one_of(0.9, 0.5),
        eps=one_of(1e-3, 0.1),
        momentum=one_of(0.9, 0.5),
        centered=st.just(True),
    )
    return _decoupled(draw, found)


def _of_moments(draw: Draw, **more: st.Choice[Any]) -> Fields:
    found: Fields = {"lr": draw(one_of(0.01, 0.001))}
    some(draw, found, betas=one_of([0.5, 0.9], [0, 0.5]), eps=one_of(1e-3, 0.1), **more)
    return found


@TRAINING(training.Adam)
def _adam(draw: Draw) -> Fields:
    return _decoupled(draw, _of_moments(draw, amsgrad=st.just(True)))


@TRAINING(training.AdamW)
def _adamw(draw: Draw) -> Fields:
    found = _of_moments(draw, amsgrad=st.just(True))
    some(draw, found, weight_decay=one_of(0, 0.5), decoupled=st.just(False))
    return found


@TRAINING(training.Adadelta)
def _adadelta(draw: Draw) -> Fields:
    found: Fields = {}
    some(draw, found, lr=one_of(0.1), rho=one_of(0.5, 0.99), eps=one_of(1e-3, 0.1))
    return _decoupled(draw, found)


@TRAINING(training.Nadam)
def _nadam(draw: Draw) -> Fields:
    return _decoupled(draw, _of_moments(draw, momentum_decay=one_of(0, 0.5)))


@TRAINING(training.Adamax)
def _adamax(draw: Draw) -> Fields:
    return _decoupled(draw, _of_moments(draw))


def _scheduled(draw: Draw, found: Fields) -> Fields:
    """By epochs or updates, with a warm-up or without."""
    some(draw, found, every=literals(training.Schedule, "every"), warmup=one_of(1, 2))
    return found


def _over_length(draw: Draw, found: Fields) -> Fields:
    some(draw, found, length=one_of(1, 3))
    return _scheduled(draw, found)


@TRAINING(training.Constant)
def _constant_rate(draw: Draw) -> Fields:
    return _scheduled(draw, {})


@TRAINING(training.Exponential)
def _exponential(draw: Draw) -> Fields:
    return _scheduled(draw, {"gamma": draw(one_of(0.5, 0.9, 1.1))})


@TRAINING(training.Step)
def _step(draw: Draw) -> Fields:
    found: Fields = {"size": draw(one_of(1, 2))}
    some(draw, found, gamma=one_of(0.5))
    return _scheduled(draw, found)


@TRAINING(training.MultiStep)
def _multi_step(draw: Draw) -> Fields:
    found: Fields = {"milestones": draw(one_of([1], [1, 3]))}
    some(draw, found, gamma=one_of(0.5))
    return _scheduled(draw, found)


@TRAINING(training.Cosine)
def _cosine(draw: Draw) -> Fields:
    found: Fields = {}
    some(draw, found, end=one_of(0.001))
    return _over_length(draw, found)


@TRAINING(training.Polynomial)
def _polynomial(draw: Draw) -> Fields:
    found: Fields = {}
    some(draw, found, end=one_of(0.001), power=one_of(0.5, 2))
    return _over_length(draw, found)


@TRAINING(training.OneCycle)
def _one_cycle(draw: Draw) -> Fields:
    found: Fields = {}
    some(draw, found, rise=one_of(0.25), start_div=one_of(10), end_div=one_of(100))
    return _over_length(draw, found)


def epochs_of(schedule: Any) -> int:
    """The fewest epochs of a run with a schedule as written, which may be a bare word."""
    if isinstance(schedule, str):
        return 1
    ((key, given),) = schedule.items()
    tuples: dict[str, Any] = {
        name: tuple(v) if isinstance(v, list) else v for name, v in given.items()
    }
    made = training.SCHEDULES[key](**tuples)
    return max(1, made.longest) if made.every == "epoch" else 1


def word(draw: Draw, vocabulary: Mapping[str, type[training.Vocabulary]]) -> Any:
    """One of these training words over its fields."""
    cls = draw(st.sampled_from(list(vocabulary.values())))
    return spelled(cls.key, TRAINING.draw(draw, cls))


def loss(draw: Draw, channels: int) -> Any:
    """A loss of an output with so many channels, over its fields."""
    fitting = [cls for cls in training.LOSSES.values() if cls.least_channels <= channels]
    cls = draw(st.sampled_from(fitting))
    return spelled(cls.key, TRAINING.draw(draw, cls, channels))
