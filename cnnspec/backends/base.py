"""What a back end is: text out of a graph, and a live session out of that text.

Arrays cross these interfaces as NumPy arrays in canonical names and layouts: N, C, then space
for data, O, I, then space for kernels.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol, runtime_checkable

from cnnspec.graph import Graph
from cnnspec.ops.base import Shape

if TYPE_CHECKING:
    import numpy.typing as npt

    from cnnspec.backends.columns import Column

    Array = npt.NDArray[Any]

Dtype = Literal["float64", "float32", "bfloat16"]


@dataclass(frozen=True, slots=True)
class Runtime:
    """An engine that the text of a back end can be run on, where there is a choice of several.

    Attributes:
        title: what people call it.
        extra: what `pip install` is told to get it.
        environment: variables that a process needs to use it.
        single: why it is checked in float32 and not in float64; empty where it is in both.
        distributes: whether several devices can share the samples of a batch.
    """

    title: str
    extra: str
    environment: Mapping[str, str] = field(default_factory=dict)
    single: str = ""
    distributes: bool = False


@dataclass(frozen=True, slots=True)
class Style:
    """Every option that may change the text.

    Attributes:
        random: "framework" writes the framework's own random layers, "counter" the masks that are
            the same everywhere.
        layers: "exact" uses a native layer only where it means what the spec means, "native"
            trusts the framework's own layer wherever there is one.
    """

    random: Literal["framework", "counter"] = "framework"
    layers: Literal["exact", "native"] = "exact"


@dataclass(frozen=True, slots=True, order=True)
class Range:
    """A range in emitted text, as `ast` counts: lines from 1, columns from 0, the end exclusive."""

    line: int
    column: int
    end_line: int
    end_column: int


@dataclass(frozen=True, slots=True)
class Place:
    """Where a node stands in emitted text.

    Attributes:
        range: its expression, or its constructor where a container calls it.
        inputs: the expressions of its inputs; empty where a container passes them.
        module: the path of the live module that computes it, where it has no expression of its
            own in a forward pass (inside a sequence); else None.
        instance: path of the block instance whose text holds the expression; several share it.
        live: path of the object that runs it: another instance's where parameters are shared.
        part: which of the results of the expression it is, where that has several (a `split`).
    """

    range: Range
    inputs: tuple[Range, ...] = ()
    module: str | None = None
    instance: str = ""
    live: str = ""
    part: int | None = None


@dataclass(frozen=True, slots=True)
class Slot:
    """Where a canonical parameter lives in the live model.

    Attributes:
        path: how the back end finds it.
        layout: the back end's own axis letters, a permutation of the canonical ones.
        canonical: the canonical letters.
        shape: the canonical shape.
        own: the back end's own shape, where it has more than another order: an axis in two parts.
    """

    path: str
    layout: str
    canonical: str
    shape: Shape
    own: Shape | None = None

    @property
    def permutation(self) -> tuple[int, ...]:
        """Axes for `transpose` that bring a canonical array into the back end's layout."""
        return tuple(self.canonical.index(letter) for letter in self.layout)

    @property
    def inverse(self) -> tuple[int, ...]:
        """Axes for `transpose` that bring the back end's array into the canonical layout."""
        return tuple(self.layout.index(letter) for letter in self.canonical)

    @property
    def stored(self) -> Shape:
        """The shape that the back end's array has."""
        return self.own or self._ordered

    @property
    def _ordered(self) -> Shape:
        return tuple(self.shape[axis] for axis in self.permutation)

    def store(self, value: Array) -> Array:
        """A canonical array as the back end has it."""
        return value.transpose(self.permutation).reshape(self.stored)

    def restore(self, value: Array) -> Array:
        """The back end's array as a canonical one, in memory of its own order."""
        return value.reshape(self._ordered).transpose(self.inverse)


@dataclass(frozen=True, slots=True)
class Emitted:
    """Standalone source, and what is needed to use it; a pure function of graph and style.

    Attributes:
        text: the file.
        backend: name of the back end that wrote it.
        entry: the class or function that makes the model when called without arguments.
        slots: where each canonical parameter lives.
        lines: where each node stands.
        inputs: name and shape of each input, in order.
        outputs: name of each output, in order.
        training_only: those of them that inference does not have.
        logits: whether the file has `logits`, because a loss reads what goes into a softmax.
        trains: whether the file has the training functions.
    """

    text: str
    backend: str
    entry: str
    slots: Mapping[str, Slot]
    lines: Mapping[str, Place]
    inputs: tuple[tuple[str, Shape], ...]
    outputs: tuple[str, ...]
    logits: bool = False
    trains: bool = False
    training_only: tuple[str, ...] = ()

    def present(self, *, training: bool) -> tuple[str, ...]:
        """The outputs of one mode, in order."""
        return tuple(n for n in self.outputs if training or n not in self.training_only)


