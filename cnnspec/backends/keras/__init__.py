"""The Keras back end: a functional model as people write it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from cnnspec.backends.base import Dtype, Emitted, Runtime, Session, Style
from cnnspec.backends.keras.emit import COLUMN, emit
from cnnspec.backends.keras.runtimes import DEFAULT, RUNTIMES
from cnnspec.graph import Graph

if TYPE_CHECKING:
    from cnnspec.backends.case import Case

IMPORTS = frozenset({"hashlib", "keras", "math", "numpy", "safetensors.numpy"})
"""All that an emitted file may import."""


class KerasBackend:
    """Keras on TensorFlow, JAX or PyTorch; imported when a session is opened, not before."""

    name = "keras"
    imports = IMPORTS
    column = COLUMN

    @property
    def engines(self) -> Mapping[str, Runtime]:
        """What it runs on, by name, the one that is meant by default first."""
        return RUNTIMES

    def emit(self, graph: Graph, style: Style = Style()) -> Emitted:
        """Write the network as a functional model."""
        return emit(graph, style)

    def open(
        self,
        emitted: Emitted,
        *,
        dtype: Dtype = "float64",
        device: str = "cpu",
        eager: bool = True,
        engine: str = DEFAULT,
        devices: int = 1,
        source: tuple[str, str | None] | None = None,
        drawn: bool = True,
    ) -> Session:
        """A session over this text, or over a file in its place.

        With several devices, which only some engines have (`Runtime.distributes`), each of them
        takes a part of the samples.
        """
        from cnnspec.backends.keras.engines import load

        made = load(engine)
        from cnnspec.backends.keras.session import KerasSession

        return KerasSession(
            emitted,
            dtype=dtype,
            device=device,
            eager=eager,
            engine=made,
            devices=devices,
            source=source,
            drawn=drawn,
        )

    def script(self, case: Case, about: str, engine: str = "") -> str | None:
        """A few lines of plain Keras that show a fault of this back end's text."""
        from cnnspec.backends.keras.script import script

        return script(case, self.emit(case.graph, case.style), about, engine)


BACKEND = KerasBackend()
