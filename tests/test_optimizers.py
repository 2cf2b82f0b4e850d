"""Optimizers, schedules, clipping and decay: every back end and the emitted file alone agree."""

from __future__ import annotations

import itertools
import math
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from safetensors.numpy import load_file

import cnnspec
from cnnspec import backends
from cnnspec.backends import At
from cnnspec.backends.base import Emitted
from cnnspec.diagnostics import DataError
from cnnspec.graph import Graph
from cnnspec.initializers import initial_weights
from cnnspec.train.preflight import require_schedule
from cnnspec.training import OPTIMIZERS, SCHEDULES, Clip, Group, Training
from cnnspec.weights import write_weights
from tests.networks import BACKENDS, distance

Array = npt.NDArray[Any]
Batch = tuple[Array, Array]

EXACT = 1e-12
STEPS, PER_EPOCH, EPOCHS = 50, 10, 5
EVERY = 60
"""Of the table so many stand for one in the default suite."""

MADE: dict[str, tuple[str, dict[str, Any]]] = {
    "sgd": ("sgd", {"lr": 0.1}),
    "momentum": ("sgd", {"lr": 0.05, "momentum": 0.9}),
    "nesterov": ("sgd", {"lr": 0.05, "momentum": 0.9, "nesterov": True}),
    "dampening": ("sgd", {"lr": 0.1, "momentum": 0.9, "dampening": 0.5}),
    "adagrad": ("adagrad", {"lr": 0.05}),
    "rmsprop": ("rmsprop", {"lr": 0.005}),
    "rmsprop momentum": ("rmsprop", {"lr": 0.001, "alpha": 0.9, "momentum": 0.9}),
    "rmsprop centered": ("rmsprop", {"lr": 0.005, "centered": True}),
    "rmsprop both": ("rmsprop", {"lr": 0.001, "centered": True, "momentum": 0.5}),
    "adam": ("adam", {"lr": 0.01}),
    "amsgrad": ("adam", {"lr": 0.01, "betas": (0.5, 0.9), "eps": 1e-3, "amsgrad": True}),
    "adamw": ("adamw", {"lr": 0.01, "weight_decay": 0.0}),
    "adadelta": ("adadelta", {}),
    "nadam": ("nadam", {"lr": 0.01}),
    "nadam fast": ("nadam", {"lr": 0.01, "momentum_decay": 0.5}),
    "adamax": ("adamax", {"lr": 0.01}),
}
RATES: dict[str, dict[str, Any]] = {
    "constant": {},
    "exponential": {"gamma": 0.9},
    "step": {"size": 2, "gamma": 0.5},
    "multi_step": {"milestones": (1, 2), "gamma": 0.5},
    "cosine": {"end": 0.001},
    "polynomial": {"power": 2.0},
    "one_cycle": {},
}
CLIPS = {"no clip": None, "value": Clip(value=0.02), "norm": Clip(norm=0.3)}
DECAYS = ("no decay", "coupled", "decoupled", "groups", "decoupled groups")
GROUPS = (
    Group(match=("conv2",), trainable=False),
    Group(match=("*.bias",), weight_decay=0.0),
    Group(match=("fc",), lr_scale=0.5),
)

SPEC = """\
cnnspec: 1
name: small
input: [2, 6, 7]
layers:
  - conv: {name: conv1, filters: 3, kernel: 3}
  - tanh
  - conv: {name: conv2, filters: 3, kernel: 2}
  - tanh
  - flatten
  - dense: {name: fc, units: 4}
train: {loss: cross_entropy, optimizer: {sgd: {lr: 0.1}}}
"""


def pairwise(*factors: Sequence[str]) -> Iterator[tuple[str, ...]]:
    """Rows in which every two values of two factors stand together at least once."""
    places = list(itertools.combinations(range(len(factors)), 2))
    left = {(i, a, j, b) for i, j in places for a in factors[i] for b in factors[j]}

    def covered(row: Mapping[int, str]) -> set[tuple[int, str, int, str]]:
        return {(i, row[i], j, row[j]) for i, j in places if i in row and j in row} & left

    while left:
        i, a, j, b = min(left)
        row = {i: a, j: b}
        for k in set(range(len(factors))) - {i, j}:
            row[k] = max(factors[k], key=lambda value: len(covered({**row, k: value})))
        left -= covered(row)
        yield tuple(row[k] for k in range(len(factors)))


