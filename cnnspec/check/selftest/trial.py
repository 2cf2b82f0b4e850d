"""One mutant at a time: whether it computes something else at all, and whether `check` sees it."""

from __future__ import annotations

import dataclasses
import hashlib
import math
import time
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from cnnspec.backends import At, Emitted, Style, get
from cnnspec.check import effort, samples
from cnnspec.check.api import check_graph
from cnnspec.check.engines import Engine, EngineFailed, InProcess, Remote
from cnnspec.check.modes import nodes_of, outputs_of
from cnnspec.check.options import Options, SpecReport
from cnnspec.check.selftest.edit import EditError, edited
from cnnspec.check.selftest.source import Mutant
from cnnspec.diagnostics import UserError
from cnnspec.graph import Graph
from cnnspec.quantities import REFERENCE

Array = npt.NDArray[Any]
Key = tuple[str, str, str]
"""When it was asked for, what it is, and whose."""
Outcome = Literal["caught", "escaped", "refused", "no effect", "rounding only"]

DRAWS = 2
"""Random inputs, and after them whole numbers in each layer, on which texts are compared."""
UPDATES = 3
ROUNDINGS = 64.0
"""Units in the last place of a tensor's largest value, which is less than any layer's bound."""


@dataclass(frozen=True, slots=True)
class Trial:
    """What became of a mutant.

    Attributes:
        mutant: what was planted.
        outcome: `caught` or `escaped` by a check; `refused` where the text does not run any more;
            `no effect` where every bit is the same, and `rounding only` where nothing but the
            last digits differs, on this network.
        node: the layer that was named; empty for training.
        quantity: that was named.
        seconds: that it took.
    """

    mutant: Mutant
    outcome: Outcome
    node: str = ""
    quantity: str = ""
    seconds: float = 0.0

    @property
    def right(self) -> bool:
        """Whether a layer was named that the fault is in; training, if it is in none."""
        if self.outcome != "caught":
            return False
        nodes = self.mutant.nodes
        return self.node in nodes if nodes else self.quantity == "step"