@dataclass(frozen=True, slots=True)
class At:
    """Where in training a pass stands, for random layers.

    Attributes:
        update: number of completed updates.
        first: index of the first sample within the global batch.
    """

    update: int = 0
    first: int = 0


@dataclass(frozen=True, slots=True)
class Part:
    """A batch of several that make one update together.

    Attributes:
        inputs: by name; N, channels, then space. A process among several may have no samples.
        targets: by name.
        first: where its samples begin among those of the whole update.
    """

    inputs: Mapping[str, Array]
    targets: Mapping[str, Array]
    first: int = 0


@dataclass(frozen=True, slots=True)
class Tuning:
    """How a model runs, for speed; numbers differ in the last digits, or with it much more.

    Attributes:
        precision: "bfloat16" for products in it beside float32 weights, None for those alone.
        channels_last: whether images lie in memory with their channels last.
        compile: whether the framework compiles the passes before it runs them.
    """

    precision: str | None = None
    channels_last: bool = False
    compile: bool = False


class LostWorker(RuntimeError):
    """Another process of a run does not answer any more."""


class Ranks(Protocol):
    """The processes that make each update together.

    Attributes:
        rank: the number of this one, from 0; it alone writes files.
        count: how many there are.
        asks: whether this one wants the run to end; the next update tells the others.
        ends: whether any of them did, by the last update; it is the same in all.
    """

    rank: int
    count: int
    asks: bool
    ends: bool

    def gather(self, value: Any) -> list[Any]:
        """What each process gives, in order of their ranks; everybody gets all."""

    def broadcast(self, value: Any) -> Any:
        """What the first process gives."""

    def unite(self, session: Any) -> None:
        """Let each update of a session be that of all processes."""

    def close(self) -> None:
        """Part."""


@dataclass(slots=True)
class Trace:
    """Everything that one tapped pass returns.

    Attributes:
        values: each node's output.
        gradients: each node's cotangent, end to end; empty when fed.
        own: when fed, the gradients with respect to each node's own inputs.
        inputs: gradients with respect to the network's inputs, end to end; empty when fed.
        parameters: gradients of the parameters, by canonical name.
        statistics: running statistics after the pass (they are restored afterwards).
        outputs: the network's outputs, by name.
    """

    values: dict[str, Array] = field(default_factory=dict)
    gradients: dict[str, Array] = field(default_factory=dict)
    own: dict[str, tuple[Array, ...]] = field(default_factory=dict)
    inputs: dict[str, Array] = field(default_factory=dict)
    parameters: dict[str, Array] = field(default_factory=dict)
    statistics: dict[str, Array] = field(default_factory=dict)
    outputs: dict[str, Array] = field(default_factory=dict)


@dataclass(slots=True)
class Gradients:
    """Gradients end to end, the loss where there were targets, and the statistics after."""

    parameters: dict[str, Array]
    inputs: dict[str, Array]
    outputs: dict[str, Array]
    statistics: dict[str, Array]
    loss: float | None = None


@dataclass(slots=True)
class Evaluation:
    """What a loss says about a batch; batches are put together by adding sums and weights.

    Attributes:
        outputs: what each loss reads: the output, or what goes into its final softmax.
        losses: the sum of each output's loss over the batch, and its weight.
    """

    outputs: dict[str, Array]
    losses: dict[str, tuple[float, float]]


