"""Laws of ops and backends, as functions that third parties can call in their own tests."""

from __future__ import annotations

import ast
import traceback
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from hypothesis import HealthCheck, given, settings

from cnnspec import plugins
from cnnspec.api import read
from cnnspec.backends import BUILT_IN, At, Backend, Emitted, Session, Style, get
from cnnspec.backends.program import audit, instrument, remove_taps
from cnnspec.check import check, effort, samples
from cnnspec.check.bounds import feeds
from cnnspec.diagnostics import DataError, SpecError
from cnnspec.graph import Graph
from cnnspec.ops.base import Op, registered
from cnnspec.ops.initializer import Constant, Ones, Zeros
from cnnspec.testing.gradients import check_gradients
from cnnspec.testing.networks import networks

Array = npt.NDArray[Any]

REFERENCE = "numpy"
EXAMPLES = 10
STEPS = 2

ROUNDINGS = 256
"""Units in the last place of the largest value that the order of a sum may make."""


def check_op(
    op: type[Op], *, backends: Sequence[str] = tuple(BUILT_IN), examples: int = EXAMPLES
) -> None:
    """Hold an op to its laws on random networks that contain it.

    The reference's gradients are those of finite differences, fresh models have the spec's
    initial values, and all backends agree in float64 on outputs, gradients, running statistics
    and training steps. A backend that states that it cannot express the op is left out; a
    strategy for its fields has to be registered in `cnnspec.testing.OPS`.

    Args:
        op: a registered op class.
        backends: names; the reference is always among them.
        examples: number of networks.

    Raises:
        AssertionError: a law is broken; the network that shows it is the smallest one found.
        LookupError: the op has no strategy.
    """
    _for_each(networks(having=op), examples, lambda text: check_network(text, backends))


def check_network(text: str, backends: Sequence[str] = tuple(BUILT_IN)) -> None:
    """Hold one network to the laws of `check_op`.

    Raises:
        AssertionError: a gradient or an initial value is wrong, or two backends disagree.
    """
    graph = read(text).graph
    check_gradients(graph)
    able = [name for name in (REFERENCE, *backends) if expresses(get(name), graph)]
    able = list(dict.fromkeys(able))
    for name in able:
        _with_session(get(name), graph, lambda fresh: check_start(graph, fresh.weights()))
    if len(able) > 1:
        agree(graph, able)


def agree(graph: Graph, backends: Sequence[str]) -> None:
    """Check a graph in this process, in float64.

    Raises:
        AssertionError: with the first layer that differs, or with what broke on the way.
    """
    try:
        report = check(graph, backends=backends, in_process=True, dtype="float64", steps=STEPS)
    except Exception:
        # Each emitted text is a file of its own, so that hypothesis would take one error for
        # another in each, and not look for the smallest network.
        raise AssertionError(traceback.format_exc()) from None
    (found,) = report.specs
    notes = [note for d in found.diagnostics for note in (d.message, *d.notes)]
    assert report, (found.status, found.first_difference, notes)


def expresses(backend: Backend, graph: Graph) -> bool:
    """Whether a backend has a spelling for every op of a graph, or says that it has none."""
    try:
        backend.emit(graph)
    except SpecError as fault:
        if {diagnostic.code for diagnostic in fault.diagnostics} != {"unsupported-op"}:
            raise
        return False
    return True


def check_backend(backend: str | Backend, *, examples: int = EXAMPLES) -> None:
    """Hold a backend to its laws.

    It spells every built-in op, or states that it cannot; it writes text that passes the audit,
    the same text every time; and its sessions keep the laws of `check_session`, on random
    networks of all ops that it spells.

    Args:
        backend: a name, or one made by hand.
        examples: number of networks for each of the two styles.

    Raises:
        AssertionError: a law is broken.
    """
    made = get(backend) if isinstance(backend, str) else backend
    for op in registered():
        said = made.column.get(op.part or op) is not None
        assert said or not plugins.built_in(op), f"{made.name} has no cell for `{op.key}`"
        _for_each(networks(having=op, layers=0), 2, lambda text: _check_text(made, text))
    _for_each(networks(), examples, lambda text: _check_text(made, text))
    _for_each(networks(), examples, lambda text: _check_session(made, text))