WARMUPS = ("at once", "warmup")
FACTORS = (tuple(MADE), tuple(RATES), ("epoch", "update"), WARMUPS, tuple(CLIPS), DECAYS)
TABLE = list(pairwise(*FACTORS))


def section(row: tuple[str, ...], given: Training) -> Training:
    """What a row of the table says."""
    optimizer, schedule, every, warmup, clip, decay = row
    key, fields = MADE[optimizer]
    if decay != "no decay":
        fields = {**fields, "weight_decay": 0.05, "decoupled": decay.startswith("decoupled")}
    rates = {**RATES[schedule], "every": every, "warmup": 2 * (warmup == "warmup")}
    return replace(
        given,
        optimizer=OPTIMIZERS[key](**fields),
        schedule=SCHEDULES[schedule](**rates),
        epochs=EPOCHS,
        clip=CLIPS[clip],
        groups=GROUPS if decay.endswith("groups") else (),
    )


def network(row: tuple[str, ...]) -> Graph:
    graph = cnnspec.load(SPEC)
    assert graph.training is not None
    return replace(graph, training=section(row, graph.training))


@pytest.fixture(scope="module")
def batches() -> list[Batch]:
    """Of uneven size."""
    drawn = np.random.default_rng(3)
    sizes = [8 if update % 7 else 5 for update in range(STEPS)]
    return [(drawn.normal(size=(n, 2, 6, 7)), drawn.integers(0, 4, n)) for n in sizes]


def trained(graph: Graph, backend: str, batches: Sequence[Batch]) -> dict[str, Array]:
    """The weights after all updates, by a session."""
    chosen = backends.get(backend)
    session = chosen.open(chosen.emit(graph), dtype="float64")
    session.assign(initial_weights(graph))
    for update, (x, y) in enumerate(batches):
        at = At(update)
        session.step({"input": x}, {"output": y}, at=at, updates_per_epoch=PER_EPOCH)
    found = dict(session.weights())
    session.close()
    return found


@contextmanager
def precise(backend: str) -> Iterator[None]:
    """What a user sets for float64."""
    if backend == "torch":
        import torch

        torch.set_default_dtype(torch.float64)
        yield
        torch.set_default_dtype(torch.float32)
    elif backend == "keras":
        import keras

        for dtype in ("float64", "float32"):
            keras.config.set_floatx(dtype)
            keras.config.set_dtype_policy(dtype)  # in a new process it follows by itself
            if dtype == "float64":
                yield
    else:
        yield


def alone(emitted: Emitted, weights: Path, batches: Sequence[Batch]) -> dict[str, Array]:
    """The weights after all updates, by nothing but what the emitted file has in it."""
    net: Any = ModuleType("net")
    exec(compile(emitted.text, "net.py", "exec"), vars(net))  # noqa: S102 - that is the test
    backend, optimizer = emitted.backend, []
    if backend == "keras":
        whole = model = net.build_model()
        net.load_weights(model, weights)
        net.compile_model(model)
    else:
        whole = model = net.Small()
        if backend == "numpy":
            model.astype("float64")
        model.load_weights(weights)
        optimizer = [net.make_optimizer(model)]
    for update, (x, y) in enumerate(batches):
        given: tuple[Any, Any] = (x, y)
        if backend == "torch":
            import torch

            given = torch.tensor(x), torch.tensor(y)
        elif backend == "keras":
            given = np.moveaxis(x, 1, -1), y
        net.train_step(model, *optimizer, *given, update, PER_EPOCH)
    found = weights.with_name(f"{backend}.safetensors")
    if backend == "keras":
        net.save_weights(whole, found)
    else:
        whole.save_weights(found)
    return dict(load_file(found))


def entry(number: int, row: tuple[str, ...]) -> Any:
    """Most of the table takes its time at night."""
    marks = [] if number % EVERY == 0 else [pytest.mark.nightly]
    return pytest.param(row, id=", ".join(row), marks=marks)


