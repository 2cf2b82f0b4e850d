"""What fuzzing is asked to do, and what it answers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from cnnspec.backends.runtimes import runnable
from cnnspec.check.options import Options
from cnnspec.diagnostics import Diagnostic, SetupError
from cnnspec.quantities import DEFAULT_BACKENDS, REFERENCE

Outcome = Literal["agree", "disagree", "engine_failed", "crash", "refused", "undecided", "setup"]

FOUND: frozenset[str] = frozenset({"disagree", "engine_failed", "crash", "refused"})
"""Outcomes that make a network a case."""

EXAMPLES = 100
"""Networks, where neither a number nor a time is given."""


def usual_dtypes(backends: Sequence[str]) -> tuple[str, ...]:
    """What is checked where nobody says: float64, and float32 of engines that have no float64."""
    try:
        single = [name for name in backends if runnable(name).single]
    except SetupError:  # which the run itself reports
        return ("float64",)
    if not single:
        return ("float64",)
    return ("float32",) if {*backends} <= {REFERENCE, *single} else ("float64", "float32")


@dataclass(frozen=True, slots=True)
class FuzzOptions:
    """Everything that `fuzz` can be told.

    Attributes:
        backends: names; the NumPy reference stands beside them in any case.
        examples: number of networks; None for as many as the time allows.
        seconds: after which no new network is begun; None for no end.
        most_nodes: that a network may have, blocks written out.
        seed: of the networks; equal seeds give equal networks, whatever else is asked for.
        ops: keys of ops that every network has.
        dtypes: of the arithmetic.
        steps: optimizer updates that are compared.
        layers: "native" trusts the frameworks' own layers, to judge them.
        jobs: processes.
        timeout: seconds that one network may take.
    """

    backends: tuple[str, ...] = DEFAULT_BACKENDS
    examples: int | None = EXAMPLES
    seconds: float | None = None
    most_nodes: int = 16
    seed: int = 0
    ops: tuple[str, ...] = ()
    dtypes: tuple[str, ...] = ("float64",)
    steps: int = 2
    layers: Literal["exact", "native"] = "exact"
    jobs: int = 1
    timeout: float = 120.0

    def checked(self) -> Options:
        """How each network is checked."""
        return Options(
            backends=self.backends,
            dtypes=self.dtypes,
            steps=self.steps,
            layers=self.layers,
            initializers=False,  # a matter of statistics, which take many models
            timeout=self.timeout,
        )


@dataclass(frozen=True, slots=True)
class Way:
    """How a network fails: what has to stay the same while it shrinks."""

    outcome: Outcome
    what: str
    backends: tuple[str, ...] = ()
    dtype: str = ""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What was found about one network.

    Attributes:
        outcome: of the check, or what kept it from being one.
        way: how it fails, where it does.
        message: the first difference, or the failure, in a few lines.
        about: the layer to blame: its op, fields, rank, and the quantity; for known faults.
        diagnostics: of an environment that lacks something.
        nodes: of the network.
    """

    outcome: Outcome
    way: Way | None = None
    message: str = ""
    about: Mapping[str, Any] = field(default_factory=dict)
    diagnostics: tuple[Diagnostic, ...] = ()
    nodes: int = 0


@dataclass(slots=True)
class Case:
    """A network that something is wrong with.

    Attributes:
        index: of the network among those of its seed.
        text: the smallest spec that still fails in the same way.
        original: as it was drawn.
        verdict: on the smallest.
        known: id of the known fault that this is, or "".
        checks: number of checks that shrinking took.
        file: where it has been written, or "".
    """

    index: int
    text: str
    original: str
    verdict: Verdict
    known: str = ""
    checks: int = 0
    file: str = ""


@dataclass(slots=True)
class FuzzReport:
    """What `fuzz` answers; truthy if nothing but known faults was found.

    Attributes:
        options: what was asked for.
        counts: number of networks by outcome.
        nodes: of all networks together.
        cases: the first of each kind, by index.
        alike: networks that fail in the way of a case, by its index.
        known: networks that show a known fault, by its id.
        seconds: that it took, starting the back ends left out.
        interrupted: whether it was told to stop.
    """

    options: FuzzOptions
    counts: Counter[str] = field(default_factory=Counter)
    nodes: int = 0
    cases: list[Case] = field(default_factory=list)
    alike: Counter[int] = field(default_factory=Counter)
    known: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0
    interrupted: bool = False

    @property
    def networks(self) -> int:
        """How many were looked at."""
        return sum(self.counts.values())

    @property
    def rate(self) -> float:
        """Networks per second."""
        return self.networks / self.seconds if self.seconds else 0.0

    def __bool__(self) -> bool:
        return not self.cases