class Session(Protocol):
    """A live model made of emitted text; NumPy in and out, canonical names and layouts.

    Attributes:
        model: the framework's own object, an `nn.Module`, a `keras.Model` or the NumPy class.
    """

    model: Any

    def weights(self, *, copy: bool = True) -> Mapping[str, Array]:
        """Every parameter and running statistic, by canonical name.

        Without `copy` they may be the model's own memory, and hold until it changes.
        """

    def trained(self) -> Mapping[str, Array]:
        """The weights, not copied, and their moving averages as `average/NAME` where there are."""

    def draw(self, seed: int) -> Mapping[str, Array]:
        """Initial weights of another model, drawn by the text with this seed; nothing is set."""

    def assign(self, weights: Mapping[str, Array]) -> None:
        """Set parameters and statistics; DataError where names or shapes do not fit."""

    def forward(
        self, inputs: Mapping[str, Array], *, training: bool = False, at: At = At()
    ) -> dict[str, Array]:
        """Outputs by name; training mode moves the running statistics."""

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

    def evaluate(
        self,
        inputs: Mapping[str, Array],
        targets: Mapping[str, Array],
        *,
        training: bool = False,
        at: At = At(),
    ) -> Evaluation:
        """The file's own `loss_sum`, without gradients; training mode moves the statistics."""

    def step(
        self,
        inputs: Mapping[str, Array],
        targets: Mapping[str, Array],
        *,
        at: At = At(),
        updates_per_epoch: int = 1,
    ) -> float:
        """One update by the file's own `train_step`; returns the loss before it."""

    def update(
        self,
        parts: Sequence[Part],
        *,
        at: At = At(),
        updates_per_epoch: int = 1,
    ) -> float:
        """One update out of several batches, by the file's own functions.

        The sum of each output's loss is divided by its weight over all parts, the gradients are
        added, and then comes what `train_step` does once. Normalisation sees each part alone.
        Where the session works with others (`Backend.join`), parts are slices of common ones.

        Returns:
            The loss before it, over all samples.
        """

    def learning_rate(self, update: int, updates_per_epoch: int) -> float:
        """The file's own learning rate of an update."""

    def learning_rates(self, count: int, updates_per_epoch: int) -> list[float]:
        """The file's own learning rates of the first `count` updates."""

    def reset(self) -> None:
        """Forget the optimizer's state."""

    def state(self) -> dict[str, Array]:
        """Copies of everything besides the weights that further updates depend on.

        That is the optimizer's buffers and step counters, and averages of the weights where the
        file keeps them. What belongs to a parameter is called `momentum/conv1.weight`, in canonical
        layout or a single number; what does not, `optimizer/iterations`. Empty before an update.
        """

    def restore(self, state: Mapping[str, Array]) -> None:
        """Go on where the session was that gave this `state`; weights are `assign`ed apart.

        DataError where the state is that of another network or optimizer.
        """

    def trains(self) -> bool:
        """Whether the file has the training functions."""

    def watch(self, inputs: Mapping[str, Array], *, training: bool = False) -> dict[str, Array]:
        """The output of every named part of the live model, by its path; for files without taps."""

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
        """Run the same text with every node tapped.

        Without `feed`, values and gradients are end to end, and `cotangents` are by output name;
        `perturb` multiplies a node's value on the way forward, and its cotangent on the way back.
        With `feed`, node -> its inputs, these nodes work on them alone, and `cotangents` are by
        node; of nodes that are not fed nothing is returned.
        """

    def close(self) -> None:
        """Forget the loaded module."""


class Given(Protocol):
    """A batch, as anything that has inputs and targets."""

    @property
    def inputs(self) -> Mapping[str, Array]:
        """By name; N, channels, then space."""

    @property
    def targets(self) -> Mapping[str, Array]:
        """By name."""


@runtime_checkable
class FitsEpochs(Protocol):
    """A session whose framework has a training loop of its own."""

    def fit_epoch(
        self,
        batches: Iterator[Given],
        *,
        first_update: int,
        updates_per_epoch: int,
        count: int,
        on_batch: Callable[[int, float], bool],
    ) -> None:
        """The updates of an epoch, or of the rest of it, by that loop; the same as by `step`.

        Args:
            batches: as many as updates; they may be taken in another thread and ahead of time,
                but not after the return.
            first_update: completed updates before.
            updates_per_epoch: of a whole epoch.
            count: updates to make.
            on_batch: is told the number of an update, counted from 0 in the run, and the loss
                before it, when the session is where that update has left it; it may read weights
                and state, and makes nothing of them. If it answers true, no more updates follow.

        Raises:
            Exception: whatever `batches` or `on_batch` raises.
        """


class Backend(Protocol):
    """One framework: emits text without importing it, and opens text with it.

    Attributes:
        name: as in `--backend`.
        imports: every module that its files may import; nothing else passes the audit.
        column: its cells.
    """

    name: str
    imports: frozenset[str]
    column: Column

    def emit(self, graph: Graph, style: Style = Style()) -> Emitted:
        """Write the network; SpecError where an op has no spelling here."""

    def open(
        self,
        emitted: Emitted,
        *,
        dtype: Dtype = "float64",
        device: str = "cpu",
        eager: bool = True,
        drawn: bool = True,
    ) -> Session:
        """A session over this text; SetupError where the framework is missing.

        With `drawn=False` its weights mean nothing until `assign`, which takes less time.

        With `eager=False` the framework may compile the step before it runs it, which takes a
        while and pays off over many steps.
        """
