"""Back ends by the names that a check is told: `keras`, or `keras:jax` for one of its engines."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from cnnspec.backends import get
from cnnspec.backends.base import Backend, Runtime
from cnnspec.diagnostics import Diagnostic, SetupError, closest


@dataclass(frozen=True, slots=True)
class Runnable:
    """A back end and what its text runs on.

    Attributes:
        name: with the engine's, unless that is the one that is meant by default.
        backend: that writes the text.
        engine: the name of the engine; None where the back end has no choice of them.
        runtime: the engine.
        default: whether it needs no environment of its own.
    """

    name: str
    backend: Backend
    engine: str | None = None
    runtime: Runtime | None = None
    default: bool = True

    @property
    def single(self) -> str:
        """Why it is checked in float32 and not in float64; empty where it is in both."""
        return "" if self.runtime is None else self.runtime.single

    @property
    def environment(self) -> Mapping[str, str]:
        """Variables of a process that it runs in."""
        return {} if self.runtime is None else self.runtime.environment


def runnable(name: str) -> Runnable:
    """The back end of this name, on the engine behind the colon if there is one.

    Raises:
        SetupError: there is no such back end, or it has no such engine.
    """
    own, colon, engine = name.partition(":")
    backend = get(own)
    engines: Mapping[str, Runtime] = getattr(backend, "engines", {})
    default = next(iter(engines), None)
    if not colon:
        engine = default or ""
    elif engine not in engines:
        guess = closest(engine, list(engines))
        known = ", ".join(f"`{own}:{each}`" for each in engines)
        raise SetupError(
            Diagnostic(
                "unknown-engine",
                f"backend `{own}` has no engine `{engine}`",
                notes=(f"there are {known}",) if known else (f"`{own}` runs on nothing else",),
                help=f"did you mean `{own}:{guess}`?" if guess else "",
            )
        )
    if not engine:
        return Runnable(own, backend)
    full = own if engine == default else f"{own}:{engine}"
    return Runnable(full, backend, engine, engines[engine], engine == default)
