"""One network, all engines: what is asked of them, in which order, and how it is judged."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future
from typing import Any

import numpy as np
import numpy.typing as npt

from cnnspec.backends import At, Emitted, Style, get
from cnnspec.backends.base import Gradients, Trace
from cnnspec.check import bounds, margin, samples
from cnnspec.check.bounds import FLOOR, UNIT, Bounds
from cnnspec.check.compare import Comparison, compare
from cnnspec.check.engines import Engine, EngineFailed, Remote
from cnnspec.check.options import REFERENCE, Difference, Options, SpecReport
from cnnspec.diagnostics import DataError, Diagnostic, SetupError
from cnnspec.graph import Graph
from cnnspec.training import Adam, default_training

Array = npt.NDArray[Any]

DRAWS = 20
"""How often inputs are drawn again where a decision could flip."""

UPDATES_PER_EPOCH = 2
MOST_RATES = 10_000

INFERENCE, TRAINING = False, True


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
        self.graph = graph
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
        self._open()
        self.weights = samples.weights(self.graph, self.seed)
        self.reference.assign(self.weights)
        self.tell({name: ("assign", (self.weights,), {}) for name in self._names("float64")})
        sample = self._sample()
        self.sampled_inputs = sample.inputs
        if "float64" in self.options.dtypes:
            for training in (INFERENCE, TRAINING):
                self._isolated(sample, training)
                self._end_to_end(sample, training)
            self._steps(sample)
        if "float32" in self.options.dtypes:
            self._single_precision(sample)
        self._save(sample)
        if not any(c.judged for c in self.report.comparisons) and not self.failed:
            raise SetupError(Diagnostic("nothing-compared", "nothing was compared"))
        self._judge()

    def close(self) -> None:
        if self.reference is not None:
            self.reference.close()
        for name, by_dtype in self.sessions.items():
            if name not in self.failed:
                self._ask({f"{name} {d}": s.call_close() for d, s in by_dtype.items()})

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

    def _names(self, dtype: str) -> list[str]:
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

    def _all(
        self, method: str, *args: Any, dtype: str = "float64", **kwargs: Any
    ) -> dict[str, Any]:
        """The same call to every engine that emitted text of ours."""
        names = [n for n in self._names(dtype) if n not in self.options.sources]
        return self.tell(dict.fromkeys(names, (method, args, kwargs)), dtype)

    # --- inputs --------------------------------------------------------------------------------

    def _sample(self) -> samples.Sample:
        """Inputs whose decisions are safe, with the reference's answers and bounds for them."""
        self.answers: dict[bool, Trace] = {}
        self.own: dict[bool, Bounds] = {}
        self.whole: dict[bool, Bounds] = {}
        given = self.options.inputs
        unsafe: list[str] = []
        for draw in range(1 if given is not None else DRAWS):
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

    # --- modes ---------------------------------------------------------------------------------

    def _isolated(self, sample: samples.Sample, training: bool) -> None:
        answer = self.answers[training]
        feed = bounds.feeds(self.graph, sample.inputs, answer)
        traces = self._all(
            "trace", sample.inputs, feed=feed, cotangents=answer.gradients, training=training
        )
        for a, b in itertools.combinations(traces, 2):
            self._compare_pair(
                (a, b), traces[a], traces[b], self.own[training], "float64", training
            )

    def _compare_pair(
        self,
        names: tuple[str, str],
        left: Trace,
        right: Trace,
        own: Bounds,
        dtype: str,
        training: bool,
    ) -> None:
        """Every node of two traces, each fed with the same inputs and cotangents."""
        unit, floor = UNIT[dtype], FLOOR[dtype]
        about: dict[str, Any] = {
            "backends": names,
            "mode": "isolated",
            "dtype": dtype,
            "training": training,
        }
        for node in self.graph.nodes:
            self._add(
                left.values[node.id],
                right.values[node.id],
                unit * own.values[node.id] + floor,
                quantity="forward",
                node=node.id,
                name=node.id,
                **about,
            )
            for index, bound in enumerate(own.own[node.id]):
                self._add(
                    left.own[node.id][index],
                    right.own[node.id][index],
                    unit * bound + floor,
                    quantity="input_gradient",
                    node=node.id,
                    name=node.inputs[index].id,
                    **about,
                )
        self._compare_named(
            left.parameters, right.parameters, own.parameters, "parameter_gradient", about
        )
        if training:
            self._compare_named(
                left.statistics, right.statistics, own.statistics, "running_statistics", about
            )

    def _compare_named(
        self,
        left: Mapping[str, Array],
        right: Mapping[str, Array],
        coefficients: Mapping[str, Array],
        quantity: str,
        about: Mapping[str, Any],
        **more: Any,
    ) -> None:
        unit, floor = UNIT[about["dtype"]], FLOOR[about["dtype"]]
        for name, coefficient in coefficients.items():
            self._add(
                left[name],
                right[name],
                unit * coefficient + floor,
                quantity=quantity,
                node=name.rpartition(".")[0],
                name=name,
                **about,
                **more,
            )

    def _end_to_end(self, sample: samples.Sample, training: bool) -> None:
        answers: dict[str, Gradients] = self.tell(
            {
                name: (
                    "gradients",
                    (sample.inputs,),
                    {"cotangents": sample.cotangents, "training": training},
                )
                for name in self._names("float64")
                if self._deterministic(name, training)
            }
        )
        whole = self.whole[training]
        for a, b in itertools.combinations(answers, 2):
            about: dict[str, Any] = {
                "backends": (a, b),
                "mode": "end_to_end",
                "dtype": "float64",
                "training": training,
            }
            left, right = answers[a], answers[b]
            for output in self.graph.outputs:
                self._add(
                    left.outputs[output.name],
                    right.outputs[output.name],
                    UNIT["float64"] * whole.values[output.value.id] + FLOOR["float64"],
                    quantity="forward",
                    node=output.value.id,
                    name=output.name,
                    **about,
                )
            for name, bound in whole.inputs.items():
                self._add(
                    left.inputs[name],
                    right.inputs[name],
                    UNIT["float64"] * bound + FLOOR["float64"],
                    quantity="input_gradient",
                    node=name,
                    name=name,
                    judged=not self.unsafe,
                    reason="a decision could flip" if self.unsafe else "",
                    **about,
                )
            judged = not (self.unsafe and self.options.inputs is None)
            self._compare_named(
                left.parameters,
                right.parameters,
                whole.parameters,
                "parameter_gradient",
                about,
                judged=judged,
                reason="" if judged else "a decision could flip",
            )
            if training:
                self._compare_named(
                    left.statistics,
                    right.statistics,
                    whole.statistics,
                    "running_statistics",
                    about,
                )

    def _deterministic(self, name: str, training: bool) -> bool:
        """Whether a file of the user's own can be compared: its random layers are its own."""
        random = any(node.op.random for node in self.graph.nodes)
        if name in self.options.sources and random and training:
            note = f"{name}: the file's own random layers are not compared in training mode"
            if note not in self.report.notes:
                self.report.notes.append(note)
            return False
        return True

    def _steps(self, sample: samples.Sample) -> None:
        count = self.options.steps
        if not any(param.trainable for param in self.graph.params().values()):
            self.report.notes.append("no parameters, so there are no steps to compare")
            return
        names = [
            name
            for name in self._names("float64")
            if self._deterministic(name, TRAINING) and self._trains(name)
        ]
        size = len(next(iter(sample.inputs.values())))
        batches = []
        for update in range(count):
            inputs: Mapping[str, Array] = sample.inputs
            if self.options.inputs is None:
                inputs = samples.sample(self.graph, self.seed, DRAWS + update, size).inputs
            drawn = samples.targets(self.graph, self.seed, update, size)
            batches.append((inputs, {**drawn, **(self.options.targets or {})}))
        answer = self._trained(self.reference, batches)
        limits = bounds.steps(
            self.graph,
            self.reference,
            self.weights,
            batches,
            answer,
            self.own[TRAINING],
            updates_per_epoch=UPDATES_PER_EPOCH,
            seed=self.seed,
        )
        found: dict[str, list[tuple[float, dict[str, Array]]]] = {name: [] for name in names}
        for update, (inputs, wanted) in enumerate(batches):
            options = {"at": At(update), "updates_per_epoch": UPDATES_PER_EPOCH}
            losses = self.tell(dict.fromkeys(found, ("step", (inputs, wanted), options)))
            weights = self.tell({n: ("weights", (), {}) for n in losses})
            for name in list(found):
                if name in weights:
                    found[name].append((losses[name], weights[name]))
                else:
                    del found[name]
        self.tell({n: ("assign", (self.weights,), {}) for n in self._names("float64")})
        skipped = self._noise_driven()
        for a, b in itertools.combinations(found, 2):
            about: dict[str, Any] = {
                "backends": (a, b),
                "mode": "end_to_end",
                "dtype": "float64",
                "training": True,
            }
            for update in range(count):
                (loss_a, left), (loss_b, right) = found[a][update], found[b][update]
                self._add(
                    np.asarray(loss_a),
                    np.asarray(loss_b),
                    UNIT["float64"] * limits.losses[update] + FLOOR["float64"],
                    quantity="step",
                    node=self.graph.outputs[0].value.id,
                    name="loss",
                    update=update,
                    **about,
                )
                for name, coefficient in limits.weights[update].items():
                    self._add(
                        left[name],
                        right[name],
                        UNIT["float64"] * coefficient + FLOOR["float64"],
                        quantity="step",
                        node=name.rpartition(".")[0],
                        name=name,
                        update=update,
                        judged=name not in skipped,
                        reason=skipped.get(name, ""),
                        **about,
                    )
        self._learning_rates(names)

    def _trains(self, name: str) -> bool:
        if name not in self.options.sources:
            return True
        (trains,) = self.tell({name: ("trains", (), {})}).values() or (False,)
        if not trains:
            self.report.notes.append(
                f"{name}: the file has no training functions, so no steps are compared"
            )
        return bool(trains)

    def _trained(
        self, session: Any, batches: Sequence[tuple[Mapping[str, Array], Mapping[str, Array]]]
    ) -> list[tuple[float, dict[str, Array]]]:
        session.reset()
        found = []
        for update, (inputs, wanted) in enumerate(batches):
            loss = session.step(inputs, wanted, at=At(update), updates_per_epoch=UPDATES_PER_EPOCH)
            found.append((loss, session.weights()))
        session.reset()
        session.assign(self.weights)
        return found

    def _noise_driven(self) -> dict[str, str]:
        """Parameters that an adaptive optimizer moves by rounding noise alone, with the reason."""
        training = self.graph.training
        assert training is not None
        if not isinstance(training.optimizer, Adam):
            return {}
        found = {}
        users = self.graph.users()
        for name in self.graph.null_gradients():
            owner = name.rpartition(".")[0]
            reason = "its gradient is zero but for rounding, which an adaptive optimizer divides by"
            found[name] = reason
            for reader in users[owner]:
                found[f"{reader.weights_id}.running_mean"] = f"it follows `{name}`"
        if found:
            self.report.notes.append(
                "not comparable after steps: " + ", ".join(f"`{n}`" for n in sorted(found))
            )
        return found

    def _learning_rates(self, names: Iterable[str]) -> None:
        training = self.graph.training
        assert training is not None
        count = min(UPDATES_PER_EPOCH * training.epochs, MOST_RATES)
        wanted = np.array([training.learning_rate(u, UPDATES_PER_EPOCH) for u in range(count)])
        rates = self.tell({n: ("learning_rates", (count, UPDATES_PER_EPOCH), {}) for n in names})
        for name, found in rates.items():
            self._add(
                wanted,
                np.asarray(found),
                8 * UNIT["float64"] * np.abs(wanted),
                backends=("spec", name),
                mode="end_to_end",
                dtype="float64",
                training=True,
                quantity="step",
                node="",
                name="learning_rate",
            )

    # --- float32 -------------------------------------------------------------------------------

    def _single_precision(self, sample: samples.Sample) -> None:
        """Each back end in float32 against the reference in float64, on inputs that fit float32."""

        def rounded(value: Array) -> Array:
            return np.asarray(value, dtype=np.float32).astype(np.float64)

        weights = {name: rounded(value) for name, value in self.weights.items()}
        inputs = {name: rounded(value) for name, value in sample.inputs.items()}
        names = [n for n in self._names("float32") if n not in self.options.sources]
        self.tell({n: ("assign", (weights,), {}) for n in self._names("float32")}, "float32")
        plain = get(REFERENCE).open(self.reference.emitted, dtype="float32")
        plain.assign(weights)
        self.reference.assign(weights)
        for training in (INFERENCE, TRAINING):
            answer = self.answers[training]
            feed = {
                node: tuple(rounded(value) for value in values)
                for node, values in bounds.feeds(self.graph, inputs, answer).items()
            }
            cotangents = {name: rounded(value) for name, value in answer.gradients.items()}
            options: dict[str, Any] = {
                "feed": feed,
                "cotangents": cotangents,
                "training": training,
            }
            exact = self.reference.trace(inputs, **options)
            single = plain.trace(inputs, **options)
            traces = self.tell(dict.fromkeys(names, ("trace", (inputs,), options)), "float32")
            for name, trace in traces.items():
                before = len(self.report.comparisons)
                self._compare_pair(
                    (REFERENCE, name), exact, trace, self.own[training], "float32", training
                )
                self._beside(before, exact, single)
        self.reference.assign(self.weights)
        plain.close()

    def _beside(self, start: int, exact: Trace, single: Trace) -> None:
        """Put the distance of a plain NumPy float32 evaluation beside each comparison."""
        for index in range(start, len(self.report.comparisons)):
            found = self.report.comparisons[index]
            pairs = {
                "forward": lambda c: (exact.values[c.node], single.values[c.node]),
                "parameter_gradient": lambda c: (
                    exact.parameters[c.name],
                    single.parameters[c.name],
                ),
                "running_statistics": lambda c: (
                    exact.statistics[c.name],
                    single.statistics[c.name],
                ),
            }
            pick: Callable[[Comparison], tuple[Array, Array]] | None = pairs.get(found.quantity)
            if pick is not None:
                a, b = pick(found)
                error = float(np.max(np.abs(a - b))) if a.size else 0.0
                self.report.comparisons[index] = dataclasses.replace(found, reference_error=error)

    # --- the verdict ---------------------------------------------------------------------------

    def _add(self, a: Array, b: Array, bound: Any, **about: Any) -> None:
        self.report.comparisons.append(compare(a, b, bound, **about))

    def _save(self, sample: samples.Sample) -> None:
        outputs = self.reference.forward(sample.inputs)
        self.report.saved = {
            "weights": dict(self.weights),
            "inputs": dict(sample.inputs),
            "outputs": outputs,
        }

    def _judge(self) -> None:
        wrong = [c for c in self.report.comparisons if c.judged and not c.agree]
        if not wrong:
            return
        self.report.worsen("disagree")
        order = {name: i for i, name in enumerate(self.graph.users())}
        rank = {"forward": 0, "running_statistics": 1, "input_gradient": 2, "parameter_gradient": 2}

        def key(found: Comparison) -> tuple[int, int, int, int]:
            isolated = 0 if found.mode == "isolated" else 1
            stepped = 1 if found.quantity == "step" else 0
            single = 0 if found.dtype == "float64" else 1
            place = order.get(found.node, len(order))
            return (single, isolated + stepped, place, rank.get(found.quantity, 3))

        first = min(wrong, key=key)
        if first.mode == "end_to_end" and first.quantity != "step":
            first = self._located(first) or first
        self.report.first_difference = self._difference(first)

    def _located(self, found: Comparison) -> Comparison | None:
        """Where only end-to-end answers differ: the first module or node whose value does."""
        from cnnspec.check.locate import first_different_module

        return first_different_module(self, found)

    def _difference(self, found: Comparison) -> Difference:
        try:
            origin = self.graph.node(found.node).origin
        except KeyError:
            origin = None
        if origin is None:
            return Difference(found.node, found)
        span = origin.span
        return Difference(found.node, found, span.source.name, span.line, span.column)


__all__ = ["run"]
