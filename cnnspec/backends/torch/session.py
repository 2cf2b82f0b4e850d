"""A live PyTorch model made of emitted text."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from cnnspec.backends.base import (
    At,
    Dtype,
    Emitted,
    Evaluation,
    Gradients,
    Part,
    Trace,
    Tuning,
)
from cnnspec.backends.program import Program, own_entry, own_program, require_harmless, run_own
from cnnspec.backends.slots import check_weights
from cnnspec.backends.torch import IMPORTS
from cnnspec.diagnostics import DataError, Diagnostic, SetupError
from cnnspec.ops.base import show

if TYPE_CHECKING:
    from cnnspec.backends.base import Array
    from cnnspec.backends.torch.ranks import TorchRanks

try:
    import torch
    from torch.overrides import TorchFunctionMode
except ImportError as fault:
    raise SetupError(
        Diagnostic(
            "backend-missing",
            "the torch backend needs PyTorch, which cannot be imported",
            notes=(str(fault),),
            help="pip install 'cnnspec[torch]'",
        )
    ) from fault

from cnnspec.backends.torch import state as kept
from cnnspec.backends.torch.taps import Tapped
from cnnspec.backends.torch.tuning import tune
from cnnspec.backends.torch.update import update

UNSTORED = "num_batches_tracked"
DTYPES = {"float64": torch.float64, "float32": torch.float32, "bfloat16": torch.bfloat16}


class TorchSession:
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
        self.emitted = emitted
        self.source = source
        self.dtype = DTYPES[dtype]
        self.device = _prepared(device)
        if source is None:
            require_harmless(emitted.text, self.imports)
            self.program = Program(emitted.text, f"{emitted.entry} torch")
            self.module = self.program.run()
        else:
            self.program = own_program(source[0], f"{emitted.entry} torch")
            self.module = run_own(self.program, source[0])
        self.model: torch.nn.Module = self._make(self.module, drawn=drawn)
        self._optimizer: Any = None
        self.ranks: TorchRanks | None = None
        self.channels_last = False
        self._tapped: Tapped | None = None

    def _make(self, module: Any, *, drawn: bool = False) -> torch.nn.Module:
        with _default(self.dtype), nullcontext() if drawn else _Undrawn():
            model = self._entry(module)()
        made: torch.nn.Module = model.to(self.device, self.dtype)
        if self.source is not None:
            self._require_names(made)
        return made

    def _entry(self, module: Any) -> Any:
        if self.source is None:
            return getattr(module, self.emitted.entry)
        path, name = self.source
        return own_entry(module, path, name or self.emitted.entry)

    def _require_names(self, model: torch.nn.Module) -> None:
        """A file of the user's own needs the canonical names and shapes, and nothing else."""
        state = {n: v for n, v in model.state_dict().items() if not n.endswith(UNSTORED)}
        faults = []
        for slot in self.emitted.slots.values():
            if slot.path not in state:
                faults.append(f"it has no `{slot.path}`")
            elif tuple(state[slot.path].shape) != slot.shape:
                found = show(tuple(state[slot.path].shape))
                faults.append(f"its `{slot.path}` is {found}, not {show(slot.shape)}")
        known = {slot.path for slot in self.emitted.slots.values()}
        faults += [f"the spec has no `{name}`" for name in state if name not in known]
        if faults:
            assert self.source is not None
            raise DataError(
                Diagnostic("bad-source", f"`{self.source[0]}`: {fault}") for fault in faults[:20]
            )

    # --- weights -------------------------------------------------------------------------------

    def weights(self, *, copy: bool = True) -> dict[str, Array]:
        """Every parameter and running statistic; the model's own memory if they are not copied."""
        found = self._state(self.model)
        return {name: value.copy() for name, value in found.items()} if copy else found

    def _state(self, model: torch.nn.Module) -> dict[str, Array]:
        state = model.state_dict()
        return {n: _array(state[s.path]) for n, s in self.emitted.slots.items()}

    def trained(self) -> dict[str, Array]:
        """The weights and their moving averages; the model's own memory."""
        averages: Mapping[str, torch.Tensor] = getattr(self.model, "averages", {})
        found = {f"average/{name}": _array(value) for name, value in averages.items()}
        return {**self.weights(copy=False), **found}

    def draw(self, seed: int) -> Mapping[str, Array]:
        """Initial weights of another model, drawn from this seed."""
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            return self._state(self._make(self.module, drawn=True))

    def assign(self, weights: Mapping[str, Array]) -> None:
        """Set parameters and statistics."""
        check_weights(self.emitted, weights)
        self._load(self.model, weights)

    def _load(self, model: torch.nn.Module, weights: Mapping[str, Array]) -> None:
        # num_batches_tracked is torch's own, and stays as it is.
        state = model.state_dict()
        for name, value in weights.items():
            source = torch.as_tensor(np.require(value, requirements="W"))
            state[self.emitted.slots[name].path].copy_(source)

    # --- running -------------------------------------------------------------------------------

    def _inputs(self, inputs: Mapping[str, Array], *, grad: bool = False) -> list[torch.Tensor]:
        return [self._tensor(inputs[name]).requires_grad_(grad) for name, _ in self.emitted.inputs]

    def tensors(self, inputs: Mapping[str, Array]) -> list[torch.Tensor]:
        """The network's inputs in order, as it reads them; arrays that fit are not copied."""
        return self._inputs(inputs)

    def _tensor(self, value: Array) -> torch.Tensor:
        made = torch.as_tensor(_shareable(value)).to(self.device, self.dtype)
        if self.channels_last and made.dim() == 4:
            made = made.contiguous(memory_format=torch.channels_last)
        return made

    def _target(self, value: Array) -> torch.Tensor:
        if np.issubdtype(np.asarray(value).dtype, np.integer):
            return torch.as_tensor(_shareable(value)).to(self.device, torch.int64)
        return self._tensor(value)

    def _targets(self, targets: Mapping[str, Array], *, training: bool = True) -> Any:
        names = self.emitted.present(training=training)
        made = {name: self._target(targets[name]) for name in names}
        return next(iter(made.values())) if len(made) == 1 else made

    def _named(self, outputs: Any) -> dict[str, torch.Tensor]:
        if isinstance(outputs, dict):
            return dict(outputs)
        return {self.emitted.present(training=False)[0]: outputs}

    def _position(self, module: Any, model: torch.nn.Module, at: At) -> None:
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
        self._position(self.module, self.model, at)
        self.model.train(training)
        with torch.no_grad():
            return _arrays(self._named(self.model(*self._inputs(inputs))))

    def _loss(self, module: Any, outputs: Any, targets: Any) -> torch.Tensor:
        weights = getattr(module, "LOSS_WEIGHTS", {})
        losses = module.loss_sum(outputs, targets)
        total: torch.Tensor = sum(weights.get(n, 1.0) * s / w for n, (s, w) in losses.items())
        return total

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
        self._position(self.module, self.model, at)
        self.model.train(training)
        self.model.zero_grad()
        before = self._statistics(self.model)
        leaves = self._inputs(inputs, grad=True)
        loss: float | None = None
        model: Any = self.model
        if targets is not None:
            raw = model.logits(*leaves) if hasattr(model, "logits") else model(*leaves)
            total = self._loss(self.module, raw, self._targets(targets, training=training))
            torch.autograd.backward([total])
            loss = total.item()
        else:
            assert cotangents is not None
            raw = model(*leaves)
            outputs = self._named(raw)
            torch.autograd.backward(
                [outputs[name] for name in cotangents],
                [self._tensor(value) for value in cotangents.values()],
            )
        found = Gradients(
            parameters=self._parameter_gradients(self.model),
            inputs={
                name: _gradient(leaf)
                for (name, _), leaf in zip(self.emitted.inputs, leaves, strict=True)
            },
            outputs=_arrays(self._named(raw)),
            statistics=self._statistics(self.model),
            loss=loss,
        )
        self._load(self.model, before)
        return found

    def _statistics(self, model: torch.nn.Module) -> dict[str, Array]:
        trained = {name for name, _ in model.named_parameters()}
        state = model.state_dict()
        return {
            name: _array(state[slot.path]).copy()
            for name, slot in self.emitted.slots.items()
            if slot.path not in trained
        }

    def _parameter_gradients(self, model: torch.nn.Module) -> dict[str, Array]:
        parameters = dict(model.named_parameters())
        return {
            name: _gradient(parameters[slot.path])
            for name, slot in self.emitted.slots.items()
            if slot.path in parameters
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
        given: Any = {name: self._tensor(inputs[name]) for name, _ in self.emitted.inputs}
        if len(given) == 1:
            given = next(iter(given.values()))
        with _default(self.dtype):  # NAdam makes its state in it, with the first update
            loss = self.module.train_step(
                self.model,
                self._optimizer,
                given,
                self._targets(targets),
                at.update,
                updates_per_epoch,
            )
        return float(loss)

    def update(self, parts: Sequence[Part], *, at: At = At(), updates_per_epoch: int = 1) -> float:
        """One update of several batches, or together with other processes."""
        if self._optimizer is None:
            self._optimizer = self.module.make_optimizer(self.model)
        with _default(self.dtype):
            return update(self, self._optimizer, parts, at, updates_per_epoch, self.ranks)

    def tune(self, tuning: Tuning) -> None:
        """Let the model run so, from now on."""
        tune(self, tuning)

    def position(self, at: At) -> None:
        """Where in training the model stands, for its random layers."""
        self._position(self.module, self.model, at)

    def logits(self, inputs: Mapping[str, Array]) -> Any:
        """What the losses read, as the file gives it."""
        model: Any = self.model
        leaves = self._inputs(inputs)
        return model.logits(*leaves) if hasattr(model, "logits") else model(*leaves)

    def targets(self, targets: Mapping[str, Array]) -> Any:
        """Those of training, as the file takes them."""
        return self._targets(targets)

    def evaluate(
        self,
        inputs: Mapping[str, Array],
        targets: Mapping[str, Array],
        *,
        training: bool = False,
        at: At = At(),
    ) -> Evaluation:
        """The file's own `loss_sum`, without gradients."""
        self._position(self.module, self.model, at)
        self.model.train(training)
        model: Any = self.model
        with torch.no_grad():
            leaves = self._inputs(inputs)
            raw = model.logits(*leaves) if hasattr(model, "logits") else model(*leaves)
            losses = self.module.loss_sum(raw, self._targets(targets, training=training))
        return Evaluation(
            outputs=_arrays(self._named(raw)),
            losses={name: (float(s), float(w)) for name, (s, w) in losses.items()},
        )

    def reset(self) -> None:
        """Forget the optimizer's state, and what it has frozen."""
        self._optimizer = None
        self.model.requires_grad_(True)

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
        """The probability of each of torch's own dropout modules, by its path."""
        return {path: float(module.p) for path, module in self._dropouts()}

    def silence(self) -> None:
        """Set those probabilities to 0."""
        for _, module in self._dropouts():
            module.p = 0.0

    def _dropouts(self) -> list[tuple[str, Any]]:
        kinds = torch.nn.modules.dropout._DropoutNd
        return [(n, m) for n, m in self.model.named_modules() if isinstance(m, kinds)]

    def watch(self, inputs: Mapping[str, Array], *, training: bool = False) -> dict[str, Array]:
        """The output of every named module, by its path; the first where one is called twice."""
        found: dict[str, Array] = {}

        def remember(path: str) -> Callable[[Any, Any, Any], None]:
            def hook(_: Any, __: Any, value: Any) -> None:
                if isinstance(value, torch.Tensor):
                    found.setdefault(path, _array(value).copy())

            return hook

        before = self._statistics(self.model)
        handles = [
            module.register_forward_hook(remember(path))
            for path, module in self.model.named_modules()
            if path
        ]
        try:
            self.forward(inputs, training=training)
        finally:
            for handle in handles:
                handle.remove()
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
        if self._tapped is None:
            self._tapped = Tapped(self.emitted, self.imports, self._make)
            _share(self.model, self._tapped.model)
        tapped = self._tapped
        self._load(tapped.model, self._statistics(self.model))
        self._position(tapped.module, tapped.model, at)
        tapped.model.train(training)
        tapped.model.zero_grad()
        tapped.begin(
            None
            if feed is None
            else {node: [self._tensor(v) for v in values] for node, values in feed.items()},
            {} if perturb is None else {n: self._tensor(v) for n, v in perturb.items()},
        )
        leaves = self._inputs(inputs, grad=feed is None)
        outputs = self._named(tapped.model(*leaves))
        if cotangents:
            heads = tapped.values if feed is not None else outputs
            pairs = [
                (heads[name], self._tensor(value))
                for name, value in cotangents.items()
                if heads[name].requires_grad
            ]
            torch.autograd.backward([a for a, _ in pairs], [b for _, b in pairs])
        found = Trace(values=_arrays(tapped.values), outputs=_arrays(outputs))
        found.statistics = self._statistics(tapped.model)
        if not cotangents:
            return found
        found.parameters = self._parameter_gradients(tapped.model)
        if feed is None:
            found.gradients = {name: _gradient(value) for name, value in tapped.values.items()}
            found.inputs = {
                name: _gradient(leaf)
                for (name, _), leaf in zip(self.emitted.inputs, leaves, strict=True)
            }
        else:
            found.own = {
                node: tuple(_gradient(leaf) for leaf in given)
                for node, given in (tapped.feed or {}).items()
            }
        return found

    def close(self) -> None:
        """Forget the loaded modules."""
        self.program.close()
        if self._tapped is not None:
            self._tapped.program.close()


@contextmanager
def _default(dtype: torch.dtype) -> Iterator[None]:
    """With this dtype as torch's default."""
    previous = torch.get_default_dtype()
    try:
        torch.set_default_dtype(dtype)
        yield
    finally:
        torch.set_default_dtype(previous)


class _Undrawn(TorchFunctionMode):
    """Leaves parameters as they are allocated, for a model whose weights will be another one's."""

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        given = kwargs or {}
        if getattr(func, "__module__", None) == "torch.nn.init":
            return given["tensor"] if "tensor" in given else args[0]
        return func(*args, **given)


def _share(model: torch.nn.Module, copy: torch.nn.Module) -> None:
    """Let a copy have the very parameters of a model; its running statistics stay its own."""
    for own, other in zip(model.modules(), copy.modules(), strict=True):
        other._parameters = own._parameters


def _gradient(tensor: torch.Tensor) -> Array:
    """Takes a tensor's gradient away from it."""
    found = torch.zeros_like(tensor) if tensor.grad is None else tensor.grad
    tensor.grad = None
    return _array(found)


def _prepared(device: str) -> torch.device:
    """A device whose arithmetic is that of the dtype."""
    if torch.device(device).type == "cuda":
        if not torch.cuda.is_available():
            raise SetupError(
                Diagnostic(
                    "unknown-device",
                    f"PyTorch finds no GPU for the device `{device}`",
                    help="--device cpu, or a build of it for CUDA and a machine with such a GPU",
                )
            )
        torch.backends.cuda.matmul.allow_tf32 = False
        torch.backends.cudnn.allow_tf32 = False
    return torch.device(device)


def _shareable(value: Array) -> Array:
    """Memory that a tensor may share: torch wants to be able to write to it, though nobody does."""
    return np.require(value, requirements=("C", "W"))


def _array(tensor: torch.Tensor) -> Array:
    """A tensor as NumPy has it; bfloat16, which it has not, as float32."""
    tensor = tensor.detach().cpu()
    found: Array = (tensor.float() if tensor.dtype == torch.bfloat16 else tensor).numpy()
    return found


def _arrays(tensors: Mapping[str, torch.Tensor]) -> dict[str, Array]:
    return {name: _array(tensor).copy() for name, tensor in tensors.items()}
