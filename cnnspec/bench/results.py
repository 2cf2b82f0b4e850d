"""What is measured, and what comes of it, as data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

__all__ = ["STEPS", "Layer", "Memory", "Options", "Report", "Row", "Step", "Time"]

Step = Literal["inference", "training"]
STEPS: tuple[Step, ...] = ("inference", "training")


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What to measure.

    Attributes:
        backends: by name; empty for every one whose framework is installed.
        batch: samples of a call.
        threads: of every library, None for as many as the process may use cores.
        device: "cpu", "cuda", or "auto" for the GPU where PyTorch finds one.
        seconds: that each time is measured for, at least.
        training: whether to measure training steps too.
        layers: whether to measure each layer by itself.
        timeout: seconds that one measurement may take.
    """

    backends: tuple[str, ...] = ()
    batch: int = 1
    threads: int | None = None
    device: str = "cpu"
    seconds: float = 1.0
    training: bool = True
    layers: bool = True
    timeout: float = 600.0


@dataclass(frozen=True, slots=True)
class Time:
    """Seconds of wall time that a call took.

    Attributes:
        median: of all calls.
        low: the shortest.
        high: the longest.
        count: of calls.
    """

    median: float
    low: float
    high: float
    count: int


@dataclass(frozen=True, slots=True)
class Memory:
    """Bytes.

    Attributes:
        base: what the process has when the framework has run something small.
        peak: the most that it has while the network runs, of the GPU where it runs there.
        predicted: what the counts of `summary` say that the network adds to `base`; None for a
            back end that nothing is known of.
    """

    base: int
    peak: int
    predicted: int | None = None

    @property
    def error(self) -> float | None:
        """Predicted over measured, less 1, of the whole process; None without a prediction."""
        return None if self.predicted is None else (self.base + self.predicted) / self.peak - 1


@dataclass(frozen=True, slots=True)
class Row:
    """A back end and a step.

    Attributes:
        backend: by its name.
        step: what was measured.
        time: of a batch, None where it failed.
        memory: of a process that does nothing else, None where it failed or cannot be told.
        flops: floating-point operations of convolutions and dense layers in a batch; a training
            step counts three times those of inference.
        ratio: its time over that of the fastest back end.
        share: of the machine's measured matrix-product speed.
        fault: why there are no numbers.
    """

    backend: str
    step: Step
    time: Time | None = None
    memory: Memory | None = None
    flops: int = 0
    ratio: float | None = None
    share: float | None = None
    fault: str = ""


@dataclass(frozen=True, slots=True)
class Layer:
    """A layer by itself, in inference.

    Attributes:
        name: its full name.
        op: its name in a spec.
        flops: of a batch.
        seconds: by back end; one that could not run it alone is absent.
        share: of the matrix-product speed, by back end; only layers with `flops` have one.
    """

    name: str
    op: str
    flops: int
    seconds: Mapping[str, float]
    share: Mapping[str, float]


@dataclass(slots=True)
class Report:
    """Everything that a run found.

    Attributes:
        spec: the file.
        network: its name.
        batch: samples of a call.
        threads: of every library.
        device: "cpu" or "cuda".
        product: floating-point operations per second of a large float32 matrix product.
        notes: what a reader has to know.
        rows: back ends and steps.
        layers: in the order of the graph; empty where they were not asked for.
        failed: whether some measurement failed.
    """

    spec: str
    network: str
    batch: int
    threads: int
    device: str
    product: float = 0.0
    notes: list[str] = field(default_factory=list)
    rows: list[Row] = field(default_factory=list)
    layers: list[Layer] = field(default_factory=list)

    @property
    def failed(self) -> bool:
        """Whether some measurement failed."""
        return any(row.fault for row in self.rows)

    def as_json(self) -> dict[str, Any]:
        """Plain values; see docs/bench.md."""
        found = asdict(self)
        for written, row in zip(found["rows"], self.rows, strict=True):
            if row.memory is not None:
                written["memory"]["error"] = row.memory.error
        return found
