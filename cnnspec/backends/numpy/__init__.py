"""The NumPy back end: the reference, with gradients, as classes that return their own backward."""

from __future__ import annotations

from cnnspec.backends.base import Dtype, Emitted, Session, Style
from cnnspec.backends.numpy.emit import COLUMN, emit
from cnnspec.graph import Graph

IMPORTS = frozenset({"contextvars", "hashlib", "math", "numpy", "safetensors.numpy", "scipy"})
"""All that an emitted file may import."""


class NumpyBackend:
    """NumPy; imported when a session is opened, not before."""

    name = "numpy"
    imports = IMPORTS
    column = COLUMN

    def emit(self, graph: Graph, style: Style = Style()) -> Emitted:
        """Write the network as a class with `forward(x, training) -> (y, backward)`."""
        return emit(graph, style)

    def open(
        self,
        emitted: Emitted,
        *,
        dtype: Dtype = "float64",
        device: str = "cpu",
        eager: bool = True,
        source: tuple[str, str | None] | None = None,
        drawn: bool = True,
    ) -> Session:
        """A session over this text, or over a file in its place."""
        from cnnspec.backends.numpy.session import NumpySession

        return NumpySession(emitted, dtype=dtype, device=device, source=source, drawn=drawn)


BACKEND = NumpyBackend()
