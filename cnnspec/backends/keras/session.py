"""A live Keras model made of emitted text, on TensorFlow, and its taps."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from cnnspec.backends.base import At, Dtype, Emitted, Evaluation, Gradients, Trace
from cnnspec.backends.keras import IMPORTS
from cnnspec.backends.program import (
    FEED,
    PARTS,
    TAP,
    Program,
    own_entry,
    own_program,
    require_harmless,
    run_own,
    tapped,
)
from cnnspec.backends.slots import check_weights
from cnnspec.diagnostics import DataError, Diagnostic, SetupError
from cnnspec.ops.base import show

if TYPE_CHECKING:
    from cnnspec.backends.base import Array

# Keras reads its engine, and TensorFlow how much it logs, once, when they are imported.
os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep what TensorFlow writes to descriptor 2 while it is imported; no setting silences it."""
    sys.stderr.flush()
    kept = os.dup(2)
    with tempfile.TemporaryFile() as nowhere:
        os.dup2(nowhere.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(kept, 2)
            os.close(kept)


try:
    with _quiet():
        import keras
        import tensorflow as tf
except ImportError as fault:
    raise SetupError(
        Diagnostic(
            "backend-missing",
            "the keras backend needs Keras and TensorFlow, which cannot be imported",
            notes=(str(fault),),
            help="pip install 'cnnspec[tensorflow]'",
        )
    ) from fault

# Keras compiles a grouped convolution anew for every eager call, which TensorFlow warns about.
tf.get_logger().setLevel("ERROR")

DEVICES = {"cpu": "/CPU:0", "cuda": "/GPU:0", "gpu": "/GPU:0"}


class KerasSession:
    """Executes exactly the emitted text; a second, tapped copy of the same text traces it.

    Attributes:
        eager: whether `step` runs op by op; tracing a graph first pays off after many steps only.
    """

    imports: ClassVar[frozenset[str]] = IMPORTS

    def __init__(
        self,
        emitted: Emitted,
        *,
        dtype: Dtype = "float64",
        device: str = "cpu",
        eager: bool = True,
        source: tuple[str, str | None] | None = None,
    ) -> None:
        if keras.backend.backend() != "tensorflow":
            raise SetupError(
                Diagnostic(
                    "backend-missing",
                    f"Keras runs on {keras.backend.backend()} here, and cnnspec needs TensorFlow",
                    help="set the environment variable KERAS_BACKEND to tensorflow",
                )
            )
        self.emitted = emitted
        self.dtype = dtype
        self.device = DEVICES.get(device, device)
        self.eager = eager
        self.source = source
        if source is None:
            require_harmless(emitted.text, self.imports)
            self.program = Program(emitted.text, f"{emitted.entry} keras")
        else:
            self.program = own_program(source[0], f"{emitted.entry} keras")
        with self._precision():
            self.module = self.program.run() if source is None else run_own(self.program, source[0])
            self.model, self.inference = self._made(self._entry()(), self.module)
            split = emitted.logits and hasattr(self.module, "logits_model")
            self.logits: Any = self.module.logits_model(self.model) if split else self.model
        if source is not None:
            self._require_names()
        self._compiled = False
        self._tapped: _Tapped | None = None

    def _made(self, model: Any, module: Any) -> tuple[Any, Any]:
        """The model with all outputs, and the one for inference; mostly they are the same."""
        if not self.emitted.training_only or not hasattr(module, "build_models"):
            return model, model
        return _both(module)

    def _entry(self) -> Any:
        if self.source is None:
            return getattr(self.module, self.emitted.entry)
        path, name = self.source
        return own_entry(self.module, path, name or self.emitted.entry)

    def _require_names(self) -> None:
        """A file of the user's own needs the canonical names and shapes, and nothing else."""
        assert self.source is not None
        variables = _variables(self.model)
        faults = []
        for name, slot in self.emitted.slots.items():
            wanted = slot.stored
            if slot.path not in variables:
                faults.append(f"it has no `{slot.path}` for `{name}`")
            elif tuple(variables[slot.path].shape) != wanted:
                found = show(tuple(variables[slot.path].shape))
                faults.append(f"its `{slot.path}` is {found}, not {show(wanted)}")
        known = {slot.path for slot in self.emitted.slots.values()}
        faults += [f"the spec has no `{path}`" for path in variables if path not in known]
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
            keras.config.set_dtype_policy(self.dtype)
            with tf.device(self.device):
                yield
        finally:
            keras.config.set_floatx(floatx)
            keras.config.set_dtype_policy(policy)

    # --- weights -------------------------------------------------------------------------------

    def weights(self, *, copy: bool = True) -> Mapping[str, Array]:
        """Every parameter and running statistic; each is made when it is asked for if not now."""
        live = _Live(self.emitted, self.model)
        return dict(live) if copy else live

    def assign(self, weights: Mapping[str, Array]) -> None:
        """Set parameters and statistics."""
        check_weights(self.emitted, weights)
        with self._precision():
            self._load(self.model, weights)

    def _load(self, model: Any, weights: Mapping[str, Array]) -> None:
        variables = _variables(model)
        for name, value in weights.items():
            slot = self.emitted.slots[name]
            variables[slot.path].assign(slot.store(np.asarray(value)).astype(self.dtype))

    # --- running -------------------------------------------------------------------------------

    def _tensor(self, value: Array) -> Any:
        """Channels first to channels last."""
        array = np.asarray(value, self.dtype)
        return tf.constant(np.moveaxis(array, 1, -1) if array.ndim > 2 else array)

    def _target(self, value: Array) -> Any:
        array = np.asarray(value)
        if np.issubdtype(array.dtype, np.integer):  # labels have no channels
            return tf.constant(array.astype(np.int64))
        return self._tensor(array)

    def _inputs(self, inputs: Mapping[str, Array]) -> dict[str, Any]:
        return {name: self._tensor(inputs[name]) for name, _ in self.emitted.inputs}

    def _targets(self, targets: Mapping[str, Array], *, training: bool = True) -> Any:
        names = self.emitted.present(training=training)
        return _single({name: self._target(targets[name]) for name in names})

    def _named(self, outputs: Any, *, training: bool = True) -> dict[str, Any]:
        names = self.emitted.present(training=training)
        if isinstance(outputs, dict):
            return {name: outputs[name] for name in names if name in outputs}
        return {names[0]: outputs}

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
            outputs = model(_single(self._inputs(inputs)), training=training)
            return _arrays(self._named(outputs, training=training))

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
            leaves = self._inputs(inputs)
            loss: float | None = None
            with tf.GradientTape() as tape:
                tape.watch(leaves)
                model = self.model if targets is None else self.logits
                raw = model(_single(leaves), training=training)
                outputs = self._named(raw, training=training)
                if targets is not None:
                    wanted = self._targets(targets, training=training)
                    total = self._loss(_single(outputs), wanted)
                    heads, seeds = [total], [tf.ones_like(total)]
                    loss = float(total.numpy())
                else:
                    assert cotangents is not None
                    heads = [outputs[name] for name in cotangents]
                    seeds = [self._tensor(value) for value in cotangents.values()]
            parameters = _parameters(self.emitted, self.model)
            found = _pull(tape, heads, seeds, {"inputs": leaves, "parameters": parameters})
            gradients = Gradients(
                parameters=self._canonical(found["parameters"]),
                inputs=_arrays(found["inputs"]),
                outputs=_arrays(outputs),
                statistics=self._statistics(self.model),
                loss=loss,
            )
            self._load(self.model, before)
            return gradients

    def _loss(self, outputs: Any, targets: Any) -> Any:
        weights = getattr(self.module, "LOSS_WEIGHTS", {})
        losses = self.module.loss_sum(outputs, targets)
        return sum(weights.get(n, 1.0) * s / w for n, (s, w) in losses.items())

    def _statistics(self, model: Any) -> dict[str, Array]:
        parameters, live = _parameters(self.emitted, model), _Live(self.emitted, model)
        return {name: live[name] for name in live if name not in parameters}

    def _canonical(self, gradients: dict[str, Any]) -> dict[str, Array]:
        """In canonical layout; takes each one out, so that both are never there together."""
        return {
            name: np.ascontiguousarray(
                self.emitted.slots[name].restore(gradients.pop(name).numpy())
            )
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
            if not self._compiled:
                self.module.compile_model(self.logits, run_eagerly=self.eager)
                self._compiled = True
            given = _single(self._inputs(inputs))
            wanted = self._targets(targets)
            loss = self.module.train_step(self.logits, given, wanted, at.update, updates_per_epoch)
            return float(loss)

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
            raw = self.logits(_single(self._inputs(inputs)), training=training)
            outputs = self._named(raw, training=training)
            wanted = self._targets(targets, training=training)
            losses = self.module.loss_sum(_single(outputs), wanted)
            return Evaluation(
                outputs=_arrays(outputs),
                losses={name: (float(s), float(w)) for name, (s, w) in losses.items()},
            )

    def reset(self) -> None:
        """Forget the optimizer's state."""
        self._compiled = False

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
            given = list(self._inputs(inputs).values())
            found = _arrays(watching(given if len(given) > 1 else given[0], training=training))
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
                self._tapped = _Tapped(self.emitted, self.imports)
                _share(self.emitted, self.model, self._tapped.model)
            tapped = self._tapped
            self._load(tapped.model, self._statistics(self.model))
            self._position(tapped.module, tapped.model, at)
            recorder = tapped.recorder
            recorder.values = {}
            recorder.perturb = {n: self._tensor(v) for n, v in (perturb or {}).items()}
            fed = {n: [self._tensor(v) for v in given] for n, given in (feed or {}).items()}
            recorder.feed = None if feed is None else fed
            leaves = self._inputs(inputs)
            parameters = _parameters(self.emitted, tapped.model)
            with tf.GradientTape() as tape:
                tape.watch((leaves, fed))
                model = tapped.model if training else tapped.inference
                outputs = self._named(model(_single(leaves), training=training), training=training)
            values = recorder.values
            found = Trace(values=_arrays(values), outputs=_arrays(outputs))
            found.statistics = self._statistics(tapped.model)
            if cotangents:
                heads = values if feed is not None else outputs
                pulled = _pull(
                    tape,
                    [heads[name] for name in cotangents],
                    [self._tensor(value) for value in cotangents.values()],
                    {"parameters": parameters, "feed": fed}
                    if feed is not None
                    else {"parameters": parameters, "values": values, "inputs": leaves},
                )
                found.parameters = self._canonical(pulled["parameters"])
                if feed is None:
                    found.gradients = _arrays(pulled["values"])
                    found.inputs = _arrays(pulled["inputs"])
                else:
                    found.own = {
                        node: tuple(_array(value) for value in given)
                        for node, given in pulled["feed"].items()
                    }
            recorder.values, recorder.feed, recorder.perturb = {}, None, {}
            return found

    def close(self) -> None:
        """Forget the loaded modules."""
        self.program.close()
        if self._tapped is not None:
            self._tapped.program.close()


class _Recorder:
    """What the taps of one model write and read during a pass."""

    def __init__(self) -> None:
        self.values: dict[str, Any] = {}
        self.feed: Mapping[str, Sequence[Any]] | None = None
        self.perturb: Mapping[str, Any] = {}


class _Passing(keras.Operation):
    """Something between layers that changes no shape; no layer, as these take long to make."""

    def compute_output_spec(self, x: Any) -> Any:
        """The input's."""
        return keras.KerasTensor(x.shape, x.dtype)


class Tap(_Passing):
    """Records a node's value on its way."""

    def __init__(self, recorder: _Recorder, node: str) -> None:
        super().__init__(name=f"{node}.tap")
        self.recorder, self.node = recorder, node

    def call(self, x: Any) -> Any:
        """The value, or the value times its perturbation; a tensor of its own in any case."""
        if self.recorder.feed is not None and self.node not in self.recorder.feed:
            return x
        factor = self.recorder.perturb.get(self.node)
        x = tf.identity(x) if factor is None else x * factor
        self.recorder.values[self.node] = x
        return x


class Feed(_Passing):
    """Puts another value in the place of a node's input."""

    def __init__(self, recorder: _Recorder, node: str, index: int) -> None:
        super().__init__(name=f"{node}.feed{index}")
        self.recorder, self.node, self.index = recorder, node, index

    def call(self, x: Any) -> Any:
        """The value that is fed, or the input where there is none."""
        feed = self.recorder.feed
        return x if feed is None or self.node not in feed else feed[self.node][self.index]


class _Tapped:
    """The same text with taps, which are layers between those of the text."""

    def __init__(self, emitted: Emitted, imports: Collection[str]) -> None:
        title = f"{emitted.entry} keras tapped"
        self.program = tapped(emitted.text, title, emitted.lines, imports, "name")
        self.recorder = _Recorder()

        def tap(node: str, *shared: Any) -> Any:
            *instance, x = shared
            return Tap(self.recorder, ".".join([*instance, node]))(x)

        def feed(node: str, index: int, *shared: Any) -> Any:
            *instance, x = shared
            return Feed(self.recorder, ".".join([*instance, node]), index)(x)

        def parts(names: tuple[str, ...], instance: str | None, layer: Any, x: Any) -> list[Any]:
            own = [] if instance is None else [instance]
            found = [layer(feed(name, 0, *own, x))[i] for i, name in enumerate(names)]
            return [tap(name, *own, y) for name, y in zip(names, found, strict=True)]

        self.module = self.program.run(**{TAP: tap, FEED: feed, PARTS: parts})
        with _as_deep_as_without_taps():
            if emitted.training_only:
                self.model, self.inference = _both(self.module)
            else:
                self.model = self.inference = getattr(self.module, emitted.entry)()


@contextmanager
def _as_deep_as_without_taps() -> Iterator[None]:
    """A layer with its tap and its feeds is three, and Keras recurses over a model's layers.

    What Keras refuses of the text itself, it refuses of the model that has no taps.
    """
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(4 * limit)
    try:
        yield
    finally:
        sys.setrecursionlimit(limit)


def _both(module: Any) -> tuple[Any, Any]:
    """The model with all outputs, and the one for inference."""
    inference, training = module.build_models()
    return training, inference


def _layers(model: Any) -> Iterator[Any]:
    """Every layer of a model, those inside repeated blocks as well."""
    for layer in model.layers:
        inside = getattr(layer, "blocks", None)
        if isinstance(inside, list):
            for block in inside:
                yield from _layers(block)
        else:
            yield layer


class _Live(Mapping[str, "Array"]):
    """A model's weights in canonical layout, each converted when it is asked for."""

    def __init__(self, emitted: Emitted, model: Any) -> None:
        self._slots = emitted.slots
        self._variables = _variables(model)

    def __getitem__(self, name: str) -> Array:
        slot = self._slots[name]
        return np.ascontiguousarray(slot.restore(self._variables[slot.path].numpy()))

    def __iter__(self) -> Iterator[str]:
        return iter(self._slots)

    def __len__(self) -> int:
        return len(self._slots)


def _share(emitted: Emitted, model: Any, copy: Any) -> None:
    """Let a copy have the very parameters of a model; its running statistics stay its own."""
    trained = {emitted.slots[name].path for name in _parameters(emitted, model)}
    own, others = _weights(model), _weights(copy)
    for path in trained:
        others[path]._value = own[path]._value


def _weights(model: Any) -> dict[str, Any]:
    """Every Keras variable by the path that slots use."""
    return {f"{layer.name}/{v.name}": v for layer in _layers(model) for v in layer.weights}


def _variables(model: Any) -> dict[str, Any]:
    """Every weight by the path that slots use."""
    return {f"{layer.name}/{v.name}": v.value for layer in _layers(model) for v in layer.weights}


def _parameters(emitted: Emitted, model: Any) -> dict[str, Any]:
    """What is trained, by canonical name."""
    trained = {
        f"{layer.name}/{v.name}": v.value
        for layer in _layers(model)
        for v in layer.trainable_weights
    }
    return {name: trained[s.path] for name, s in emitted.slots.items() if s.path in trained}


def _pull(tape: Any, heads: Sequence[Any], seeds: Sequence[Any], sources: Any) -> Any:
    """Cotangents pulled back to `sources`, in one backward pass; zeros where nothing arrives."""
    return tape.gradient(
        heads,
        sources,
        output_gradients=seeds,
        unconnected_gradients=tf.UnconnectedGradients.ZERO,
    )


def _single(values: dict[str, Any]) -> Any:
    """One value is itself, several are a mapping, as in the text."""
    return next(iter(values.values())) if len(values) == 1 else values


def _array(tensor: Any) -> Array:
    """Channels last to channels first."""
    value: Array = tf.convert_to_tensor(tensor).numpy()
    return np.ascontiguousarray(np.moveaxis(value, -1, 1) if value.ndim > 2 else value)


def _arrays(tensors: Mapping[str, Any]) -> dict[str, Array]:
    return {name: _array(tensor) for name, tensor in tensors.items()}
