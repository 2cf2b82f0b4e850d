"""A live NumPy model made of emitted text."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Container, Generator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from cnnspec.backends.base import At, Dtype, Emitted, Evaluation, Gradients, Part, Trace
from cnnspec.backends.numpy import IMPORTS
from cnnspec.backends.numpy import state as kept
from cnnspec.backends.numpy.taps import Tapped
from cnnspec.backends.numpy.undrawn import NoDraws
from cnnspec.backends.numpy.update import update
from cnnspec.backends.program import Program, own_entry, own_program, require_harmless, run_own
from cnnspec.backends.slots import check_weights
from cnnspec.diagnostics import Diagnostic, SetupError

if TYPE_CHECKING:
    from cnnspec.backends.base import Array
    from cnnspec.backends.numpy.taps import Noise, Observer, Pair


ZERO = np.zeros(())


class NumpySession:
    """Executes exactly the emitted text; a second, tapped copy of the same text traces it."""

    imports: ClassVar[frozenset[str]] = IMPORTS

    def __init__(
        self,
        emitted: Emitted,
        *,
        dtype: Dtype = "float64",
        device: str = "cpu",
        source: tuple[str, str | None] | None = None,
        drawn: bool = True,
    ) -> None:
        """Open it.

        Args:
            emitted: the text.
            dtype: of parameters and values.
            device: "cpu".
            source: a file in its place, and the name in it.
            drawn: whether to draw initial weights; else they are meaningless until `assign`.
        """
        if device != "cpu":
            raise SetupError(Diagnostic("unknown-device", f"NumPy has no device `{device}`"))
        self.emitted = emitted
        self.dtype = np.dtype(dtype)
        self.source = source
        if source is None:
            require_harmless(emitted.text, self.imports)
            self.program = Program(emitted.text, f"{emitted.entry} numpy")
            self.module = self.program.run()
        else:
            self.program = own_program(source[0], f"{emitted.entry} numpy")
            self.module = run_own(self.program, source[0])
        blank = None if drawn else NoDraws(np.random.PCG64(0))
        self.model = self._make(self.module, blank)
        self._optimizer: Any = None
        self._tapped: Tapped | None = None

    def _make(self, module: Any, seed: Any = None) -> Any:
        if self.source is None:
            made = getattr(module, self.emitted.entry)
            seeded = "seed" in inspect.signature(made).parameters
            return (made(seed) if seeded else made()).astype(self.dtype)
        path, name = self.source
        return own_entry(module, path, name or self.emitted.entry)().astype(self.dtype)

    # --- weights -------------------------------------------------------------------------------

    def weights(self, *, copy: bool = True) -> dict[str, Array]:
        """Every parameter and running statistic; the model's own arrays if they are not copied."""
        state = self.model.state()
        found = {name: state[slot.path] for name, slot in self.emitted.slots.items()}
        return {name: value.copy() for name, value in found.items()} if copy else found

    def trained(self) -> dict[str, Array]:
        """The weights and their moving averages; the model's own arrays."""
        return {**self.weights(copy=False), **_averages(self.model)}

    def draw(self, seed: int) -> Mapping[str, Array]:
        """Initial weights of another model, drawn from this seed."""
        state = self._make(self.module, seed).state()
        return {name: state[slot.path] for name, slot in self.emitted.slots.items()}

    def assign(self, weights: Mapping[str, Array]) -> None:
        """Set parameters and statistics."""
        check_weights(self.emitted, weights)
        self.put(weights)

    def put(self, weights: Mapping[str, Array]) -> None:
        """Set some parameters and statistics, of the canonical names and shapes."""
        state = self.model.state()
        for name, value in weights.items():
            state[self.emitted.slots[name].path][...] = value

    # --- running -------------------------------------------------------------------------------

    def _inputs(self, inputs: Mapping[str, Array]) -> list[Array]:
        return [np.asarray(inputs[name]).astype(self.dtype) for name, _ in self.emitted.inputs]

    def _target(self, value: Array) -> Array:
        value = np.asarray(value)
        return value if np.issubdtype(value.dtype, np.integer) else value.astype(self.dtype)

    def targets(self, targets: Mapping[str, Array], *, training: bool = True) -> Any:
        """As the file takes them."""
        names = self.emitted.present(training=training)
        made = {name: self._target(targets[name]) for name in names}
        return next(iter(made.values())) if len(made) == 1 else made

    def _named(self, outputs: Any) -> dict[str, Array]:
        return (
            dict(outputs)
            if isinstance(outputs, dict)
            else {self.emitted.present(training=False)[0]: outputs}
        )

    def _unnamed(self, values: Mapping[str, Array], *, training: bool) -> Any:
        names = self.emitted.present(training=training)
        made = {name: np.asarray(values[name]).astype(self.dtype) for name in names}
        return next(iter(made.values())) if len(made) == 1 else made

    def _named_inputs(self, gradients: Any) -> dict[str, Array]:
        if isinstance(gradients, dict):
            return dict(gradients)
        return {self.emitted.inputs[0][0]: gradients}

    def forward(
        self,
        inputs: Mapping[str, Array],
        *,
        training: bool = False,
        at: At = At(),
    ) -> dict[str, Array]:
        """Outputs by name."""
        _position(self.model, at)
        arrays = self._inputs(inputs)
        # A file that somebody else has written need not have more than `forward`.
        if training or not hasattr(self.model, "predict"):
            return self._named(self.model.forward(*arrays, training)[0])
        return self._named(self.model.predict(*arrays))

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
        _position(self.model, at)
        before = self._statistics(self.model)
        self.model.zero_gradients()
        method = self.model.forward
        if targets is not None and self.emitted.logits:
            method = self.model.logits
        outputs, backward = method(*self._inputs(inputs), training)
        loss: float | None = None
        if targets is not None:
            loss, gradient = self._loss(outputs, self.targets(targets, training=training))
        else:
            assert cotangents is not None
            gradient = self._unnamed(cotangents, training=training)
        given = backward(gradient)
        found = Gradients(
            parameters=self._parameter_gradients(self.model),
            inputs=self._named_inputs(given),
            outputs=self._named(outputs),
            statistics=self._statistics(self.model),
            loss=loss,
        )
        self.model.zero_gradients()
        self.put(before)
        return found

    def _loss(self, outputs: Any, targets: Any) -> tuple[float, Any]:
        weights = getattr(self.module, "LOSS_WEIGHTS", {})
        losses = self.module.loss_sum(outputs, targets)
        gradients = self.module.loss_gradient(outputs, targets)
        total = sum(weights.get(n, 1.0) * s / w for n, (s, w) in losses.items())
        scaled = {n: weights.get(n, 1.0) * gradients[n] / w for n, (_, w) in losses.items()}
        return float(total), next(iter(scaled.values())) if len(scaled) == 1 else scaled

    def _statistics(self, model: Any) -> dict[str, Array]:
        return {
            f"{path}.{name}": value.copy()
            for path, layer in model.layers()
            for name, value in layer.statistics.items()
        }

    def _parameter_gradients(self, model: Any) -> dict[str, Array]:
        gradients = model.gradients()
        return {
            name: gradients[name] if name in gradients else np.broadcast_to(ZERO, array.shape)
            for name, array in model.parameters().items()
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
        if self._optimizer is None:
            self._optimizer = self.module.make_optimizer(self.model)
        return self._step(
            self.module, self.model, self._optimizer, inputs, targets, at, updates_per_epoch
        )

    def _step(
        self,
        module: Any,
        model: Any,
        optimizer: Any,
        inputs: Mapping[str, Array],
        targets: Mapping[str, Array],
        at: At,
        updates_per_epoch: int,
    ) -> float:
        arrays = self._inputs(inputs)
        given: Any = arrays[0]
        if len(arrays) > 1:
            given = {n: a for (n, _), a in zip(self.emitted.inputs, arrays, strict=True)}
        # A run that diverges ends in infinities, which whoever asked for it has to look at.
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            loss = module.train_step(
                model, optimizer, given, self.targets(targets), at.update, updates_per_epoch
            )
        return float(loss)

    def update(self, parts: Sequence[Part], *, at: At = At(), updates_per_epoch: int = 1) -> float:
        """One update of several batches."""
        if self._optimizer is None:
            self._optimizer = self.module.make_optimizer(self.model)
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            return update(self, self._optimizer, parts, at, updates_per_epoch)

    def position(self, at: At) -> None:
        """Where in training the model stands, for its random layers."""
        _position(self.model, at)

    def logits(self, inputs: Mapping[str, Array]) -> Pair:
        """What the losses read in training mode, and its way back."""
        method = self.model.logits if self.emitted.logits else self.model.forward
        pair: Pair = method(*self._inputs(inputs), training=True)
        return pair

    def evaluate(
        self,
        inputs: Mapping[str, Array],
        targets: Mapping[str, Array],
        *,
        training: bool = False,
        at: At = At(),
    ) -> Evaluation:
        """The file's own `loss_sum`, without gradients."""
        _position(self.model, at)
        method = self.model.logits if self.emitted.logits else self.model.forward
        raw, _ = method(*self._inputs(inputs), training)
        losses = self.module.loss_sum(raw, self.targets(targets, training=training))
        return Evaluation(
            outputs=self._named(raw),
            losses={name: (float(s), float(w)) for name, (s, w) in losses.items()},
        )

    def reset(self) -> None:
        """Forget the optimizer's state."""
        self._optimizer = None
        self.model.zero_gradients()

    def state(self) -> dict[str, Array]:
        """Everything besides the weights that further updates depend on."""
        return (
            {} if self._optimizer is None else kept.read(self.emitted, self.model, self._optimizer)
        )

    def restore(self, state: Mapping[str, Array]) -> None:
        """Go on where the session was that gave this state."""
        self._optimizer = self.module.make_optimizer(self.model)
        kept.write(self.emitted, self.model, self._optimizer, state)

    def learning_rate(self, update: int, updates_per_epoch: int) -> float:
        """The file's own learning rate of an update."""
        return float(self.module.learning_rate(update, updates_per_epoch))

    def learning_rates(self, count: int, updates_per_epoch: int) -> list[float]:
        """The file's own learning rates of the first updates."""
        return [self.learning_rate(update, updates_per_epoch) for update in range(count)]

    def trains(self) -> bool:
        """Whether the file has the training functions."""
        return all(hasattr(self.module, name) for name in ("train_step", "make_optimizer"))

    def random_rates(self) -> dict[str, float]:
        """The probability of each layer with a generator of its own, by its path."""
        return {path: float(layer.p) for path, layer in self._dropouts()}

    def silence(self) -> None:
        """Set those probabilities to 0."""
        for _, layer in self._dropouts():
            layer.p = 0.0

    def _dropouts(self) -> list[tuple[str, Any]]:
        return [(path, layer) for path, layer in self.model.layers() if hasattr(layer, "p")]

    def watch(self, inputs: Mapping[str, Array], *, training: bool = False) -> dict[str, Array]:
        """The output of every layer that holds something, by its path; the first where two."""
        found: dict[str, Array] = {}
        before = self._statistics(self.model)

        def watched(path: str, forward: Callable[..., Pair]) -> Callable[..., Pair]:
            def remember(x: Array, training: bool = False) -> Pair:
                pair = forward(x, training)
                found.setdefault(path, pair[0])
                return pair

            return remember

        layers = self.model.layers()
        for path, layer in layers:
            layer.forward = watched(path, layer.forward)
        try:
            self.forward(inputs, training=training)
        finally:
            for _, layer in layers:
                del layer.forward
            self.put(before)
        return found

    # --- trace ---------------------------------------------------------------------------------

    def tapped(self) -> Tapped:
        """The tapped copy; its parameters are this model's, its statistics equal to them."""
        if self._tapped is None:
            self._tapped = Tapped(self.emitted, self.imports, self._make)
        pairs = zip(self.model.layers(), self._tapped.model.layers(), strict=True)
        for (_, own), (_, copy) in pairs:
            copy.parameters = own.parameters
            for name, value in own.statistics.items():
                copy.statistics[name][...] = value
        return self._tapped

    def trace(
        self,
        inputs: Mapping[str, Array],
        *,
        feed: Mapping[str, Sequence[Array]] | None = None,
        perturb: Mapping[str, Array] | None = None,
        noise: Noise | None = None,
        skip: Container[str] = (),
        observe: Observer | None = None,
        cotangents: Mapping[str, Array] | None = None,
        training: bool = False,
        at: At = At(),
    ) -> Trace:
        """Run the same text with every node tapped.

        Besides what every session takes, `noise(node, array, backward)` maps each node's value,
        and its gradient, on the way through: rounding errors are not proportional to a value that
        has cancelled. Where `feed` has all nodes, the layers of the paths in `skip` do nothing, and
        their answers mean nothing. End to end, each node's own input gradients are returned as
        well. What nodes answer is given to `observe`, one after the other, instead of being
        returned.
        """
        tapped = self.tapped()
        _position(tapped.model, at)
        tapped.model.zero_gradients()
        tapped.begin(
            feed,
            {n: np.asarray(v).astype(self.dtype) for n, v in (perturb or {}).items()},
            {} if feed is None or cotangents is None else cotangents,
            noise,
            skip,
            observe,
        )
        outputs, backward = tapped.model.forward(*self._inputs(inputs), training)
        found = Trace(values=tapped.values, outputs=self._named(outputs))
        if cotangents:
            if feed is None:
                given = backward(self._unnamed(cotangents, training=training))
                found.inputs = self._named_inputs(given)
                found.gradients = tapped.gradients
            else:
                # Every node has its own cotangent; what is skipped has a value of another shape.
                zeros = {name: np.zeros(()) for name in found.outputs}
                backward(self._unnamed(zeros, training=training))
            found.own = tapped.own
            found.parameters = self._parameter_gradients(tapped.model)
        tapped.begin(None, {}, {})
        tapped.model.zero_gradients()
        found.statistics = self._statistics(tapped.model)
        return found

    def perturbed_steps(
        self,
        batches: Sequence[tuple[Mapping[str, Array], Mapping[str, Array]]],
        noise: Noise,
        *,
        updates_per_epoch: int = 1,
    ) -> Generator[tuple[float, dict[str, Array]], None, None]:
        """Train perturbed: `noise` maps each node's value, and its gradient, on the way.

        Yields the loss and the weights themselves after each update; parameters are this session's
        own, so they have to be assigned again. It is how rounding spreads over a trajectory.
        """
        tapped = self.tapped()
        tapped.begin(None, {}, {}, noise, observe=lambda *_: None)
        optimizer = tapped.module.make_optimizer(tapped.model)
        try:
            for update, (inputs, targets) in enumerate(batches):
                loss = self._step(
                    tapped.module,
                    tapped.model,
                    optimizer,
                    inputs,
                    targets,
                    At(update),
                    updates_per_epoch,
                )
                yield loss, {**tapped.model.state(), **_averages(tapped.model)}
        finally:
            tapped.model.zero_gradients()

    def close(self) -> None:
        """Forget the loaded modules."""
        self.program.close()
        if self._tapped is not None:
            self._tapped.program.close()


def _averages(model: Any) -> dict[str, Array]:
    """The moving averages of the weights that training keeps, if it does."""
    return {f"average/{name}": v for name, v in getattr(model, "averages", {}).items()}


def _position(model: Any, at: At) -> None:
    if hasattr(model, "at"):
        model.at(at.update, at.first)