@pytest.mark.parametrize("row", [entry(number, row) for number, row in enumerate(TABLE)])
def test_fifty_updates_are_the_same_everywhere(
    row: tuple[str, ...], batches: list[Batch], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    graph = network(row)
    assert graph.training is not None
    start = initial_weights(graph)
    write_weights(tmp_path / "start.safetensors", start)
    emitted = {name: backends.get(name).emit(graph) for name in BACKENDS}
    found = {name: trained(graph, name, batches) for name in BACKENDS}
    monkeypatch.setitem(sys.modules, "cnnspec", None)  # an import of it fails
    for name in BACKENDS:
        with precise(name):
            found[f"{name} alone"] = alone(emitted[name], tmp_path / "start.safetensors", batches)
    for name, weights in found.items():
        for key, right in found["torch"].items():
            assert distance(weights[key], right) < EXACT, (name, key)
    moved = {key for key, value in found["torch"].items() if (value != start[key]).any()}
    assert moved == {key for key in start if "conv2" not in key or not graph.training.groups}


def test_the_table_has_every_word() -> None:
    assert {key for key, _ in MADE.values()} == set(OPTIMIZERS)
    assert set(RATES) == set(SCHEDULES)
    assert len(TABLE) < 150
    for i, j in itertools.combinations(range(len(FACTORS)), 2):
        pairs = set(itertools.product(FACTORS[i], FACTORS[j]))
        assert {(row[i], row[j]) for row in TABLE} == pairs


# --- schedules ---------------------------------------------------------------------------------

SCHEDULED = [
    f"{key}: {{{', '.join(filter(None, (fields, every, more)))}}}"
    for key, fields, more in [
        ("constant", "", ""),
        ("constant", "", "warmup: 3"),
        ("exponential", "gamma: 0.9", ""),
        ("exponential", "gamma: 0.9", "warmup: 2"),
        ("step", "size: 3", ""),
        ("step", "size: 2, gamma: 0.3", "warmup: 2"),
        ("multi_step", "milestones: [3, 7]", ""),
        ("multi_step", "milestones: [4]", "warmup: 1"),
        ("cosine", "", ""),
        ("cosine", "end: 0.003", "warmup: 2"),
        ("cosine", "length: 7", ""),
        ("polynomial", "", "warmup: 5"),
        ("polynomial", "power: 0.7, end: 0.01", ""),
        ("polynomial", "power: 3, length: 6", "warmup: 2"),
        ("one_cycle", "", ""),
        ("one_cycle", "rise: 0.15, start_div: 7, end_div: 30", "warmup: 1"),
        ("one_cycle", "length: 5", ""),
    ]
    for every in ("every: epoch", "every: update")
]


def training_of(schedule: str, epochs: int = 10) -> Training:
    text = SPEC.replace("{lr: 0.1}}", f"{{lr: 0.3}}}}, epochs: {epochs}, schedule: {{{schedule}}}")
    training = cnnspec.load(text).training
    assert training is not None
    return training


def emitted_rates(schedule: str, per_epoch: int, count: int, backend: str) -> list[float]:
    """By the function of an emitted file and nothing else in it."""
    graph = cnnspec.load(SPEC)
    text = backends.get(backend).emit(replace(graph, training=training_of(schedule))).text
    found = text.index("def learning_rate")
    scope: dict[str, Any] = {"math": math}
    exec(text[found : text.index("\n\n\n", found)], scope)  # noqa: S102 - our own text
    return [scope["learning_rate"](update, per_epoch) for update in range(count)]


@pytest.mark.parametrize("schedule", SCHEDULED)
def test_the_emitted_rate_is_the_formula_bit_for_bit(schedule: str) -> None:
    training = training_of(schedule)
    for per_epoch in (1, 7):
        count = 12 * per_epoch  # and beyond the end
        wanted = [training.learning_rate(update, per_epoch) for update in range(count)]
        for backend in BACKENDS:
            assert emitted_rates(schedule, per_epoch, count, backend) == wanted
        assert all(type(rate) is float for rate in wanted)


@pytest.mark.parametrize("every", ["epoch", "update"])
@pytest.mark.parametrize(
    ("schedule", "name", "options"),
    [
        ("exponential: {gamma: 0.9, %s}", "ExponentialLR", {"gamma": 0.9}),
        ("step: {size: 3, %s}", "StepLR", {"step_size": 3}),
        ("multi_step: {milestones: [3, 7], %s}", "MultiStepLR", {"milestones": [3, 7]}),
        (
            "cosine: {end: 0.003, length: 8, %s}",
            "CosineAnnealingLR",
            {"T_max": 8, "eta_min": 0.003},
        ),
        ("polynomial: {length: 8, power: 2, %s}", "PolynomialLR", {"total_iters": 8, "power": 2}),
        (
            "constant: {warmup: 4, %s}",
            "LinearLR",
            {"start_factor": 0.25, "total_iters": 3},
        ),
    ],
)
def test_schedules_are_those_of_torch(
    schedule: str, name: str, options: dict[str, Any], every: str
) -> None:
    import torch

    training = training_of(schedule % f"every: {every}")
    optimizer = torch.optim.SGD([torch.zeros(1)], lr=0.3)
    judge = getattr(torch.optim.lr_scheduler, name)(optimizer, **options)
    per_epoch = 3
    for t in range(9):  # torch's cosine comes back after its end
        update = t * per_epoch + 1 if every == "epoch" else t
        (wanted,) = judge.get_last_lr()
        assert training.learning_rate(update, per_epoch) == pytest.approx(
            wanted, rel=1e-12, abs=1e-16
        )
        optimizer.step()
        judge.step()


def test_a_warm_up_comes_first_and_ends_at_the_rate_itself() -> None:
    training = training_of("cosine: {every: update, warmup: 4}", epochs=2)
    rates = [training.learning_rate(update, 7) for update in range(16)]
    assert rates[:4] == pytest.approx([0.075, 0.15, 0.225, 0.3], rel=1e-15)
    assert rates[4] == 0.3
    assert rates[9] == pytest.approx(0.15, rel=1e-14)  # half of the ten that are left
    assert rates[14] == rates[15] == 0.0


def test_a_cycle_goes_up_and_down() -> None:
    training = training_of("one_cycle: {rise: 0.25, start_div: 10, end_div: 100}", epochs=8)
    rates = [training.learning_rate(epoch, 1) for epoch in range(10)]
    assert rates[0] == pytest.approx(0.03, rel=1e-15)
    assert rates[1] == pytest.approx((0.03 + 0.3) / 2, rel=1e-14)
    assert rates[2] == 0.3
    assert rates[5] == pytest.approx((0.3 + 0.0003) / 2, rel=1e-14)
    assert rates[8] == rates[9] == pytest.approx(0.0003, rel=1e-12)


@pytest.mark.parametrize(
    ("schedule", "code", "words"),
    [
        ("constant: {warmup: 31, every: update}", "schedule-too-long", "needs 31 updates"),
        ("cosine: {length: 31, every: update}", "schedule-too-long", "the run has 30"),
        ("multi_step: {milestones: [2, 30], every: update}", "schedule-too-long", "31 updates"),
        ("exponential: {gamma: 1.0e+30, every: update}", "rate-not-finite", "the last of 30"),
    ],
)
def test_a_schedule_that_the_data_cut_short(schedule: str, code: str, words: str) -> None:
    with pytest.raises(DataError) as caught:
        require_schedule(training_of(schedule), 3)
    (diagnostic,) = caught.value.diagnostics
    assert diagnostic.code == code
    assert words in diagnostic.message
    require_schedule(training_of(schedule.replace("+30", "+1")), 4)


def test_where_rounding_leaves_no_variance_an_update_stays_finite() -> None:
    """A constant gradient has none: torch's own centered RMSprop takes the root of -1e-17."""
    import torch

    from cnnspec.backends.torch.helpers.optimizer import CenteredRMSprop

    gradient = torch.tensor(np.random.default_rng(0).normal(size=1000))

    def moved(optimizer: Any, **options: Any) -> torch.Tensor:
        parameter = torch.zeros(1000, dtype=torch.float64, requires_grad=True)
        made = optimizer([parameter], lr=1e-3, alpha=0.9, eps=1e-8, **options)
        for _ in range(400):
            parameter.grad = gradient.clone()
            made.step()
        return parameter.detach()

    assert moved(torch.optim.RMSprop, centered=True).isnan().any()
    assert moved(CenteredRMSprop).isfinite().all()