class Trials:
    """Plants mutants into the texts of one network.

    Args:
        graph: with its training.
        name: of its spec.
        options: of the check that has found agreement.
        engines: that are running.
    """

    def __init__(
        self, graph: Graph, name: str, options: Options, engines: Mapping[str, Engine]
    ) -> None:
        self.graph, self.name, self.options = graph, name, options
        self.engines = {REFERENCE: InProcess(REFERENCE), **engines}
        self.seed = graph.seed if options.seed is None else options.seed
        self.emitted = {
            name: get(name).emit(graph, Style(random="counter")) for name in options.backends
        }
        self._right: dict[str, dict[Key, Array]] = {}
        self._noise = set(graph.null_gradients())
        if self._noise and graph.training is not None and graph.training.optimizer.adaptive:
            # A mean follows a bias that is moved by noise alone.
            self._noise |= {name for name in graph.params() if name.endswith(".running_mean")}

    def run(self, mutant: Mutant) -> Trial:
        """Plant one."""
        started = time.monotonic()
        with np.errstate(all="ignore"), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # broken formulas divide by zero
            found = self._run(mutant)
        return dataclasses.replace(found, seconds=time.monotonic() - started)

    def _run(self, mutant: Mutant) -> Trial:
        name = mutant.backend
        try:
            planted = edited(self.emitted[name], mutant.edits)
        except (EditError, SyntaxError):
            return Trial(mutant, "refused")
        if name not in self._right:
            self._right[name] = self._answers(self.emitted[name])
        try:
            answers = self._answers(planted)
        except (EngineFailed, UserError, AssertionError):
            self.engines[name].revive()
            return Trial(mutant, "refused")
        apart = distance(self._right[name], answers)
        if apart == 0:
            return Trial(mutant, "no effect")
        report = self._check(mutant)
        found = report.first_difference
        if report.status == "agree":
            return Trial(mutant, "escaped" if apart > ROUNDINGS else "rounding only")
        if found is None:
            return Trial(mutant, "refused")
        return Trial(mutant, "caught", found.node, found.comparison.quantity)

    def _check(self, mutant: Mutant) -> SpecReport:
        others = [n for n in self.options.backends if n != REFERENCE]
        other = mutant.backend if mutant.backend != REFERENCE else others[0]
        options = dataclasses.replace(
            self.options,
            backends=(REFERENCE, other) if REFERENCE in self.options.backends else tuple(others),
            dtypes=self.options.dtypes[:1],
            reduce=False,
            planted={mutant.backend: lambda text: edited(text, mutant.edits)},
        )
        engines = {n: e for n, e in self.engines.items() if n != REFERENCE}
        try:
            report = check_graph(self.graph, self.name, options, engines)
        except Exception as fault:  # a reference that has been broken may raise anything
            report = SpecReport(self.name, "engine_failed")
            report.notes.append(str(fault))
        for engine in engines.values():
            engine.revive()
        return report

    # --- what a text computes -------------------------------------------------------------------

    def _answers(self, emitted: Emitted) -> dict[Key, Array]:
        """Everything that a text computes, on random inputs and on whole numbers in each layer."""
        session, opening = Remote.open(self.engines[emitted.backend], emitted, "float64")
        opening.result()
        try:
            session.call("assign", samples.weights(self.graph, self.seed)).result()
            return {key: value for key, value in self._asked(session) if not self._noisy(key)}
        finally:
            session.call_close().result()

    def _noisy(self, key: Key) -> bool:
        """Whether it is rounding alone: the gradient of a bias that the next norm takes away."""
        _, kind, name = key
        return kind in ("parameters", "weights") and name in self._noise

    def _asked(self, session: Remote) -> Iterator[tuple[Key, Array]]:
        batch = effort.batch_size(self.graph)
        for training in (False, True):
            outputs = {output.name for output in outputs_of(self.graph, training)}
            about: dict[str, Any] = {"training": training, "at": At()}
            for draw in range(DRAWS):
                sample = samples.sample(self.graph, self.seed + 1, draw, batch)
                given = {n: v for n, v in sample.cotangents.items() if n in outputs}
                trace = session.call("trace", sample.inputs, cotangents=given, **about).result()
                yield from _flat(f"{training} {draw}", trace)
            whole = self._whole_numbers(training, batch)
            trace = session.call("trace", sample.inputs, **whole, **about).result()
            yield from _flat(f"{training} whole", trace)
        for update in range(UPDATES if self.graph.trains() else 0):
            inputs = samples.inputs(self.graph, self.seed + 1, DRAWS + update, batch)
            targets = samples.targets(self.graph, self.seed + 1, update, batch)
            loss = session.call(
                "step", inputs, targets, at=At(update), updates_per_epoch=2
            ).result()
            yield (f"{update}", "loss", ""), np.asarray(loss)
            weights = session.call("weights").result()
            yield from (((f"{update}", "weights", n), v) for n, v in weights.items())
        training_options = self.graph.training
        assert training_options is not None
        rates = session.call("learning_rates", min(2 * training_options.epochs, 1000), 2).result()
        yield ("", "rates", ""), np.asarray(rates)

    def _whole_numbers(self, training: bool, batch: int) -> dict[str, Any]:
        """Small whole numbers for every layer, so that kinks and ties are met exactly."""
        feed, cotangents = {}, {}
        for node in nodes_of(self.graph, training):
            rng = samples.generator(self.seed, f"whole/{node.id}")
            feed[node.id] = tuple(
                rng.integers(-6, 7, (batch, *shape)).astype(np.float64)
                for shape in node.input_shapes
            )
            cotangents[node.id] = rng.integers(-3, 4, (batch, *node.shape)).astype(np.float64)
        return {"feed": feed, "cotangents": cotangents}


def _flat(title: str, trace: Any) -> Iterator[tuple[Key, Array]]:
    for kind in dataclasses.fields(trace):
        for name, value in getattr(trace, kind.name).items():
            parts = value if isinstance(value, tuple) else (value,)
            for index, part in enumerate(parts):
                yield (f"{title} {index}", kind.name, name), np.asarray(part)


def distance(right: Mapping[Key, Array], other: Mapping[Key, Array]) -> float:
    """How far apart two texts are: 0 where all bits agree, else in units in the last place.

    The largest error of a tensor over its largest value and the unit roundoff, over all tensors.
    """
    if right.keys() != other.keys():
        return math.inf
    worst = 0.0
    for name, value in right.items():
        found = other[name]
        if found.shape != value.shape:
            return math.inf
        if _bits(value) == _bits(found):
            continue
        with np.errstate(all="ignore"):
            error = float(np.max(np.abs(value - found)))
            largest = float(np.max(np.abs(value)))
        if not math.isfinite(error) or largest == 0:
            return math.inf
        worst = max(worst, error / largest * 2.0**53)
    return worst


def _bits(value: Array) -> bytes:
    return hashlib.blake2b((value + 0.0).tobytes()).digest()
