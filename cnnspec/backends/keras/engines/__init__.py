"""What Keras runs on, and what each engine does in a way of its own: gradients, above all.

A module here is named as in `KERAS_BACKEND` and has an object `ENGINE`; one process can have one
of them, since Keras reads that variable once, when it is imported.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib import import_module
from typing import TYPE_CHECKING, Any, Protocol

from cnnspec.backends.keras.runtimes import DEFAULT, RUNTIMES
from cnnspec.diagnostics import Diagnostic, SetupError

if TYPE_CHECKING:
    from cnnspec.backends.base import Array

__all__ = ["DEFAULT", "Engine", "Leaves", "Pass", "Pulled", "Run", "load", "no_gpu"]

Leaves = dict[str, Any]


@dataclass(slots=True)
class Pass:
    """What one pass through a model gives.

    Attributes:
        heads: what cotangents are pulled back from.
        seeds: these cotangents.
        values: of the nodes on the way, where the model has taps.
        outputs: of the model, by name.
        loss: a scalar, where there is one.
    """

    heads: list[Any]
    seeds: list[Any]
    outputs: dict[str, Any]
    values: dict[str, Any] = field(default_factory=dict)
    loss: Any = None


@dataclass(slots=True)
class Pulled:
    """Cotangents, zeros where nothing arrives: of leaves, parameters, and values on the way."""

    leaves: dict[str, Any]
    parameters: dict[str, Any]
    values: dict[str, Any]


Run = Callable[[Leaves, Mapping[str, Any]], Pass]
"""A pass on these leaves, with offsets added to the values of some nodes; none as a rule."""


class Engine(Protocol):
    """What is not the same on all engines.

    Attributes:
        name: as in `KERAS_BACKEND`.
    """

    name: str

    def prepare(self, device: str, devices: int = 1) -> None:
        """Make arithmetic what its dtype says, on "cpu" or "cuda"; SetupError without a GPU.

        A processor is as many `devices` as are wanted, if nothing has run on it yet and the engine
        distributes.
        """

    def array(self, x: Any) -> Array:
        """A tensor, or the value of a variable, as NumPy has it."""

    def own(self, x: Any) -> Any:
        """The same value as a tensor of its own, which has a cotangent of its own."""

    def pull(
        self,
        run: Run,
        leaves: Leaves,
        parameters: Mapping[str, Any],
        model: Any,
        *,
        inner: bool = False,
    ) -> tuple[Pass, Pulled]:
        """One pass forward and one back.

        Args:
            run: the pass; running statistics move as if it were called alone.
            leaves: tensors, by any name.
            parameters: Keras variables, by canonical name.
            model: whose variables may move.
            inner: whether cotangents of the values on the way are wanted.
        """

    def traced(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """The same as one graph, made for each shape; the function itself where there is none."""

    def compile(self, model: Any) -> None:
        """Let the training step of a compiled model be traced before it runs."""


def load(name: str) -> Engine:
    """Import Keras on this engine.

    Raises:
        SetupError: Keras or the engine cannot be imported, or Keras runs on another one already.
    """
    runtime = RUNTIMES[name]
    if name != DEFAULT and "keras" not in sys.modules:
        os.environ.update(runtime.environment)  # what was asked for by name comes first
    for variable, value in runtime.environment.items():
        os.environ.setdefault(variable, value)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # TensorFlow reads it when it is imported
    try:
        with _quiet():
            import keras

            if keras.backend.backend() == name:
                engine: Engine = import_module(f"{__name__}.{name}").ENGINE
                return engine
    except ImportError as fault:
        raise SetupError(
            Diagnostic(
                "backend-missing",
                f"the keras backend needs Keras and {runtime.title}, which cannot be imported",
                notes=(str(fault),),
                help=f"pip install '{runtime.extra}'",
            )
        ) from fault
    raise SetupError(
        Diagnostic(
            "backend-missing",
            f"Keras runs on {keras.backend.backend()} here, and cnnspec needs {runtime.title}",
            help=f"set the environment variable KERAS_BACKEND to {name}",
        )
    )


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep what frameworks write to descriptor 2 while imported; no setting silences TensorFlow."""
    sys.stderr.flush()
    kept = os.dup(2)
    with tempfile.TemporaryFile() as nowhere:
        os.dup2(nowhere.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(kept, 2)
            os.close(kept)


def no_gpu(title: str) -> SetupError:
    """What to raise where an engine finds no GPU."""
    return SetupError(
        Diagnostic(
            "unknown-device",
            f"{title} finds no GPU for the device `cuda`",
            help="--device cpu, or a build of it for CUDA and a machine with such a GPU",
        )
    )
