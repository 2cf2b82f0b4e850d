"""One network, all engines: what is asked of them, in which order, and how it is judged."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, wait
from typing import Any

import numpy as np
import numpy.typing as npt

from cnnspec import memory
from cnnspec.backends import At, Backend, Emitted, Style, Trace, get
from cnnspec.backends.runtimes import runnable
from cnnspec.check import (
    bounds,
    effort,
    first_update,
    folding,
    initial,
    margin,
    modes,
    probe,
    rate,
    samples,
    single,
    stepping,
    verdict,
)
from cnnspec.check.bounds import UNIT, Bounds
from cnnspec.check.compare import compare
from cnnspec.check.engines import Engine, EngineFailed, Remote
from cnnspec.check.evidence import Evidence
from cnnspec.check.options import Options, SpecReport
from cnnspec.check.quiet import quiet, silence
from cnnspec.check.store import Store
from cnnspec.check.worker import HUGE
from cnnspec.diagnostics import DataError, Diagnostic, SetupError
from cnnspec.graph import Graph, Node
from cnnspec.heap import give_back
from cnnspec.ops.base import Op, show
from cnnspec.passes.inference import optimized
from cnnspec.passes.reduce import reduce
from cnnspec.quantities import REFERENCE
from cnnspec.training import DEFAULT_RATE, default_training
from cnnspec.weights import fit

Array = npt.NDArray[Any]

INFERENCE, TRAINING = modes.INFERENCE, modes.TRAINING
ALONE = ("isolated", "probe")
"""Modes in which each layer is given its inputs."""
HOPELESS = 30
"""Decisions that rounding could flip from which on other inputs will not have none of them."""
ONE_BY_ONE = 1 << 30
"""Bytes of activations, or of weights, from which on engines take turns."""
HEAVY = ("gradients", "step")
"""What they take turns at: there all gradients are at hand at once."""


def run(graph: Graph, spec: str, options: Options, engines: Mapping[str, Engine]) -> SpecReport:
    """Check one network.

    Raises:
        UserError: the spec, the inputs, or the surroundings do not allow it.
    """
    report = SpecReport(spec)
    if options.reduce:
        graph = _reduced(graph, report)
    report.inputs = {entry.name: entry.shape for entry in graph.inputs}
    original = None
    if options.optimize is not None:
        original = _optimized(graph, options, report)
        graph = original.made.graph
        options = dataclasses.replace(options, weights=original.folded())
    checker = Checker(graph, options, engines, report)
    checker.optimized = original
    asked = True
    try:
        checker.run()
    except KeyboardInterrupt:
        asked = False  # an engine may be busy for minutes, and is about to be ended anyway
        raise
    finally:
        checker.close(engines=asked)
    return report


def _reduced(graph: Graph, report: SpecReport) -> Graph:
    small = reduce(graph)
    report.reduced = small is not graph
    if report.reduced:
        shapes = ", ".join(f"`{entry.name}` {show(entry.shape)}" for entry in small.inputs)
        own = ", ".join(show(entry.shape) for entry in graph.inputs)
        report.notes.append(f"reduced to {shapes}; the spec's own size is {own}")
    else:
        report.notes.append(
            "nothing to reduce: the spec's own size is used, as no smaller input keeps every "
            "parameter's shape and every window at work"
        )
    return small


def _optimized(graph: Graph, options: Options, report: SpecReport) -> folding.Original:
    made = optimized(graph)
    count = len(graph.nodes)
    report.notes.append(f"optimized for inference: {len(made.graph.nodes)} layers out of {count}")
    seed = graph.seed if options.seed is None else options.seed
    given = options.weights
    if given is None:
        return folding.Original(graph, samples.weights(graph, seed), made)
    return folding.Original(graph, weights_of(given, graph), made)


def weights_of(given: Mapping[str, Array], graph: Graph) -> dict[str, Array]:
    """Weights that a user gives, in float64.

    Raises:
        DataError: they do not fit.
    """
    return {name: np.asarray(value, np.float64) for name, value in fit(given, graph).items()}


def _trained(graph: Graph, lr: float) -> Graph:
    """The network with the training of one that has no `train:`."""
    names = tuple(output.name for output in graph.outputs)
    return dataclasses.replace(graph, training=default_training(names, lr))


def needs_process(options: Options) -> list[str]:
    """The back ends with an engine of their own; the reference stands in for its own back end."""
    return [n for n in options.backends if n != REFERENCE or n in options.sources]


class Checker:
    """What the parts of a check share: the network, the reference, the engines, the report."""

    def __init__(
        self, graph: Graph, options: Options, engines: Mapping[str, Engine], report: SpecReport
    ) -> None:
        self.original = graph
        if options.sources:
            graph = quiet(graph)
        self.trains = graph.training is not None
        self.graph = graph if self.trains else _trained(graph, DEFAULT_RATE)
        self.silent: set[str] = set()
        self.optimized: folding.Original | None = None
        self.options = options
        self.engines = engines
        self.report = report
        self.evidence = Evidence(self)
        self.seed = graph.seed if options.seed is None else options.seed
        self.reference: Any = None
        self.plain: Any = None
        self.sample: samples.Sample | None = None
        self.reference_stands_in = REFERENCE in options.backends and REFERENCE not in (
            options.sources
        )
        self.sessions: dict[str, dict[str, Remote]] = {}
        self.failed: set[str] = set()
        self.known: dict[tuple[str, bool], modes.Known] = {}
        self.one_by_one = False  # whether engines take turns
        self._opening: list[dict[str, Future[Any]]] = []
        self._own_draws: dict[str, dict[str, initial.Moments]] = {}
        self._store = Store()
        self._judged: set[tuple[str, bool]] = set()  # nodes on their own, and in which mode

    # --- the course of it ----------------------------------------------------------------------

    def run(self) -> None:
        """All of it, in order."""
        self._require_memory()
        self._open()
        sample, known = self._compare_modes()
        first_update.compare(self, known)
        self.sample = sample
        if self.optimized is not None:
            folding.compare(self, self.optimized, sample)
        if not self.options.sources:
            known.answer = Trace()  # gradients of all weights, among others
        if self.one_by_one:
            give_back()
        if "float64" in self.options.dtypes:
            stepping.steps(self, known)
        if self.options.save:
            self._save(sample)
        if not any(c.judged for c in self.report.comparisons) and not self.failed:
            raise SetupError(Diagnostic("nothing-compared", "nothing was compared"))
        wrong = verdict.wrong(self)
        if wrong:  # steps have moved the weights
            self._assign(self.names("float64"), "float64")
            self._assign(self.single(), "float32")
        whole = [c for c in wrong if c.mode != "initial"]
        if any(c.dtype == "float64" for c in whole) and not any(c.mode in ALONE for c in whole):
            self._compare_rest()
        verdict.judge(self)

    def _assign(self, names: Sequence[str], dtype: str) -> None:
        weights = {name: single.rounded(value, dtype) for name, value in self.weights.items()}
        self.tell({name: ("assign", (weights,), {}) for name in names}, dtype)

    def close(self, *, engines: bool = True) -> None:
        """Close every session; the engines live on. Theirs only if they are asked to."""
        for session in (self.reference, self.plain):
            if session is not None:
                session.close()
        self._store.close()
        for name, by_dtype in self.sessions.items():
            if engines and name not in self.failed:
                self._ask({f"{name} {d}": s.call_close() for d, s in by_dtype.items()})

    def _require_memory(self) -> None:
        """Refuse what would not fit, before anything is allocated."""
        batch = self.batch_size()
        tensors = memory.activation_bytes(self.graph, batch), memory.weights_bytes(self.graph)
        self.one_by_one = max(tensors) > ONE_BY_ONE
        memory.require(
            needed_bytes(self.graph, batch, self.options), f"checking `{self.graph.name}`"
        )

    def _open(self) -> None:
        """Open all sessions; engines do so while the reference is at work, until `_join`."""
        from cnnspec.backends.numpy.session import NumpySession

        style = Style(random="counter")
        drawn = None
        if self.options.initializers and {"float64", "float32"} & {*self.options.dtypes}:
            drawn = initial.options(self.graph, self.seed)
        own = drawn is not None and drawn["count"] == 1  # a second model takes its time
        self.weights = self._store.keep(self._start())
        self._open_reference(style, drawn if own and self.reference_stands_in else None)
        if not self.trains:
            self._choose_rate(style)
        emitted: dict[str, Emitted] = {REFERENCE: self.reference.emitted}
        found = {name: runnable(name) for name in self.options.backends}
        for each in found.values():
            if each.backend.name not in emitted:
                chosen = dataclasses.replace(style, layers=self.options.layers)
                emitted[each.backend.name] = self._emit(each.backend, chosen)
        opening: dict[str, Future[Any]] = {}
        for name in needs_process(self.options):
            source = self.options.sources.get(name)
            extra: dict[str, Any] = {"eager": not self.options.graph}
            if source is not None:
                extra["source"] = source
            if found[name].engine is not None:
                extra["engine"] = found[name].engine
            if name != REFERENCE:
                extra["device"] = self.options.device
            text = emitted[found[name].backend.name]
            for dtype in self.options.dtypes:
                judged = self.options.layers == "native" and "float32" not in self.options.dtypes
                if dtype == "float64" and found[name].single and not judged:
                    continue
                first = name not in self.sessions
                extra["drawn"] = source is not None or (own and first)
                session, future = Remote.open(self.engines[name], text, dtype, **extra)
                self.sessions.setdefault(name, {})[dtype] = session
                opening[f"{name} {dtype}"] = future
        drawing = {
            name: next(iter(by_dtype.values())).draw(**drawn, own=own)
            for name, by_dtype in self.sessions.items()
            if drawn is not None and name not in self.options.sources
        }
        assigning: dict[str, Future[Any]] = {}
        for dtype in self.options.dtypes:
            weights = {name: single.rounded(v, dtype) for name, v in self.weights.items()}
            if dtype == "float32":
                self.plain = NumpySession(emitted[REFERENCE], dtype="float32", drawn=False)
                self.plain.assign(weights)
            for name, by_dtype in self.sessions.items():
                if dtype in by_dtype:
                    assigning[f"{name} {dtype}"] = by_dtype[dtype].call("assign", weights)
        self._opening = [opening, drawing, assigning]
        if drawn is not None and self.reference_stands_in and not own:
            self._own_draws = {REFERENCE: initial.moments(self.reference, **drawn)}

    def _start(self) -> Mapping[str, Array]:
        """The weights at the start: what the user gives, or drawn ones."""
        given = self.options.weights
        if given is None:
            return samples.weights(self.graph, self.seed)
        return weights_of(given, self.graph)

    def _emit(self, backend: Backend, style: Style) -> Emitted:
        emitted = backend.emit(self.graph, style)
        planted = self.options.planted.get(backend.name)
        return emitted if planted is None else planted(emitted)

    def _open_reference(self, style: Style, drawn: Mapping[str, Any] | None = None) -> None:
        """Open it; with `drawn`, look at what its own model has drawn before that is assigned."""
        from cnnspec.backends.numpy.session import NumpySession

        emitted = self._emit(get(REFERENCE), style)
        self.reference = NumpySession(emitted, dtype="float64", drawn=drawn is not None)
        if drawn is not None:
            self._own_draws = {REFERENCE: initial.moments(self.reference, **drawn, own=True)}
        self.reference.assign(self.weights)

    def _choose_rate(self, style: Style) -> None:
        """A learning rate that the network stands."""
        inputs, targets = next(stepping.batches(self))
        options: dict[str, Any] = {"targets": targets, "training": TRAINING}
        far = rate.furthest(self.reference.gradients(inputs, **options).parameters, self.weights)
        lr = rate.fitting(far)
        if lr != DEFAULT_RATE:
            self.reference.close()
            self.reference = None  # the next one has room where this one was
            self.graph = _trained(self.graph, lr)
            self._open_reference(style)
        reason = ", at which the first update moves no parameter by more than a 256th"
        self.report.notes.append(
            "no `train:` section: steps use the mean squared error against normal targets "
            f"and SGD with learning rate {lr:g} and momentum 0.9"
            + (reason if lr != DEFAULT_RATE else "")
        )

    def batch_size(self) -> int:
        """Number of samples."""
        given = self.options.inputs
        return effort.batch_size(self.graph) if given is None else len(next(iter(given.values())))

    def _join(self) -> None:
        """Wait for the sessions, once."""
        if self._opening:
            opening, drawing, assigning = self._opening
            self._opening = []
            self._ask(opening)
            initial.judge(self, self._own_draws | self.collect(drawing))
            self._ask({k: f for k, f in assigning.items() if k.split()[0] not in self.failed})
            silence(self)

    def _close_single(self) -> None:
        """Layers on their own have been compared in float32, and its memory is needed."""
        if self.plain is not None:
            self.plain.close()
            self.plain = None
        if "float64" not in self.options.dtypes:
            return
        closing = {
            f"{name} float32": by_dtype.pop("float32").call_close()
            for name, by_dtype in self.sessions.items()
            if name not in self.failed and by_dtype.keys() >= {"float32", "float64"}
        }
        self._ask(closing)

    def names(self, dtype: str) -> list[str]:
        """The engines that have a session of this dtype and have not failed."""
        return [n for n, s in self.sessions.items() if dtype in s and n not in self.failed]

    def single(self) -> list[str]:
        """The engines that are checked in float32 alone, as they have no float64."""
        doubles = self.names("float64")
        return [
            name
            for name in self.names("float32")
            if name not in doubles and (runnable(name).single or name in self.options.sources)
        ]

    # --- talking to engines --------------------------------------------------------------------

    def _ask(self, futures: Mapping[str, Future[Any]]) -> dict[str, Any]:
        """Wait for all; an engine that fails is reported and left out from then on."""
        found: dict[str, Any] = {}
        for key, future in futures.items():
            name = key.split()[0]
            try:
                found[key] = future.result()
            except EngineFailed as fault:
                if name not in self.failed:
                    self.failed.add(name)
                    self.report.worsen("engine_failed")
                    self.report.diagnostics.append(fault.diagnostic())
        return {key: value for key, value in found.items() if key.split()[0] not in self.failed}

    def collect(self, futures: Mapping[str, Future[Any]]) -> dict[str, Any]:
        """What engines answer to calls that are under way, by their names."""
        return self._ask({n: f for n, f in futures.items() if n not in self.failed})

    def tell(
        self,
        calls: Mapping[str, tuple[str, tuple[Any, ...], dict[str, Any]]],
        dtype: str = "float64",
    ) -> dict[str, Any]:
        """Call a method of several engines' sessions, and wait for what they answer."""
        return self.collect(self.start(calls, dtype))

    def start(
        self,
        calls: Mapping[str, tuple[str, tuple[Any, ...], dict[str, Any]]],
        dtype: str = "float64",
    ) -> dict[str, Future[Any]]:
        """Call a method of several engines' sessions, at once if memory lets them, to `collect`."""
        futures: dict[str, Future[Any]] = {}
        for name, (method, args, kwargs) in calls.items():
            futures[name] = self.sessions[name][dtype].call(method, *args, **kwargs)
            if self.one_by_one and method in HEAVY:
                wait([futures[name]])
        return futures

    # --- both modes ----------------------------------------------------------------------------

    def _compare_modes(self) -> tuple[samples.Sample, modes.Known]:
        """Inference and training on inputs whose decisions are safe, where there are such.

        One mode is compared before the other is looked at: what the reference knows of one is as
        large as all weights, several times.
        """
        given, size = self.options.inputs, self.batch_size()
        draws = 1 if given is not None else samples.DRAWS
        unsafe: set[str] = set()
        known: modes.Known | None = None
        for draw in range(draws):
            if given is None:
                sample = samples.sample(self.graph, self.seed, draw, size)
            else:
                made = samples.cotangents(self.graph, self.seed, draw, size)
                sample = samples.Sample(given, made)
            unsafe.clear()
            for training in (INFERENCE, TRAINING):
                known = None  # its memory is needed for the next one
                known = self._reference(sample, training)
                self._compare_alone(known)
                if training:
                    self._close_single()
                if "float64" in self.options.dtypes:
                    self._bound(known)
                    if 0 < sum(known.unsafe.values()) < HOPELESS and draw < draws - 1:
                        break
                    unsafe.update(known.unsafe)
                    if self.one_by_one:
                        give_back()
                    modes.end_to_end(self, known)
                    if not self.options.sources:
                        known.whole = None
                single.end_to_end(self, known)
            else:
                break
            # What was compared of this draw with decisions that none of the next will have.
            self.report.comparisons = [
                c for c in self.report.comparisons if c.mode in ALONE or c.backends[0] == "spec"
            ]
            self.evidence.keep(self.report.comparisons)
        flipping = [node.id for node in self.graph.nodes if node.id in unsafe]
        if flipping:
            self.report.notes.append(
                "decisions that rounding could flip, in "
                + ", ".join(f"`{name}`" for name in flipping[:5])
                + (" and others" if len(flipping) > 5 else "")
                + ": end-to-end input gradients are reported, not judged"
            )
        assert known is not None
        return sample, known

    def _reference(self, sample: samples.Sample, training: bool) -> modes.Known:
        """The reference's answers, without their bounds."""
        outputs = {output.name for output in modes.outputs_of(self.graph, training)}
        present = {n: value for n, value in sample.cotangents.items() if n in outputs}
        sample = samples.Sample(sample.inputs, present)
        common: dict[str, Any] = {"training": training, "at": At()}
        answer = self.reference.trace(sample.inputs, cotangents=present, **common)
        for name, value in (*answer.values.items(), *answer.gradients.items()):
            if not np.all(np.isfinite(value)):
                raise DataError(Diagnostic("not-finite", f"the reference's `{name}` is not finite"))
        nodes = modes.nodes_of(self.graph, training)
        return modes.Known(training, nodes, sample, answer, Bounds())

    def _own(self, known: modes.Known) -> Bounds:
        """Bounds of each node on its own."""
        alone, _ = effort.replicates(self.graph)
        return bounds.isolated(
            known.nodes,
            self.reference,
            self.weights,
            known.sample.inputs,
            known.answer,
            training=known.training,
            at=At(),
            replicates=alone,
            seed=self.seed,
        )

    def _compare_alone(self, known: modes.Known) -> None:
        """Each layer on its own; what is only needed for that, gigabytes, is forgotten.

        Once is enough, as all decide on equal bits, whatever these are; and a layer that does the
        same in both modes is judged in one of them.
        """
        known.alone = self._unjudged(known)
        self._judged |= {(node.id, known.training) for node in known.alone}
        wide = "float64" in self.options.dtypes
        asked = modes.ask(self, known) if wide else None  # engines are at work, and this process
        known.own = self._own(known)
        self._join()
        if wide:
            modes.isolated(self, known, asked)
            known.answer.own = {}
            if self.options.probe:
                probe.probe(self, known)
        known.answer.own = {}
        for dtype in self.options.dtypes:
            if dtype != "float64":
                single.isolated(self, known, dtype)

    def _unjudged(self, known: modes.Known, *, anyway: bool = False) -> list[Node[Op]]:
        """Nodes still to judge; those that share parameters together: their gradients add up."""
        modes_of = {
            node.id: (known.training,) if anyway or modes.has_modes(node) else (False, True)
            for node in known.nodes
        }
        wanted = {
            node.weights_id
            for node in known.nodes
            if not any((node.id, mode) in self._judged for mode in modes_of[node.id])
        }
        return [node for node in known.nodes if node.weights_id in wanted]

    def reference_of(self, training: bool) -> modes.Known:
        """The reference's answers and their bounds once more, to find where a fault begins."""
        assert self.sample is not None
        known = self._reference(self.sample, training)
        known.own = self._own(known)
        return known

    def _compare_rest(self) -> None:
        """Where a fault shows in the whole only: layers that were spared in training mode."""
        known = self.reference_of(TRAINING)
        known.alone = self._unjudged(known, anyway=True)
        modes.isolated(self, known)

    def _bound(self, known: modes.Known) -> None:
        """Bounds of the whole, and what is unsafe; of the answer nothing is needed after that."""
        answer, inputs = known.answer, known.sample.inputs
        answer.own = {}
        answer.gradients = {}
        _, whole = effort.replicates(self.graph)
        known.whole = bounds.end_to_end(
            self.graph,
            self.reference,
            known.sample,
            answer,
            known.own,
            training=known.training,
            at=At(),
            seed=self.seed,
            replicates=whole,
            backward=modes.pulls(self, known.training),
        )
        spread, known.whole.spread = known.whole.spread, {}
        values = {**inputs, **answer.values}
        known.unsafe = margin.unsafe(known.nodes, values, spread, UNIT["float64"])
        if self.options.sources:
            self.known["float64", known.training] = known  # to find the first module that differs
        else:
            answer.values = {}

    def add(self, a: Array, b: Array, bound: Any, **about: Any) -> None:
        """Compare two tensors and note the outcome."""
        found = compare(a, b, bound, **about)
        self.report.comparisons.append(found)
        scale = {name: about[name] for name in ("unit", "floor") if name in about}
        self.evidence.consider(found, a, b, bound, **scale)

    def _save(self, sample: samples.Sample) -> None:
        outputs = self.reference.forward(sample.inputs)
        self.report.saved = {
            "weights": dict(self.weights),
            "inputs": dict(sample.inputs),
            "outputs": outputs,
        }


def needed_bytes(graph: Graph, batch: int, options: Options) -> int:
    """About what a check holds at its peak, all processes together.

    Of weights the reference's, two gradients and two bounds of them; an engine has its own, in
    both precisions, their gradients, an optimizer's buffer, and an answer. What they have freed
    stays with them, but for weights of `HUGE` size. Of all activations the reference has values,
    gradients, bounds, and those of a pass that is under way.
    """
    engines = len(needs_process(options))
    weights, activations = memory.weights_bytes(graph), memory.activation_bytes(graph, batch)
    kept = 0 if weights >= 8 * HUGE else (3 + engines) * weights
    return (5 + 5 * engines) * weights + kept + 6 * activations


__all__ = ["Checker", "needed_bytes", "needs_process", "run"]
