"""What a check is asked to do, and what it answers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy.typing as npt

from cnnspec.backends.base import Emitted
from cnnspec.check.compare import Comparison
from cnnspec.check.failure import Failure
from cnnspec.diagnostics import Diagnostic, Span
from cnnspec.ops.base import Shape
from cnnspec.quantities import DEFAULT_BACKENDS

Status = Literal[
    "agree", "disagree", "engine_failed", "invalid_data", "invalid_spec", "environment"
]

SEVERITY: dict[str, int] = {
    "agree": 0,
    "disagree": 1,
    "engine_failed": 2,
    "invalid_data": 3,
    "invalid_spec": 4,
    "environment": 5,
}
EXIT_STATUS = {
    "agree": 0,
    "disagree": 1,
    "engine_failed": 1,
    "invalid_data": 1,
    "invalid_spec": 1,
    "environment": 2,
}

DEVICES = ("cpu", "cuda")


@dataclass(frozen=True, slots=True)
class Options:
    """Everything that `check` can be told.

    Attributes:
        backends: names, in the order of the report.
        dtypes: float64 and float32 by default; bfloat16 only alone.
        device: "cpu" or "cuda", of all engines but NumPy.
        seed: for weights, inputs and targets; None is the spec's own.
        steps: number of optimizer updates that are compared; None for 5, or 2 of a large network.
        inputs: instead of random ones, by input name, N, C, space.
        targets: for these inputs, by output name; random where missing.
        weights: instead of drawn ones, by canonical name.
        sources: back end -> (file, name or None): an edited or hand-written file.
        reduce: run each network on its smallest inputs instead of those of its size.
        graph: let engines compile a step before they run it (Keras: `tf.function`).
        optimize: "inference" checks what `compile --optimize inference` writes, and that it
            computes what the original does.
        layers: "native" trusts the framework's own layer wherever there is one; see `Style`.
        save: keep weights, inputs and outputs of the reference in the report.
        initializers: compare what the files draw for initial weights with what the spec says.
        probe: feed layers that decide with ties and kinks.
        in_process: no child processes.
        timeout: seconds an engine may take for one answer.
        planted: back end -> what is done to its text, to see whether that is found.
    """

    backends: tuple[str, ...] = DEFAULT_BACKENDS
    dtypes: tuple[str, ...] = ("float64", "float32")
    device: str = "cpu"
    seed: int | None = None
    steps: int | None = None
    inputs: Mapping[str, npt.NDArray[Any]] | None = None
    targets: Mapping[str, npt.NDArray[Any]] | None = None
    weights: Mapping[str, npt.NDArray[Any]] | None = None
    sources: Mapping[str, tuple[str, str | None]] = field(default_factory=dict)
    reduce: bool = False
    graph: bool = False
    optimize: Literal["inference"] | None = None
    layers: Literal["exact", "native"] = "exact"
    save: bool = False
    initializers: bool = True
    probe: bool = True
    in_process: bool = False
    timeout: float = 600.0
    planted: Mapping[str, Callable[[Emitted], Emitted]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Difference:
    """The first layer that differs, and its worst element.

    Attributes:
        node: the layer.
        comparison: of its worst element.
        file: of the spec.
        line: of the layer in it.
        column: of the layer in it.
        failure: who stands alone, where, and in which pattern.
        minimized: the smallest network that still shows it, as a report carries it.
    """

    node: str
    comparison: Comparison
    file: str | None = None
    line: int | None = None
    column: int | None = None
    failure: Failure = field(default_factory=Failure)
    minimized: Mapping[str, Any] | None = None


@dataclass(slots=True)
class SpecReport:
    """What was found for one spec.

    Attributes:
        spec: its path, or the network's name.
        status: of this spec.
        comparisons: all of them, judged or not.
        first_difference: None where everything agrees.
        places: of the layers that differ, in the spec.
        diagnostics: faults of the spec or the data, engines that failed, warnings of the spec.
        notes: what a reader has to know: a stated default, what could not be compared.
        saved: the reference's weights, inputs and outputs, for `--save`.
        inputs: shapes of the inputs that it was run on, by name.
        reduced: whether these are smaller than the spec's own; None where nobody asked for it.
        cached: whether all of this was found by an earlier check of the same.
    """

    spec: str
    status: Status = "agree"
    comparisons: list[Comparison] = field(default_factory=list)
    first_difference: Difference | None = None
    places: dict[str, Span] = field(default_factory=dict)
    diagnostics: list[Diagnostic] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    saved: dict[str, dict[str, npt.NDArray[Any]]] = field(default_factory=dict)
    inputs: dict[str, Shape] = field(default_factory=dict)
    reduced: bool | None = None
    cached: bool = False

    @property
    def agree(self) -> bool:
        """Whether everything that was judged agrees."""
        return self.status == "agree"

    def worsen(self, status: Status) -> None:
        """Keep the worse of two."""
        if SEVERITY[status] > SEVERITY[self.status]:
            self.status = status


@dataclass(slots=True)
class Report:
    """What `check` answers; truthy only if every spec agrees.

    Attributes:
        specs: in the order they were given.
        libraries: files of directories that only define blocks, and are not checked.
        diagnostics: why nothing was checked, where the request makes no sense.
    """

    specs: list[SpecReport] = field(default_factory=list)
    libraries: list[str] = field(default_factory=list)
    diagnostics: list[Diagnostic] = field(default_factory=list)

    @property
    def status(self) -> Status:
        """The worst status."""
        return max(
            (spec.status for spec in self.specs), key=SEVERITY.__getitem__, default="environment"
        )

    def __bool__(self) -> bool:
        return self.status == "agree"
