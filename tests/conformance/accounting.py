"""Where each case stands: passed, unsupported, or different for a reason of its own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Literal

from tests.conformance import case
from tests.conformance.case import Case
from tests.conformance.convert import convert
from tests.conformance.differences import DIFFERENCES
from tests.conformance.judge import Bounds, derive, judge, load
from tests.conformance.network import Network, Unsupported

BACKENDS = ("numpy", "torch", "keras")

State = Literal["passed", "unsupported", "differs"]


@dataclass(frozen=True, slots=True, eq=False)
class Entry:
    """One case and its place.

    Attributes:
        case: as ONNX has it.
        state: `passed` is a claim that `unexpected` holds every back end to.
        reason: why it is unsupported or differs.
        network: what is run; None where it is unsupported.
    """

    case: Case
    state: State
    reason: str = ""
    network: Network | None = None


@cache
def entries() -> tuple[Entry, ...]:
    """All cases, in ONNX's order."""
    return tuple(_entry(found) for found in case.load())


def _entry(case: Case) -> Entry:
    try:
        network = convert(case)
    except Unsupported as fault:
        return Entry(case, "unsupported", str(fault))
    if case.name in DIFFERENCES:
        return Entry(case, "differs", DIFFERENCES[case.name].reason, network)
    return Entry(case, "passed", network=network)


@cache
def limits(entry: Entry) -> Bounds:
    """The bounds of a case that has a network."""
    assert entry.network is not None
    return derive(entry.network, load(entry.network))


def unexpected(chosen: Sequence[Entry], backends: Sequence[str] = BACKENDS) -> list[str]:
    """Run cases, and tell which do not do what their state claims; best none.

    Args:
        chosen: passed or different ones.
        backends: by name.
    """
    found = []
    for entry in chosen:
        assert entry.network is not None
        for backend in backends:
            wrong = [c for c in judge(entry.network, backend, limits(entry)) if not c.agree]
            if bool(wrong) != (entry.state == "differs"):
                said = [f"{c.name} {c.worst or c.reason}" for c in wrong] or ["it agrees"]
                found.append(f"{entry.case.name} on {backend}: {'; '.join(said)}")
    return found
