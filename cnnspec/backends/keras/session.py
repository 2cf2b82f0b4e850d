"""A live Keras model made of emitted text, on any engine of Keras, and its taps."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, Any, ClassVar

import keras
import numpy as np

from cnnspec.backends.base import (
    At,
    Dtype,
    Emitted,
    Evaluation,
    Given,
    Gradients,
    Part,
    Trace,
    Tuning,
)
from cnnspec.backends.keras import IMPORTS, registered
from cnnspec.backends.keras import state as kept
from cnnspec.backends.keras.devices import slices
from cnnspec.backends.keras.engines import DEFAULT, Engine, Leaves, Pass, load
from cnnspec.backends.keras.fit import fit_epoch
from cnnspec.backends.keras.live import (
    Live,
    arrays,
    channels_first,
    parameters,
    plain,
    share,
    single,
    variables,
)
from cnnspec.backends.keras.taps import Tapped, both
from cnnspec.backends.keras.tuning import keep_statistics, tune
from cnnspec.backends.keras.undrawn import undrawn
from cnnspec.backends.keras.update import update
from cnnspec.backends.program import (
    Program,
    own_entry,
    own_program,
    require_harmless,
    run_own,
)
from cnnspec.backends.slots import check_weights
from cnnspec.diagnostics import DataError, Diagnostic
from cnnspec.ops.base import show

if TYPE_CHECKING:
    from cnnspec.backends.base import Array

DEVICES = {"cpu": "cpu", "cuda": "gpu:0", "gpu": "gpu:0"}
"""As Keras calls them; PyTorch would take a tensor on `cpu` for one elsewhere than on `cpu:0`."""
CARRIERS = {"bfloat16": "float32"}
"""What NumPy has in the place of a dtype that it does not have."""


class KerasSession:
    """Executes exactly the emitted text; a second, tapped copy of the same text traces it.

    Attributes:
        pulls: the gradients of a part of an update, with the penalties or without; see `update`.
        slices: how devices share batches out, if they are several.
        eager: whether `step` runs op by op; tracing a graph first pays off after many steps only.
        policy: what Keras calls the dtypes of weights and of arithmetic; changes with `tune`.
    """

    imports: ClassVar[frozenset[str]] = IMPORTS

    def __init__(
        self,
        emitted: Emitted,
        *,
        dtype: Dtype = "float64",
        device: str = "cpu",
        eager: bool = True,
        engine: Engine | None = None,
        devices: int = 1,
        source: tuple[str, str | None] | None = None,
        drawn: bool = True,
    ) -> None:
        self.engine = engine or load(DEFAULT)
        self.engine.prepare(device, devices)
        self.emitted = emitted
        self.dtype = dtype
        self.device = DEVICES.get(device, device)
        self.slices = slices(self.device.partition(":")[0], devices) if devices > 1 else None
        self.eager = eager
        self.source = source
        if source is None:
            require_harmless(emitted.text, self.imports)
            self.program = Program(emitted.text, f"{emitted.entry} keras")
        else:
            self.program = own_program(source[0], f"{emitted.entry} keras")
        self.policy: str = dtype
        with self._precision():
            self.module = self.program.run() if source is None else run_own(self.program, source[0])
        self.build(drawn=drawn)
        if source is not None:
            self._require_names()

    def build(self, *, drawn: bool) -> None:
        """Make the model, as the policy says; another one before is forgotten."""
        with self._precision(), nullcontext() if drawn else undrawn():
            self.model, self.inference = self._made(self._entry()(), self.module)
            split = self.emitted.logits and hasattr(self.module, "logits_model")
            self.logits: Any = self.module.logits_model(self.model) if split else self.model
        self._compiled = False
        self.pulls: dict[bool, Any] = {}
        self._trainable = [v for v in variables(self.model).values() if v.trainable]
        self._tapped: Tapped | None = None

    def _made(self, model: Any, module: Any) -> tuple[Any, Any]:
        """The model with all outputs, and the one for inference; mostly they are the same."""
        inference = model
        if self.emitted.training_only and hasattr(module, "build_models"):
            model, inference = both(module)
        keep_statistics(model, self.dtype)
        return model, inference

    def _entry(self) -> Any:
        if self.source is None:
            return getattr(self.module, self.emitted.entry)
        path, name = self.source
        return own_entry(self.module, path, name or self.emitted.entry)

    def _require_names(self) -> None:
        """A file of the user's own needs the canonical names and shapes, and nothing else."""
        assert self.source is not None
        found_here = variables(self.model)
        faults = []
        for name, slot in self.emitted.slots.items():
            wanted = slot.stored
            if slot.path not in found_here:
                faults.append(f"it has no `{slot.path}` for `{name}`")
            elif tuple(found_here[slot.path].shape) != wanted:
                found = show(tuple(found_here[slot.path].shape))
                faults.append(f"its `{slot.path}` is {found}, not {show(wanted)}")
        known = {slot.path for slot in self.emitted.slots.values()}
        faults += [f"the spec has no `{path}`" for path in found_here if path not in known]
        if faults:
            raise DataError(
                Diagnostic("bad-source", f"`{self.source[0]}`: {fault}") for fault in faults[:20]
            )

    @contextmanager
    def _precision(self) -> Iterator[None]:
        """Keras' global precision is this session's inside, and what it was behind."""
        floatx, policy = keras.config.floatx(), keras.config.dtype_policy()
        try:
            # Losses and optimizers follow the one, layers the other.
            keras.config.set_floatx(self.dtype)
            keras.config.set_dtype_policy(self.policy)
            with keras.device(self.device), self.slices.scope() if self.slices else nullcontext():
                yield
        finally:
            keras.config.set_floatx(floatx)
            keras.config.set_dtype_policy(policy)

    # --- weights -------------------------------------------------------------------------------

    def weights(self, *, copy: bool = True) -> Mapping[str, Array]:
        """Every parameter and running statistic; each is made when it is asked for if not now."""
        live = Live(self.emitted, self.model)
        return dict(live) if copy else live

    def trained(self) -> Mapping[str, Array]:
        """The weights and their moving averages."""
        averages = getattr(getattr(self.logits, "optimizer", None), "averages", None)
        weights = Live(self.emitted, self.model)
        if not averages:
            return weights
        variables = self.logits.optimizer._trainable_variables
        return {**weights, **weights.alongside(variables, averages)}

    def draw(self, seed: int) -> Mapping[str, Array]:
        """Initial weights of another model, drawn from this seed."""
        # An initializer without a seed asks Python's generator for one.
        kept = random.getstate()
        random.seed(seed)
        try:
            with self._precision():
                model, _ = self._made(self._entry()(), self.module)
        finally:
            random.setstate(kept)
        return Live(self.emitted, model)

    def assign(self, weights: Mapping[str, Array]) -> None:
        """Set parameters and statistics."""
        check_weights(self.emitted, weights)
        with self._precision():
            self._load(self.model, weights)

    def _load(self, model: Any, weights: Mapping[str, Array]) -> None:
        live = variables(model)
        for name, value in weights.items():
            slot = self.emitted.slots[name]
            stored = slot.store(np.asarray(value))
            live[slot.path].assign(np.array(stored, CARRIERS.get(self.dtype, self.dtype)))

    # --- running -------------------------------------------------------------------------------

    def array(self, value: Array) -> Array:
        """Channels first to channels last, in memory of its own."""
        array = np.asarray(value)
        array = np.moveaxis(array, 1, -1) if array.ndim > 2 else array
        return np.array(array, CARRIERS.get(self.dtype, self.dtype), order="C")

    def target_array(self, value: Array) -> Array:
        """The same of a target; labels have no channels, and stay whole numbers."""
        array = np.asarray(value)
        whole = np.issubdtype(array.dtype, np.integer)
        return array.astype(np.int64) if whole else self.array(array)

    def _tensor(self, value: Array) -> Any:
        return keras.ops.convert_to_tensor(self.array(value), self.dtype)

    def _target(self, value: Array) -> Any:
        array = self.target_array(value)
        return keras.ops.convert_to_tensor(array, "int64" if array.dtype == int else self.dtype)

    def inputs(self, inputs: Mapping[str, Array]) -> dict[str, Any]:
        """As tensors, on all devices."""
        return {name: self._placed(self._tensor(inputs[name])) for name, _ in self.emitted.inputs}

    def _placed(self, tensor: Any) -> Any:
        return tensor if self.slices is None else self.slices.placed(tensor)

    def targets(self, targets: Mapping[str, Array], *, training: bool = True) -> Any:
        """As the file takes them."""
        names = self.emitted.present(training=training)
        return single({name: self._placed(self._target(targets[name])) for name in names})

    def named(self, outputs: Any, *, training: bool = True) -> dict[str, Any]:
        """By name, what the file gives; losses take it in the dtype of the weights."""
        names = self.emitted.present(training=training)
        given = outputs if isinstance(outputs, dict) else {names[0]: outputs}
        found = {name: given[name] for name in names if name in given}
        if self.policy == self.dtype:
            return found
        return {name: keras.ops.cast(value, self.dtype) for name, value in found.items()}

    def tune(self, tuning: Tuning) -> None:
        """Let the model run so, from now on; weights have to be assigned after it."""
        tune(self, tuning)

    def position(self, at: At) -> None:
        """Where in training the model stands, for its random layers."""
        self._position(self.module, self.model, at)

    def _position(self, module: Any, model: Any, at: At) -> None:
        if hasattr(module, "set_position"):
            module.set_position(model, at.update, at.first)

    def forward(
        self,
        inputs: Mapping[str, Array],
        *,
        training: bool = False,
        at: At = At(),
    ) -> dict[str, Array]:
        """Outputs by name."""
        with self._precision():
            self._position(self.module, self.model, at)
            model = self.model if training else self.inference
            outputs = model(single(self.inputs(inputs)), training=training)
            return arrays(self.named(outputs, training=training))

    def gradients(
        self,
        inputs: Mapping[str, Array],
        *,
        targets: Mapping[str, Array] | None = None,
        cotangents: Mapping[str, Array] | None = None,
        training: bool = True,
        at: At = At(),
    ) -> Gradients:
        """Gradients of the loss at `targets`, or of the outputs against `cotangents`."""
        with self._precision():
            self._position(self.module, self.model, at)
            before = self._statistics(self.model)
            model = self.model if targets is None else self.logits

            def run(leaves: Leaves, _: Mapping[str, Any]) -> Pass:
                outputs = self.named(model(single(leaves), training=training), training=training)
                if targets is None:
                    assert cotangents is not None
                    seeds = [self._tensor(value) for value in cotangents.values()]
                    return Pass([outputs[name] for name in cotangents], seeds, outputs)
                wanted = self.targets(targets, training=training)
                total = self._loss(single(outputs), wanted)
                return Pass([total], [keras.ops.ones_like(total)], outputs, loss=total)

            trained = parameters(self.emitted, self.model)
            found, pulled = self.engine.pull(run, self.inputs(inputs), trained, self.model)
            gradients = Gradients(
                parameters=self._canonical(pulled.parameters),
                inputs=arrays(pulled.leaves),
                outputs=arrays(found.outputs),
                statistics=self._statistics(self.model),
                loss=None if found.loss is None else float(plain(found.loss)),
            )
            self._load(self.model, before)
            return gradients

    def _loss(self, outputs: Any, targets: Any) -> Any:
        weights = getattr(self.module, "LOSS_WEIGHTS", {})
        losses = self.module.loss_sum(outputs, targets)
        return sum(weights.get(n, 1.0) * s / w for n, (s, w) in losses.items())

    def _statistics(self, model: Any) -> dict[str, Array]:
        trained, live = parameters(self.emitted, model), Live(self.emitted, model)
        return {name: live[name] for name in live if name not in trained}

    def _canonical(self, gradients: dict[str, Any]) -> dict[str, Array]:
        """In canonical layout; takes each one out, so that both are never there together."""
        return {
            name: np.ascontiguousarray(self.emitted.slots[name].restore(plain(gradients.pop(name))))
            for name in list(gradients)
        }

    def step(
        self,
        inputs: Mapping[str, Array],
        targets: Mapping[str, Array],
        *,
        at: At = At(),
        updates_per_epoch: int = 1,
    ) -> float:
        """One update by the file's own `train_step`."""
        with self._precision():
            self._compile()
            given = single(self.inputs(inputs))
            wanted = self.targets(targets)
            loss = self.module.train_step(self.logits, given, wanted, at.update, updates_per_epoch)
            return float(loss)

    def update(self, parts: Sequence[Part], *, at: At = At(), updates_per_epoch: int = 1) -> float:
        """One update of several batches."""
        with self._precision():
            self._compile()
            return update(self, parts, at, updates_per_epoch)

    def fit_epoch(
        self,
        batches: Iterator[Given],
        *,
        first_update: int,
        updates_per_epoch: int,
        count: int,
        on_batch: Callable[[int, float], bool],
    ) -> None:
        """The updates of an epoch by Keras' own `fit`; see `FitsEpochs`."""
        with self._precision():
            self._compile()
            fit_epoch(self, batches, first_update, updates_per_epoch, count, on_batch)

    def _compile(self) -> None:
        if not self._compiled:
            self.pulls = {}
            self.module.compile_model(self.logits, run_eagerly=self.eager)
            if not self.eager:
                self.engine.compile(self.logits)
            self._compiled = True

    def evaluate(
        self,
        inputs: Mapping[str, Array],
        targets: Mapping[str, Array],
        *,
        training: bool = False,
        at: At = At(),
    ) -> Evaluation:
        """The file's own `loss_sum`, without gradients."""
        with self._precision():
            self._position(self.module, self.model, at)
            raw = self.logits(single(self.inputs(inputs)), training=training)
            outputs = self.named(raw, training=training)
            wanted = self.targets(targets, training=training)
            losses = self.module.loss_sum(single(outputs), wanted)
            return Evaluation(
                outputs=arrays(outputs),
                losses={n: (float(plain(s)), float(plain(w))) for n, (s, w) in losses.items()},
            )

    def reset(self) -> None:
        """Forget the optimizer's state, and what it has frozen."""
        self._compiled = False
        for variable in self._trainable:
            variable.trainable = True

    def state(self) -> dict[str, Array]:
        """Everything besides the weights that further updates depend on."""
        if not self._compiled or not self.logits.optimizer.built:
            return {}
        return kept.read(self.emitted, self.logits, self.logits.optimizer)

    def restore(self, state: Mapping[str, Array]) -> None:
        """Go on where the session was that gave this state."""
        self._compiled = False
        with self._precision():
            self._compile()
            if state:
                self.logits.optimizer.build(self.logits.trainable_variables)
                kept.write(self.emitted, self.logits, self.logits.optimizer, state)

    def learning_rate(self, update: int, updates_per_epoch: int) -> float:
        """The file's own learning rate of an update."""
        return float(self.module.learning_rate(update, updates_per_epoch))

    def learning_rates(self, count: int, updates_per_epoch: int) -> list[float]:
        """The file's own learning rates of the first updates."""
        return [self.learning_rate(update, updates_per_epoch) for update in range(count)]

    def trains(self) -> bool:
        """Whether the file has the training functions."""
        return all(hasattr(self.module, name) for name in ("train_step", "compile_model"))

    def random_rates(self) -> dict[str, float]:
        """The probability of each of Keras' own dropout layers, by its name."""
        return {layer.name: float(layer.rate) for layer in self._dropouts()}

    def silence(self) -> None:
        """Set those probabilities to 0."""
        for layer in self._dropouts():
            layer.rate = 0.0

    def _dropouts(self) -> list[Any]:
        kinds = (keras.layers.Dropout, keras.layers.AlphaDropout)
        return [x for x in self.model.layers if isinstance(x, kinds)]

    def watch(self, inputs: Mapping[str, Array], *, training: bool = False) -> dict[str, Array]:
        """The output of every layer, by its name; the first where one is called twice."""
        with self._precision():
            before = self._statistics(self.model)
            layers = [
                layer
                for layer in self.model.layers
                if not isinstance(layer, keras.layers.InputLayer)
            ]
            # `layer.output` refuses a layer that is called twice.
            tensors = {layer.name: layer._inbound_nodes[0].output_tensors[0] for layer in layers}
            watching = keras.Model(self.model.inputs, tensors)
            given = list(self.inputs(inputs).values())
            found = arrays(watching(given if len(given) > 1 else given[0], training=training))
            self._load(self.model, before)
            return found

    # --- trace ---------------------------------------------------------------------------------

    def trace(
        self,
        inputs: Mapping[str, Array],
        *,
        feed: Mapping[str, Sequence[Array]] | None = None,
        perturb: Mapping[str, Array] | None = None,
        cotangents: Mapping[str, Array] | None = None,
        training: bool = False,
        at: At = At(),
    ) -> Trace:
        """Run the same text with every node tapped."""
        with self._precision():
            if self._tapped is None:
                self._tapped = Tapped(self.emitted, self.imports, self.engine)
                keep_statistics(self._tapped.model, self.dtype)
            tapped, recorder = self._tapped, self._tapped.recorder
            share(self.emitted, self.model, tapped.model)
            self._load(tapped.model, self._statistics(self.model))
            self._position(tapped.module, tapped.model, at)
            model = tapped.model if training else tapped.inference
            given = self.inputs(inputs)
            fed = {n: [self._tensor(v) for v in values] for n, values in (feed or {}).items()}
            moved = {n: self._tensor(v) for n, v in (perturb or {}).items()}

            def run(leaves: Leaves, offsets: Mapping[str, Any]) -> Pass:
                recorder.clear()
                recorder.perturb, recorder.offsets = moved, offsets
                if feed is not None:
                    recorder.feed = {
                        node: [leaves[f"{node}:{i}"] for i in range(len(values))]
                        for node, values in fed.items()
                    }
                first = given if feed is not None else leaves
                outputs = self.named(model(single(first), training=training), training=training)
                heads = recorder.values if feed is not None else outputs
                return Pass(
                    [heads[name] for name in cotangents or ()],
                    [self._tensor(value) for value in (cotangents or {}).values()],
                    outputs,
                    recorder.values,
                )

            leaves = given
            if feed is not None:
                leaves = {f"{node}:{i}": v for node, vs in fed.items() for i, v in enumerate(vs)}
            try:
                if not cotangents:
                    seen = run(leaves, {})
                    return self._seen(seen, tapped.model)
                trained = parameters(self.emitted, tapped.model)
                seen, pulled = self.engine.pull(
                    run, leaves, trained, tapped.model, inner=feed is None
                )
            finally:
                recorder.clear()
            found = self._seen(seen, tapped.model)
            found.parameters = self._canonical(pulled.parameters)
            if feed is None:
                found.gradients = arrays(pulled.values)
                found.inputs = arrays(pulled.leaves)
            else:
                found.own = {
                    node: tuple(
                        channels_first(pulled.leaves[f"{node}:{i}"]) for i in range(len(values))
                    )
                    for node, values in fed.items()
                }
            return found

    def _seen(self, seen: Pass, model: Any) -> Trace:
        return Trace(
            values=arrays(seen.values),
            outputs=arrays(seen.outputs),
            statistics=self._statistics(model),
        )

    def close(self) -> None:
        """Forget the loaded modules."""
        registered.close(self.program)
        if self._tapped is not None:
            registered.close(self._tapped.program)
