"""One network, all engines: what is asked of them, in which order, and how it is judged."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from concurrent.futures import Future
from typing import Any

import numpy as np
import numpy.typing as npt

from cnnspec import memory
from cnnspec.backends import At, Emitted, Style, get
from cnnspec.backends.base import Trace
from cnnspec.check import bounds, margin, modes, samples, single, stepping, verdict
from cnnspec.check.bounds import UNIT, Bounds
from cnnspec.check.compare import compare
from cnnspec.check.engines import Engine, EngineFailed, Remote
from cnnspec.check.options import REFERENCE, Options, SpecReport
from cnnspec.check.quiet import quiet, silence
from cnnspec.diagnostics import DataError, Diagnostic, SetupError
from cnnspec.graph import Graph
from cnnspec.training import default_training

Array = npt.NDArray[Any]

INFERENCE, TRAINING = modes.INFERENCE, modes.TRAINING


def run(graph: Graph, spec: str, options: Options, engines: Mapping[str, Engine]) -> SpecReport:
    """Check one network.

    Raises:
        UserError: the spec, the inputs, or the surroundings do not allow it.
    """
    report = SpecReport(spec)
    checker = Checker(graph, options, engines, report)
    try:
        checker.run()
    finally:
        checker.close()
    return report


class Checker:
    """What the parts of a check share: the network, the reference, the engines, the report."""

    def __init__(
        self, graph: Graph, options: Options, engines: Mapping[str, Engine], report: SpecReport
    ) -> None:
        if graph.training is None:
            names = tuple(output.name for output in graph.outputs)
            graph = dataclasses.replace(graph, training=default_training(names))
            report.notes.append(
                "no `train:` section: steps use the mean squared error against normal targets "
                "and SGD with learning rate 0.01 and momentum 0.9"
            )
        self.original = graph
        if options.sources:
            graph = quiet(graph)
        self.graph = graph
        self.silent: set[str] = set()
        self.options = options
        self.engines = engines
        self.report = report
        self.seed = graph.seed if options.seed is None else options.seed
        self.reference: Any = None
        self.sessions: dict[str, dict[str, Remote]] = {}
        self.failed: set[str] = set()
        self.sampled_inputs: Mapping[str, Array] = {}

    # --- the course of it ----------------------------------------------------------------------

    def run(self) -> None:
        """All of it, in order."""
        self._require_memory()
        self._open()
        self.weights = samples.weights(self.graph, self.seed)
        self.reference.assign(self.weights)
        self.tell({name: ("assign", (self.weights,), {}) for name in self.names("float64")})
        sample = self._sample()
        self.sampled_inputs = sample.inputs
        if "float64" in self.options.dtypes:
            for training in (INFERENCE, TRAINING):
                modes.isolated(self, sample, training)
                modes.end_to_end(self, sample, training)
            stepping.steps(self, sample)
        if "float32" in self.options.dtypes:
            single.single_precision(self, sample)
        self._save(sample)
        if not any(c.judged for c in self.report.comparisons) and not self.failed:
            raise SetupError(Diagnostic("nothing-compared", "nothing was compared"))
        verdict.judge(self)

    def close(self) -> None:
        """Close every session; the engines live on."""
        if self.reference is not None:
            self.reference.close()
        for name, by_dtype in self.sessions.items():
            if name not in self.failed:
                self._ask({f"{name} {d}": s.call_close() for d, s in by_dtype.items()})

    def _require_memory(self) -> None:
        """Refuse what would not fit, before anything is allocated."""
        given = self.options.inputs
        batch = samples.batch_size(self.graph)
        if given is not None:
            batch = len(next(iter(given.values())))
        one = memory.session_bytes(self.graph, batch)
        # The reference has a tapped copy, the answers and their bounds beside its own.
        memory.require((2 + len(self.options.backends)) * one, f"checking `{self.graph.name}`")

    def _open(self) -> None:
        style = Style(random="counter")
        emitted: dict[str, Emitted] = {}
        for name in (REFERENCE, *self.options.backends):
            if name not in emitted:
                emitted[name] = get(name).emit(self.graph, style)
        self.reference = get(REFERENCE).open(emitted[REFERENCE], dtype="float64")
        futures: dict[str, Future[Any]] = {}
        for name in self.options.backends:
            source = self.options.sources.get(name)
            extra = {} if source is None else {"source": source}
            for dtype in self.options.dtypes:
                session, future = Remote.open(self.engines[name], emitted[name], dtype, **extra)
                self.sessions.setdefault(name, {})[dtype] = session
                futures[f"{name} {dtype}"] = future
        self._ask(futures)
        silence(self)

    def names(self, dtype: str) -> list[str]:
        """The engines that have a session of this dtype and have not failed."""
        return [n for n, s in self.sessions.items() if dtype in s and n not in self.failed]

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

    def tell(
        self,
        calls: Mapping[str, tuple[str, tuple[Any, ...], dict[str, Any]]],
        dtype: str = "float64",
    ) -> dict[str, Any]:
        """Call a method of several engines' sessions at once."""
        return self._ask(
            {
                name: self.sessions[name][dtype].call(method, *args, **kwargs)
                for name, (method, args, kwargs) in calls.items()
            }
        )

    def all(self, method: str, *args: Any, dtype: str = "float64", **kwargs: Any) -> dict[str, Any]:
        """The same call to every engine that emitted text of ours."""
        names = [n for n in self.names(dtype) if n not in self.options.sources]
        return self.tell(dict.fromkeys(names, (method, args, kwargs)), dtype)

    # --- inputs --------------------------------------------------------------------------------

    def _sample(self) -> samples.Sample:
        """Inputs whose decisions are safe, with the reference's answers and bounds for them."""
        self.answers: dict[bool, Trace] = {}
        self.own: dict[bool, Bounds] = {}
        self.whole: dict[bool, Bounds] = {}
        given = self.options.inputs
        unsafe: list[str] = []
        for draw in range(1 if given is not None else samples.DRAWS):
            if given is None:
                size = samples.batch_size(self.graph)
                sample = samples.sample(self.graph, self.seed, draw, size)
            else:
                size = len(next(iter(given.values())))
                made = samples.cotangents(self.graph, self.seed, draw, size)
                sample = samples.Sample(given, made)
            unsafe = []
            for training in (INFERENCE, TRAINING):
                unsafe += self._reference(sample, training)
            if not unsafe:
                break
        self.unsafe = sorted(set(unsafe), key=[n.id for n in self.graph.nodes].index)
        if self.unsafe:
            self.report.notes.append(
                "decisions that rounding could flip, in "
                + ", ".join(f"`{name}`" for name in self.unsafe[:5])
                + (" and others" if len(self.unsafe) > 5 else "")
                + ": end-to-end input gradients are reported, not judged"
            )
        return sample

    def _reference(self, sample: samples.Sample, training: bool) -> list[str]:
        """The reference's answers and their bounds; returns the nodes with unsafe decisions."""
        common: dict[str, Any] = {"training": training, "at": At()}
        answer = self.reference.trace(sample.inputs, cotangents=sample.cotangents, **common)
        feed = bounds.feeds(self.graph, sample.inputs, answer)
        alone = self.reference.trace(
            sample.inputs, feed=feed, cotangents=answer.gradients, **common
        )
        for name, value in (*answer.values.items(), *answer.gradients.items()):
            if not np.all(np.isfinite(value)):
                raise DataError(Diagnostic("not-finite", f"the reference's `{name}` is not finite"))
        own = bounds.isolated(
            self.graph,
            self.reference,
            self.weights,
            sample.inputs,
            feed,
            answer.gradients,
            alone,
            seed=self.seed,
            **common,
        )
        whole = bounds.end_to_end(
            self.graph,
            self.reference,
            sample,
            answer,
            own,
            seed=self.seed,
            **common,
        )
        self.answers[training], self.own[training], self.whole[training] = answer, own, whole
        known = {**sample.inputs, **answer.values}
        return margin.unsafe(self.graph, known, whole.spread, UNIT["float64"])

    def add(self, a: Array, b: Array, bound: Any, **about: Any) -> None:
        """Compare two tensors and note the outcome."""
        self.report.comparisons.append(compare(a, b, bound, **about))

    def _save(self, sample: samples.Sample) -> None:
        outputs = self.reference.forward(sample.inputs)
        self.report.saved = {
            "weights": dict(self.weights),
            "inputs": dict(sample.inputs),
            "outputs": outputs,
        }


__all__ = ["run"]