def _for_each(strategy: Any, examples: int, law: Callable[[str], object]) -> None:
    @settings(
        max_examples=examples,
        derandomize=True,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(strategy)
    def holds(text: str) -> None:
        law(text)

    holds()


def _check_text(backend: Backend, text: str) -> None:
    graph = read(text).graph
    if not expresses(backend, graph):
        return
    for style in (Style(), Style(random="counter")):
        emitted = backend.emit(graph, style)
        assert emitted == backend.emit(graph, style), "two emissions differ"
        assert set(emitted.slots) == set(graph.params()), "a slot for each parameter"
        assert set(emitted.lines) == {node.id for node in graph.nodes}, "a place for each node"
        check_taps(emitted, backend.imports)


def check_taps(emitted: Emitted, imports: Collection[str]) -> None:
    """The audit passes, and a tapped tree with its taps removed is the tree of the text.

    Args:
        emitted: by a back end.
        imports: the modules that its files may import.

    Raises:
        AssertionError: it is not.
        AuditError: the text does what emitted text never does.
    """
    tree = audit(emitted.text, imports)
    plain = ast.dump(tree)
    tapped = instrument(audit(emitted.text, imports), emitted.lines)
    assert ast.dump(remove_taps(tapped)) == plain, "taps change the text"


def _check_session(backend: Backend, text: str) -> None:
    graph = read(text).graph
    if not expresses(backend, graph):
        return
    _with_session(backend, graph, lambda session: check_session(graph, session))


def _with_session(backend: Backend, graph: Graph, law: Callable[[Session], None]) -> None:
    session = backend.open(backend.emit(graph, Style(random="counter")), dtype="float64")
    try:
        law(session)
    finally:
        session.close()


def check_session(graph: Graph, session: Session) -> None:
    """Hold a float64 session of the reproducible text to what every session promises.

    A fresh model has the spec's initial values. Weights come back as they were assigned, as
    copies; wrong ones are refused. Nothing but a step and a training pass changes them. A trace
    has the values of a forward pass, and fed with its own values it finds them again, to rounding.

    Raises:
        AssertionError: a law is broken.
    """
    weights = samples.weights(graph, graph.seed)
    sample = samples.sample(graph, graph.seed, 0, effort.batch_size(graph))
    check_start(graph, session.weights())
    session.assign(weights)
    _same(session.weights(), weights, "weights come back as assigned")
    for value in session.weights().values():
        value.fill(7.0)
    _same(session.weights(), weights, "weights are copies")
    _check_refusals(session, weights)
    at = At(2)
    for training in (False, True):
        options: dict[str, Any] = {"training": training, "at": at}
        trace = session.trace(sample.inputs, cotangents=sample.cotangents, **options)
        _same(session.weights(), weights, "a trace changes no weights")
        found = session.gradients(sample.inputs, cotangents=sample.cotangents, **options)
        _same(session.weights(), weights, "gradients change no weights")
        again = session.gradients(sample.inputs, cotangents=sample.cotangents, **options)
        _same(again.parameters, found.parameters, "gradients are repeatable")
        outputs = session.forward(sample.inputs, **options)
        moved = session.weights()
        session.assign(weights)
        _same(outputs, trace.outputs, "forward gives what a trace gives")
        _same(outputs, found.outputs, "forward gives what gradients give")
        for output in graph.outputs:
            tapped = trace.values[output.value.id]
            _same({output.name: tapped}, {output.name: outputs[output.name]}, "taps see outputs")
        statistics = {name for name, param in graph.params().items() if param.statistic}
        for name, value in moved.items():
            if not training or name not in statistics:
                _same({name: value}, {name: weights[name]}, "a pass moves statistics at most")
        if training:
            _same(trace.statistics, {name: moved[name] for name in statistics}, "statistics")
        feed = feeds(graph.nodes, {**sample.inputs, **trace.values})
        alone = session.trace(sample.inputs, feed=feed, cotangents=trace.gradients, **options)
        _rounded(alone.values, trace.values, "nodes fed with a trace give its values")
        some = {node.id: feed[node.id] for node in graph.nodes[1::2]}
        gradients = {node: trace.gradients[node] for node in some}
        part = session.trace(sample.inputs, feed=some, cotangents=gradients, **options)
        wanted = {node: trace.values[node] for node in some}
        _rounded(part.values, wanted, "where some nodes are fed, these answer, and no others")
    if graph.training is not None:
        _check_training(graph, session, weights, sample)


def check_start(graph: Graph, weights: Mapping[str, Array]) -> None:
    """A fresh model's constants are the spec's, as float32 has them; what is drawn is none.

    Raises:
        AssertionError: a parameter starts with something else.
    """
    for name, param in graph.params().items():
        value = weights[name]
        law = f"{name} starts as {param.init!r} says"
        match param.init:
            case Zeros():
                assert not value.any(), law
            case Ones():
                assert (value == 1).all(), law
            case Constant(value=wanted):
                assert np.allclose(value, wanted, rtol=2.0**-23, atol=0), law
            case _:
                assert value.size == 1 or value.min() < value.max(), law


def _check_refusals(session: Session, weights: Mapping[str, Array]) -> None:
    wrong: list[dict[str, Array]] = [{**weights, "no_such_layer.weight": np.zeros(1)}]
    for name in list(weights)[:1]:
        wrong.append({key: value for key, value in weights.items() if key != name})
        wrong.append({**weights, name: np.zeros((*weights[name].shape, 2))})
    for case in wrong:
        try:
            session.assign(case)
        except DataError:
            continue
        raise AssertionError("wrong weights are assigned")
    _same(session.weights(), weights, "refused weights change nothing")


def _check_training(
    graph: Graph, session: Session, weights: Mapping[str, Array], sample: samples.Sample
) -> None:
    assert graph.training is not None
    size = len(next(iter(sample.inputs.values())))
    targets = samples.targets(graph, graph.seed, 0, size)
    found = session.gradients(sample.inputs, targets=targets)
    runs = []
    for _ in range(2):
        session.assign(weights)
        session.reset()
        losses = [session.step(sample.inputs, targets, at=At(n)) for n in range(STEPS)]
        runs.append((losses, session.weights()))
    assert runs[0][0] == runs[1][0], "a reset forgets the optimizer's state"
    _same(runs[0][1], runs[1][1], "a reset forgets the optimizer's state")
    if not any(node.regularize for node in graph.nodes):  # a penalty is a part of the update's
        assert runs[0][0][0] == found.loss, "a step returns the loss before it"
    rates = session.learning_rates(4, 2)
    assert rates == [session.learning_rate(update, 2) for update in range(4)], "learning rates"
    for update, rate in enumerate(rates):
        wanted = graph.training.learning_rate(update, 2)
        most = 1e-15 * (abs(wanted) + graph.training.optimizer.lr)
        assert abs(rate - wanted) <= most, "learning rates are the schedule's"
    assert session.trains(), "the file has the training functions"


def _same(found: Mapping[str, Array], wanted: Mapping[str, Array], law: str) -> None:
    """Bitwise: it is the same text, on the same machine."""
    assert set(found) == set(wanted), law
    for name, value in wanted.items():
        assert np.array_equal(found[name], value), f"{law}: {name}"


def _rounded(found: Mapping[str, Array], wanted: Mapping[str, Array], law: str) -> None:
    """To rounding: what is fed lies in memory in one piece, and a part of a tensor does not.

    A matrix product is added up in an order that depends on that.
    """
    assert set(found) == set(wanted), law
    for name, value in wanted.items():
        largest = max(1.0, float(np.abs(value).max(initial=0)))
        limit = ROUNDINGS * np.finfo(value.dtype).eps * largest
        apart = float(np.abs(found[name] - value).max(initial=0))
        assert apart <= limit, f"{law}: {name}, {apart} apart"
