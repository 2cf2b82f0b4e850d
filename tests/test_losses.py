"""Every loss with every option: against its definition, torch's own, and among the back ends."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
import torch.nn.functional as F
from scipy import special

from cnnspec.backends import get
from cnnspec.backends.base import At, Evaluation, Gradients, Session
from cnnspec.check import samples
from cnnspec.check.api import check_graph
from cnnspec.check.engines import engines
from cnnspec.check.options import Options
from cnnspec.graph import Graph
from cnnspec.training import LOSSES
from tests.networks import BACKENDS, data, distance, graph

Array = npt.NDArray[Any]
SPACES = ((), (3,), (2, 3), (2, 1, 3))
CHANNELS = 4
W = [0.5, 1.0, 2.0, 0.3]


@dataclass(frozen=True)
class Case:
    """A loss as a spec has it, and what it means.

    Attributes:
        written: in YAML.
        meaning: of outputs and targets, both (rows, C) or for labels (rows,): the sum and its
            weight; of complex outputs as well.
        torch: the same mean by torch's own functions, of (rows, C), where there is one.
    """

    written: str
    meaning: Callable[[Any, Any], tuple[Any, Any]]
    torch: Callable[[Any, Any], Any] | None = None

    @property
    def key(self) -> str:
        return self.written.strip("{").partition(":")[0]


def softmax(z: Any) -> Any:
    e = np.exp(z)
    return e / e.sum(1, keepdims=True)


def onehot(labels: Any) -> Any:
    return np.eye(CHANNELS)[labels]


def positive(x: Any) -> Any:
    return np.where(x.real > 0, x, 0)


def soft(z: Any, q: Any, e: float = 0.0, w: Any = (1.0,) * CHANNELS, norm: bool = False) -> Any:
    """Cross entropy of probabilities, smoothed by e, of channels with weights w."""
    smoothed = (1 - e) * q + e / CHANNELS
    total = -(np.asarray(w) * smoothed * np.log(softmax(z))).sum()
    return total, (q * w).sum() if norm else len(q)


def yes_or_no(z: Any, t: Any, e: float = 0.0, w: Any = 1.0) -> Any:
    t = (1 - e) * t + e / 2
    p = 1 / (1 + np.exp(-z))
    return -(w * t * np.log(p) + (1 - t) * np.log(1 - p)).sum(), t.size


def multi_margin(y: Any, labels: Any) -> Any:
    total = 0
    for row, label in zip(y, labels, strict=True):
        total += sum(positive(1 - row[label] + row[c]) for c in range(CHANNELS) if c != label)
    return total / CHANNELS, len(labels)


def huber(e: Any, delta: float) -> Any:
    far = np.abs(e.real) > delta
    return np.where(far, delta * (e * np.sign(e.real) - delta / 2), e * e / 2).sum(), e.size


def bce(z: Any, t: Any, e: float = 0.0, **options: Any) -> Any:
    return F.binary_cross_entropy_with_logits(z, (1 - e) * t + e / 2, **options)


PER_CLASS = torch.tensor(W, dtype=torch.float64)
CASES = {
    "plain": Case("cross_entropy", lambda z, t: soft(z, onehot(t)), F.cross_entropy),
    "smooth": Case(
        "{cross_entropy: {label_smoothing: 0.3}}",
        lambda z, t: soft(z, onehot(t), 0.3),
        lambda z, t: F.cross_entropy(z, t, label_smoothing=0.3),
    ),
    "sum_w": Case(
        f"{{cross_entropy: {{class_weights: {W}, weight_norm: sum_w}}}}",
        lambda z, t: soft(z, onehot(t), w=W, norm=True),
        lambda z, t: F.cross_entropy(z, t, PER_CLASS),
    ),
    "batch": Case(
        f"{{cross_entropy: {{class_weights: {W}, weight_norm: batch}}}}",
        lambda z, t: soft(z, onehot(t), w=W),
        lambda z, t: F.cross_entropy(z, t, PER_CLASS, reduction="none").mean(),
    ),
    "smooth_sum_w": Case(
        f"{{cross_entropy: {{label_smoothing: 0.3, class_weights: {W}, weight_norm: sum_w}}}}",
        lambda z, t: soft(z, onehot(t), 0.3, W, norm=True),
        lambda z, t: F.cross_entropy(z, t, PER_CLASS, label_smoothing=0.3),
    ),
    "smooth_batch": Case(
        f"{{cross_entropy: {{label_smoothing: 0.3, class_weights: {W}, weight_norm: batch}}}}",
        lambda z, t: soft(z, onehot(t), 0.3, W),
        lambda z, t: F.cross_entropy(z, t, PER_CLASS, reduction="none", label_smoothing=0.3).mean(),
    ),
    "soft": Case("{cross_entropy: {targets: probabilities}}", soft, F.cross_entropy),
    "soft_smooth": Case(
        "{cross_entropy: {targets: probabilities, label_smoothing: 0.3}}",
        lambda z, t: soft(z, t, 0.3),
        lambda z, t: F.cross_entropy(z, t, label_smoothing=0.3),
    ),
    "soft_sum_w": Case(
        "{cross_entropy: {targets: probabilities, label_smoothing: 0.3, "
        f"class_weights: {W}, weight_norm: sum_w}}}}",
        lambda z, t: soft(z, t, 0.3, W, norm=True),
    ),
    "soft_batch": Case(
        f"{{cross_entropy: {{targets: probabilities, class_weights: {W}, weight_norm: batch}}}}",
        lambda z, t: soft(z, t, w=W),
        lambda z, t: F.cross_entropy(z, t, PER_CLASS),
    ),
    "binary": Case("binary_cross_entropy", yes_or_no, bce),
    "binary_smooth": Case(
        "{binary_cross_entropy: {label_smoothing: 0.3}}",
        lambda z, t: yes_or_no(z, t, 0.3),
        lambda z, t: bce(z, t, 0.3),
    ),
    "binary_weight": Case(
        "{binary_cross_entropy: {pos_weight: 2.7}}",
        lambda z, t: yes_or_no(z, t, w=2.7),
        lambda z, t: bce(z, t, pos_weight=torch.full((), 2.7, dtype=torch.float64)),
    ),
    "binary_weights": Case(
        f"{{binary_cross_entropy: {{label_smoothing: 0.3, pos_weight: {W}}}}}",
        lambda z, t: yes_or_no(z, t, 0.3, np.array(W)),
        lambda z, t: bce(z, t, 0.3, pos_weight=PER_CLASS),
    ),
    "squared": Case("mean_squared_error", lambda y, t: (((y - t) ** 2).sum(), t.size), F.mse_loss),
    "absolute": Case(
        "mean_absolute_error",
        lambda y, t: (((y - t) * np.sign((y - t).real)).sum(), t.size),
        F.l1_loss,
    ),
    "huber": Case("huber", lambda y, t: huber(y - t, 1.0), F.huber_loss),
    "huber_delta": Case(
        "{huber: {delta: 0.3}}",
        lambda y, t: huber(y - t, 0.3),
        lambda y, t: F.huber_loss(y, t, delta=0.3),
    ),
    "hinge": Case(
        "hinge",
        lambda y, t: (positive(1 - t * y).sum(), t.size),
        lambda y, t: F.relu(1 - t * y).mean(),
    ),
    "squared_hinge": Case(
        "squared_hinge",
        lambda y, t: ((positive(1 - t * y) ** 2).sum(), t.size),
        lambda y, t: (F.relu(1 - t * y) ** 2).mean(),
    ),
    "multi_margin": Case("multi_margin", multi_margin, F.multi_margin_loss),
    "divergence": Case(
        "kl_divergence",
        lambda z, q: ((q * (np.log(np.where(q > 0, q, 1)) - np.log(softmax(z)))).sum(), len(q)),
        lambda z, q: F.kl_div(F.log_softmax(z, 1), q, reduction="batchmean"),
    ),
}

each_space = pytest.mark.parametrize("space", SPACES, ids=len)
each_backend = pytest.mark.parametrize("backend", BACKENDS)
each_case = pytest.mark.parametrize("name", CASES)


@cache
def network(space: tuple[int, ...]) -> Graph:
    """An input for each case, which is its output as well."""
    shape = [CHANNELS, *space]
    text = "cnnspec: 1\nname: losses\ninput: {%s}\nlayers:\n%s\noutputs: {%s}\ntrain: %s\n"
    losses = ", ".join(f"{name}: {case.written}" for name, case in CASES.items())
    return graph(
        text
        % (
            ", ".join(f"in_{name}: {shape}" for name in CASES),
            "\n".join(f"- layer_scale: {{name: {name}, from: in_{name}}}" for name in CASES),
            ", ".join(f"{name}: {name}" for name in CASES),
            f"{{loss: {{{losses}}}, optimizer: {{sgd: {{lr: 1}}}}}}",
        )
    )


def opened(net: Graph, backend: str, dtype: Any = "float64", **options: Any) -> Session:
    made = get(backend)
    session = made.open(made.emit(net), dtype=dtype, **options)
    session.assign({name: np.ones_like(value) for name, value in session.weights().items()})
    return session


Batch = tuple[dict[str, Array], dict[str, Array]]


def batch(space: tuple[int, ...], seed: int = 0, size: int = 5) -> Batch:
    net = network(space)
    inputs, targets = samples.inputs(net, seed, 0, size), samples.targets(net, seed, 0, size)
    targets["divergence"][0, 1:] = 0  # 0 log 0 is 0, and a certain target is a target
    targets["divergence"][0, 0] = 1
    return inputs, targets


def rows(array: Array) -> Array:
    """(N, C, *space) as (N * space, C), labels as (N * space,)."""
    return np.moveaxis(array, 1, -1).reshape(-1, array.shape[1])


@dataclass(frozen=True)
class Run:
    """What a back end finds of a batch."""

    loss: Evaluation
    gradients: Gradients


@cache
def run(space: tuple[int, ...], backend: str) -> Run:
    session = opened(network(space), backend)
    try:
        inputs, targets = batch(space)
        gradients = session.gradients(inputs, targets=targets)
        return Run(session.evaluate(inputs, targets, training=True), gradients)
    finally:
        session.close()


def wanted(case: Case, outputs: Array, target: Array) -> tuple[float, float, Array]:
    """Sum, weight, and the gradient of the mean by a complex step, which rounds nothing."""
    z, t = rows(outputs), target.reshape(-1) if target.ndim < outputs.ndim else rows(target)
    total, weight = case.meaning(z.astype(complex), t)
    gradient = np.empty_like(z)
    for index in np.ndindex(*z.shape):
        moved = z.astype(complex)
        moved[index] += 1e-30j
        gradient[index] = case.meaning(moved, t)[0].imag / 1e-30 / weight
    return float(total.real), float(weight), gradient


def test_there_is_a_case_for_every_loss() -> None:
    assert {case.key for case in CASES.values()} == set(LOSSES)


@each_space
@each_backend
@each_case
def test_a_loss_is_its_definition(space: tuple[int, ...], backend: str, name: str) -> None:
    inputs, targets = batch(space)
    total, weight, gradient = wanted(CASES[name], inputs[f"in_{name}"], targets[name])
    found = run(space, backend)
    assert found.loss.losses[name][0] == pytest.approx(total, rel=1e-14)
    assert found.loss.losses[name][1] == pytest.approx(weight, rel=1e-15)
    assert distance(gradient, rows(found.gradients.inputs[f"in_{name}"])) < 1e-14


@each_space
@each_case
def test_a_loss_is_torchs_own(space: tuple[int, ...], name: str) -> None:
    own = CASES[name].torch
    if own is None:  # of weights and probabilities together torch divides by the batch
        assert name == "soft_sum_w"
        return
    inputs, targets = batch(space)
    z = torch.tensor(rows(inputs[f"in_{name}"]), requires_grad=True)
    target = targets[name]
    t = target.reshape(-1) if target.ndim < inputs[f"in_{name}"].ndim else rows(target)
    mean = own(z, torch.tensor(t))
    mean.backward()
    found = run(space, "numpy")
    total, weight = found.loss.losses[name]
    assert total / weight == pytest.approx(mean.item(), rel=1e-14)
    assert z.grad is not None
    assert distance(z.grad.numpy(), rows(found.gradients.inputs[f"in_{name}"])) < 1e-14


# --- kinks, extremes, sums ---------------------------------------------------------------------

KINKS: dict[str, tuple[list[float], Any, list[float]]] = {
    "absolute": ([0.5, -2.0, 0.5, 0.5], [0.5, -2.0, 1.0, 0.0], [0, 0, -1, 1]),
    "huber": ([1.0, -1.0, 3.0, 0.0], [0.0, 0.0, 1.0, 0.0], [1, -1, 1, 0]),
    "hinge": ([1.0, -1.0, 0.0, 1.0], [1.0, -1.0, 1.0, -1.0], [0, 0, -1, 1]),
    "squared_hinge": ([1.0, -1.0, 0.0, 1.0], [1.0, -1.0, 1.0, -1.0], [0, 0, -2, 4]),
    "multi_margin": ([1.0, 0.0, 0.5, 0.0], 0, [-0.25, 0, 0.25, 0]),
}
"""Outputs and targets of one sample at kinks, and the gradient of the sum."""


@each_backend
def test_gradients_at_kinks(backend: str) -> None:
    inputs, targets = batch((), size=1)
    for name, (outputs, target, _) in KINKS.items():
        inputs[f"in_{name}"] = np.array([outputs])
        targets[name] = np.array([target], targets[name].dtype)
    session = opened(network(()), backend)
    found = session.gradients(inputs, targets=targets)
    session.close()
    for name, (_, _, gradient) in KINKS.items():
        weight = 1 if name == "multi_margin" else CHANNELS
        np.testing.assert_array_equal(found.inputs[f"in_{name}"][0] * weight, gradient, name)


FAR = [1000.0, -1000.0, 0.0, 1000.0]
EXTREMES: dict[str, tuple[Any, float, list[float]]] = {
    "plain": (1, 2000 + np.log(2), [0.5, -1, 0, 0.5]),
    "smooth": (0, np.log(2) + 0.075 * 3000, [0.5 - 0.775, -0.075, -0.075, 0.5 - 0.075]),
    "batch": (1, 2000 + np.log(2), [0.5, -1, 0, 0.5]),
    "soft": ([0, 0.5, 0, 0.5], 1000 + np.log(2), [0.5, -0.5, 0, 0]),
    "binary": ([0, 1, 0.5, 1], 2000 + np.log(2), [1, -1, 0, 0]),
    "binary_weight": ([0, 1, 0.5, 1], 3700 + 1.85 * np.log(2), [1, -2.7, 0.5 - 1.85 / 2, 0]),
    "divergence": ([0, 0.5, 0, 0.5], 1000, [0.5, -0.5, 0, 0]),
    "huber": ([0, 0, 0, 1000], 1999, [1, -1, 0, 0]),
    "squared": ([0, 0, 0, 1000], 2e6, [2000, -2000, 0, 0]),
    "hinge": ([1, 1, 1, -1], 1001 + 1 + 1001, [0, -1, -1, 1]),
    "multi_margin": (1, (2001 + 1001 + 2001) / 4, [0.25, -0.75, 0.25, 0.25]),
}
"""Targets of one sample whose outputs are `FAR`, the sum, and its gradient."""


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@each_backend
def test_extreme_outputs(backend: str, dtype: Any) -> None:
    inputs, targets = batch((), size=1)
    inputs = {name: np.array([FAR]) for name in inputs}
    for name, (target, _, _) in EXTREMES.items():
        targets[name] = np.array([target], targets[name].dtype)
    session = opened(network(()), backend, dtype)
    found = session.gradients(inputs, targets=targets)
    losses = session.evaluate(inputs, targets, training=True).losses
    session.close()
    close = 1e-6 if dtype == "float32" else 1e-14
    for name in CASES:
        gradient = found.inputs[f"in_{name}"][0] * losses[name][1]
        assert np.isfinite(gradient).all(), name
        assert np.isfinite(losses[name][0]), name
        if name in EXTREMES:
            _, total, wanted_gradient = EXTREMES[name]
            assert losses[name][0] == pytest.approx(total, rel=close), name
            np.testing.assert_allclose(gradient, wanted_gradient, rtol=close, atol=close)


@each_backend
def test_sums_and_weights_of_parts_add_up(backend: str) -> None:
    inputs, targets = batch((2, 3), size=5)
    session = opened(network((2, 3)), backend)
    parts = [
        session.evaluate(
            {name: x[at] for name, x in inputs.items()},
            {name: t[at] for name, t in targets.items()},
            training=True,
        ).losses
        for at in (slice(0, 2), slice(2, 5))
    ]
    session.close()
    whole = run((2, 3), backend).loss.losses
    for name, (total, weight) in whole.items():
        assert parts[0][name][0] + parts[1][name][0] == pytest.approx(total, rel=1e-14), name
        assert parts[0][name][1] + parts[1][name][1] == pytest.approx(weight, rel=1e-15), name


# --- sessions ----------------------------------------------------------------------------------

FOLDS = {
    "cross_entropy": "softmax",
    "{cross_entropy: {label_smoothing: 0.1}}": "softmax",
    "{cross_entropy: {targets: probabilities}}": "log_softmax",
    "{binary_cross_entropy: {pos_weight: 3}}": "sigmoid",
    "binary_cross_entropy": "sigmoid",
    "kl_divergence": "softmax",
}


ACTIVATIONS: dict[str, Callable[[Array], Array]] = {
    "softmax": lambda x: special.softmax(x, axis=1),
    "log_softmax": lambda x: special.log_softmax(x, axis=1),
    "sigmoid": special.expit,
}


def trained(backend: str, loss: str, last: str) -> tuple[Any, ...]:
    """Output, loss and gradient of a classifier, and its losses before two updates."""
    ending = f"\n- {last}" if last else ""
    net = graph(
        f"cnnspec: 1\nname: net\ninput: [2, 5]\nlayers:\n- conv: {{name: c, filters: {CHANNELS}, "
        f"kernel: 3}}{ending}\ntrain: {{loss: {loss}, optimizer: {{sgd: {{lr: 0.1}}}}}}\n"
    )
    weights, inputs, targets = data(net)
    made = get(backend)
    session = made.open(made.emit(net), dtype="float64")
    session.assign(weights)
    try:
        found = session.gradients(inputs, targets=targets)
        output = session.forward(inputs)["output"]
        losses = [session.step(inputs, targets, at=At(update)) for update in range(2)]
        return output, found.loss, found.parameters["c.weight"], losses
    finally:
        session.close()


@pytest.mark.parametrize(("loss", "last"), FOLDS.items())
@each_backend
def test_a_last_activation_that_the_loss_contains(loss: str, last: str, backend: str) -> None:
    output, folded, gradient, losses = trained(backend, loss, last)
    scores, bare, same, as_before = trained("numpy", loss, "")
    assert distance(output, ACTIVATIONS[last](scores)) < 1e-14
    assert folded == pytest.approx(bare, rel=1e-14)
    assert distance(gradient, same) < 1e-14
    assert losses == pytest.approx(as_before, rel=1e-13)


@pytest.mark.parametrize("eager", [True, False])
def test_keras_trains_on_every_loss(eager: bool) -> None:
    session = opened(network((3,)), "keras", eager=eager)
    inputs, targets = batch((3,))
    before = run((3,), "keras")
    assert session.step(inputs, targets) == pytest.approx(before.gradients.loss, rel=1e-14)
    after = session.weights()
    session.close()
    for name, gradient in before.gradients.parameters.items():
        np.testing.assert_allclose(after[name], 1 - gradient, rtol=1e-14)


# --- check -------------------------------------------------------------------------------------


def test_check_agrees_on_all_losses() -> None:
    agreed(network((2,)))


@pytest.mark.nightly
@pytest.mark.parametrize("last", ["", "softmax", "sigmoid", "tanh"])
@each_case
def test_check_agrees_on_a_network_with_a_loss(name: str, last: str) -> None:
    ending = f"\n- {last}" if last else ""
    agreed(
        graph(
            "cnnspec: 1\nname: net\ninput: [2, 6, 5]\nlayers:\n- conv: {filters: 3, kernel: 3}\n"
            f"- relu\n- conv: {{filters: {CHANNELS}, kernel: 1}}{ending}\n"
            f"train: {{loss: {CASES[name].written}, optimizer: {{sgd: {{lr: 0.1}}}}}}\n"
        )
    )


def agreed(net: Graph) -> None:
    with engines(["torch", "keras"], in_process=True) as made:
        report = check_graph(net, "net.yaml", Options(backends=BACKENDS), made)
    assert report.status == "agree", [d.message for d in report.diagnostics]
    assert {c.quantity for c in report.comparisons} >= {"step"}
